import type { CallOptions } from "../base/environment.ts";
import { type ContentId, contentPrefix } from "../index/content-id.ts";
import type { Repository } from "../repository/repository.ts";
import { listSnapshots } from "../snapshot/snapshots.ts";
import { type Damage, DamageMap } from "./damage.ts";
import { listPacks } from "./packs.ts";
import { type Findings, type Reason, reasonOf, StructureCheck } from "./structure.ts";

/**
 * Every path of every snapshot that needs a content that is known to be bad, or one that is lost by the index and a listing of the
 * packs. Reads directories, and no file data. `amend` may change what was found before it is led back to paths.
 */
export async function affectedPaths(
  repository: Repository,
  bad: ReadonlyMap<ContentId, Reason>,
  options: CallOptions & { readonly amend?: (findings: Findings) => void } = {},
): Promise<Damage[]> {
  const { signal } = options;
  const { snapshots, damaged } = await listSnapshots(repository, {}, { signal });
  const structure = new StructureCheck({
    repository,
    packs: await listPacks(repository.blobs, { signal }),
    isSelected: () => false,
    signal,
    onProgress: () => {},
  });
  for (const { root } of snapshots) {
    await (root.type === "directory"
      ? structure.checkDirectory(root.object)
      : structure.checkFile(root.object));
  }
  const { findings } = structure;
  for (const [id, reason] of bad) {
    findings.contents.set(id, reason);
  }
  options.amend?.(findings);
  const found: Damage[] = damaged.map(({ id, error }) => ({
    snapshot: id,
    path: "",
    ...reasonOf(error),
  }));
  for (const [id, { code, message: why }] of findings.contents) {
    if (contentPrefix(id) === "m") {
      const message = `manifests cannot be read, snapshots may be among them: ${why}`;
      found.push({ snapshot: id, path: "", code, message });
    }
  }
  const report = (damage: Damage): void => void found.push(damage);
  const map = new DamageMap({ repository, findings, signal, report });
  for (const { id, root } of snapshots) {
    await (root.type === "directory"
      ? map.mapDirectory(id, root.object, "")
      : map.mapFile(id, root.object, ""));
  }
  return found;
}
