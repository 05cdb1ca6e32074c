import { isAbsolute, resolve } from "node:path";
import {
  formatTimeNs,
  isVarveError,
  listSnapshots,
  type Repository,
  type SavedSnapshot,
  type Selection,
  selectSnapshot,
  type SnapshotSource,
  parseSource,
  VarveError,
} from "@varve/core";
import { EXIT_FAILED } from "./exit.ts";
import { counted } from "./output.ts";

/** What arguments of commands mean. */

interface SelectOptions {
  readonly snapshotTime?: string | undefined;
  readonly signal: AbortSignal;
}

/** Like `selectSnapshot`, with paths that are relative to the working directory too; an object id must be there. */
export async function selectEntry(
  repository: Repository,
  text: string,
  options: SelectOptions,
): Promise<Selection> {
  const selection = await selectAnywhere(repository, text, options);
  if (selection.snapshot !== undefined || selection.path !== "") {
    return selection;
  }
  const { entry } = selection;
  try {
    const { size } = await repository.objects.open(entry.object, options);
    return { ...selection, entry: { ...entry, sizeBytes: entry.type === "directory" ? 0 : size } };
  } catch (cause) {
    if (!isVarveError(cause, "content-not-found")) {
      throw cause;
    }
    const message = `neither a snapshot nor an object: ${JSON.stringify(text)}`;
    throw new VarveError("object-not-found", message, { cause });
  }
}

async function selectAnywhere(
  repository: Repository,
  text: string,
  options: SelectOptions,
): Promise<Selection> {
  try {
    return await selectSnapshot(repository, text, options);
  } catch (error) {
    if (!isVarveError(error, "object-not-found") || isAbsolute(text) || text.includes("@")) {
      throw error;
    }
    try {
      return await selectSnapshot(repository, resolve(text), options);
    } catch {
      throw error; // what was wrong with the text as it was given
    }
  }
}

/** `user@host:/path`, or a path of this client. */
export function sourceOf(repository: Repository, text: string): SnapshotSource {
  if (/^[^@/]+@[^:/]+:/.test(text)) {
    return parseSource(text);
  }
  const { username, hostname } = repository.client;
  return { userName: username, host: hostname, path: resolve(text) };
}

/**
 * The snapshots that ids name: manifest ids or object ids of roots, never beginnings of them. All are found before any is
 * given. Throws `manifest-not-found`.
 */
export async function snapshotsOf(
  repository: Repository,
  ids: readonly string[],
  options: { readonly signal: AbortSignal },
): Promise<readonly SavedSnapshot[]> {
  const { snapshots } = await listSnapshots(repository, {}, options);
  const found = ids.flatMap((text) => {
    const matching = snapshots.filter(({ id, root }) => id === text || root.object === text);
    if (matching.length === 0) {
      throw new VarveError("manifest-not-found", `no snapshot ${JSON.stringify(text)}`);
    }
    return matching;
  });
  return [...new Map(found.map((snapshot) => [snapshot.id, snapshot])).values()];
}

/** Says that snapshots and policies may be missing from what was told, and makes the command a failure. */
export function failForDamage({ manifests, contents }: Repository): void {
  const indexes = contents.damagedIndexBlobs.length;
  if (indexes > 0) {
    process.exitCode = EXIT_FAILED;
    process.stderr.write(
      `varve: ${counted(indexes, "index blob")} cannot be read, snapshots and files may be missing until \`varve index recover --commit\` [corrupt]\n`,
    );
  }
  const count = manifests.damaged.length;
  if (count > 0) {
    process.exitCode = EXIT_FAILED;
    process.stderr.write(
      `varve: ${counted(count, "content")} of manifests cannot be read, snapshots and policies may be missing [corrupt]\n`,
    );
  }
}

/** `2024-01-31 12:00:00 UTC` */
export function shownTime(timeNs: bigint): string {
  return `${formatTimeNs(timeNs).slice(0, 19).replace("T", " ")} UTC`;
}
