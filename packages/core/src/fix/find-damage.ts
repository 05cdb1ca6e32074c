import type { CallOptions } from "../base/environment.ts";
import type { Repository } from "../repository/repository.ts";
import type { SavedSnapshot } from "../snapshot/snapshots.ts";
import { isChosen } from "../verify/chance.ts";
import { listPacks, readAll } from "../verify/packs.ts";
import { type Findings, reasonOf, StructureCheck } from "../verify/structure.ts";

/** What `verify` would find in these snapshots, before it is led back to paths. Throws what listing the storage throws. */
export async function findDamage(
  repository: Repository,
  snapshots: readonly SavedSnapshot[],
  options: CallOptions & {
    readonly readFraction: number;
    readonly readSeed?: string | undefined;
    readonly parallel?: number | undefined;
    /** Called with the number of directories read since it was last called. */
    readonly onDirectories: (count: number) => void;
  },
): Promise<Findings> {
  const { readFraction, readSeed = "", parallel, signal } = options;
  await repository.contents.bypassCache({ signal });
  let told = 0;
  const structure = new StructureCheck({
    repository,
    packs: await listPacks(repository.blobs, { signal }),
    isSelected: (file) => isChosen(file, { fraction: readFraction, seed: readSeed }),
    signal,
    onProgress: () => {
      options.onDirectories(structure.directories - told);
      told = structure.directories;
    },
  });
  for (const { root } of snapshots) {
    await (root.type === "directory"
      ? structure.checkDirectory(root.object)
      : structure.checkFile(root.object));
  }
  const { findings } = structure;
  await readAll(repository, structure.toRead, {
    signal,
    parallel,
    onRead: (info, error) => {
      if (error !== undefined) {
        findings.contents.set(info.id, reasonOf(error));
      }
    },
  });
  return findings;
}
