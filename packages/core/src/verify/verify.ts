import type { CallOptions } from "../base/environment.ts";
import type { ManifestId } from "../manifest/manifest-store.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import { listSnapshots, loadSnapshot } from "../snapshot/snapshots.ts";
import { isChosen } from "./chance.ts";
import { type Damage, DamageMap } from "./damage.ts";
import { listPacks, readAll } from "./packs.ts";
import { StructureCheck, reasonOf } from "./structure.ts";

/**
 * Verify: proves that snapshots can be restored. First the structure: every directory record can be read, every content of
 * every file is in the index, and its pack is in the listing and long enough. Then the bytes: each content is read once,
 * decrypted, and checked against its hash. What is bad is led back to all the paths that need it. Nothing stops it but an
 * abort, and it writes nothing. Flush before: contents that are not in storage yet count as missing.
 */

export interface VerifyOptions extends CallOptions {
  /** Left out, with `roots` left out too: all snapshots, incomplete ones included, and whether there may be more. */
  readonly snapshots?: readonly ManifestId[] | undefined;
  /** Directories (content prefix `k`) or files. */
  readonly roots?: readonly ObjectId[] | undefined;
  /** Which part of the files to read, 0 to 1; default 1. Directories are always read. */
  readonly readFraction?: number | undefined;
  /** Another seed picks other files for the same fraction. */
  readonly readSeed?: string | undefined;
  readonly parallel?: number | undefined;
  /** Called often; must not throw. */
  readonly onProgress?: ((counts: VerifyCounts) => void) | undefined;
}

export interface VerifyCounts {
  readonly snapshots: number;
  /** Distinct ones. */
  readonly directories: number;
  /** Distinct files and symlinks. */
  readonly files: number;
  /** Distinct contents looked up, those of directories included. */
  readonly contents: number;
  /** Contents of files that were read whole and found good. */
  readonly contentsRead: number;
  /** Their plain bytes. */
  readonly bytesRead: number;
  /** Paths and snapshots that cannot be restored as they were; exact in the end. */
  readonly damagedCount: number;
}

export interface VerifyReport extends VerifyCounts {
  /** The first {@link MAX_DAMAGED} of them. */
  readonly damaged: readonly Damage[];
}

export const MAX_DAMAGED = 100_000;

interface Root {
  readonly snapshot: string;
  readonly object: ObjectId;
  readonly isDirectory: boolean;
}

/** Throws `manifest-not-found`, what listing the storage throws, and the signal's reason. */
export async function verify(
  repository: Repository,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const { signal, readFraction = 1, readSeed = "" } = options;
  await repository.contents.bypassCache({ signal });
  const damaged: Damage[] = [];
  let damagedCount = 0;
  let contentsRead = 0;
  let bytesRead = 0;
  const report = (damage: Damage): void => {
    damagedCount += 1;
    if (damaged.length < MAX_DAMAGED) {
      damaged.push(damage);
    }
  };
  const roots = await findRoots(repository, options, report);
  const structure = new StructureCheck({
    repository,
    packs: await listPacks(repository.blobs, { signal }),
    isSelected: (file) => isChosen(file, { fraction: readFraction, seed: readSeed }),
    signal,
    onProgress: () => options.onProgress?.(counts()),
  });
  const counts = (): VerifyCounts => ({
    snapshots: roots.length,
    directories: structure.directories,
    files: structure.files,
    contents: structure.contents.size,
    contentsRead,
    bytesRead,
    damagedCount,
  });
  for (const { object, isDirectory } of roots) {
    await (isDirectory ? structure.checkDirectory(object) : structure.checkFile(object));
  }
  const { findings } = structure;
  await readAll(repository, structure.toRead, {
    signal,
    parallel: options.parallel,
    onRead: (info, error) => {
      if (error !== undefined) {
        findings.contents.set(info.id, reasonOf(error));
        return;
      }
      contentsRead += 1;
      bytesRead += info.originalLength;
      options.onProgress?.(counts());
    },
  });
  const { contents, objects, entries, directories } = findings;
  if (contents.size + objects.size + entries.size + directories.size > 0) {
    const map = new DamageMap({ repository, findings, signal, report });
    for (const { snapshot, object, isDirectory } of roots) {
      await (isDirectory
        ? map.mapDirectory(snapshot, object, "")
        : map.mapFile(snapshot, object, ""));
    }
  }
  return { ...counts(), damaged };
}

async function findRoots(
  repository: Repository,
  options: VerifyOptions,
  report: (damage: Damage) => void,
): Promise<Root[]> {
  const { signal, snapshots, roots } = options;
  const found: Root[] = (roots ?? []).map((object) => ({
    snapshot: object,
    object,
    isDirectory: /^I*Z?D?k/.test(object), // spec §6.4: directory records have content prefix `k`
  }));
  const add = (id: ManifestId, root: { object: ObjectId; type: string }): void => {
    found.push({ snapshot: id, object: root.object, isDirectory: root.type === "directory" });
  };
  for (const id of snapshots ?? []) {
    add(id, (await loadSnapshot(repository, id, { signal })).root);
  }
  if (snapshots === undefined && roots === undefined) {
    const list = await listSnapshots(repository, {}, { signal });
    for (const { id, root } of list.snapshots) {
      add(id, root);
    }
    for (const { id, error } of list.damaged) {
      report({ snapshot: id, path: "", ...reasonOf(error) });
    }
    for (const { id, error } of repository.contents.damagedIndexBlobs) {
      const message = `an index blob cannot be read, snapshots may be missing: ${error.message}`;
      report({ snapshot: id, path: "", code: error.code, message });
    }
    for (const { contentId, reason } of repository.manifests.damaged) {
      const message = `manifests cannot be read, snapshots may be among them: ${reason}`;
      report({ snapshot: contentId, path: "", code: "corrupt", message });
    }
  }
  return found;
}
