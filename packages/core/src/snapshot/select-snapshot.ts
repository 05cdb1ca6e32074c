import type { CallOptions } from "../base/environment.ts";
import { VarveError, isVarveError } from "../base/errors.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "./entry.ts";
import { type ObjectsOf, findEntry } from "./read-directory.ts";
import type { SnapshotSource } from "./snapshot-manifest.ts";
import { parseSnapshotTime } from "./snapshot-time.ts";
import { type ManifestsOf, type SavedSnapshot, listSnapshots, parseSource } from "./snapshots.ts";

/** What a person meant by a text: an entry, and the snapshot that it was found in. */
export interface Selection {
  readonly entry: DirectoryEntry;
  /** Left out for an object id that is no snapshot's root. */
  readonly snapshot?: SavedSnapshot | undefined;
  /** Of the entry below the snapshot's root, `/` between components; `""` for the root. */
  readonly path: string;
}

export interface SelectOptions extends CallOptions {
  /** See {@link parseSnapshotTime}; only for paths. Left out: the latest. */
  readonly snapshotTime?: string | undefined;
}

/**
 * Finds what `text` names (behaviour §3.1), each form with an optional `/sub/path`:
 * a snapshot's id or a unique beginning of it, of at least four characters; the object id of a directory (`k…`); `user@host:/path`,
 * or an absolute path of the repository's client. For a path the complete snapshots of every source that holds it are candidates.
 * Throws `object-not-found` when nothing fits, `invalid-argument` when the text means nothing or more than one thing.
 */
export async function selectSnapshot(
  repository: ManifestsOf & ObjectsOf & Pick<Repository, "client" | "environment">,
  text: string,
  options: SelectOptions = {},
): Promise<Selection> {
  const wanted = parsePathForm(text, repository);
  if (wanted !== undefined) {
    return selectByPath(repository, wanted, options);
  }
  const slash = text.indexOf("/");
  const id = slash < 0 ? text : text.slice(0, slash);
  const path = slash < 0 ? "" : cleanSubPath(text.slice(slash));
  const { snapshots } = await listSnapshots(repository, {}, options);
  const snapshot =
    snapshotById(snapshots, id) ??
    // Of several with that root the latest tells the root's attributes.
    snapshots.findLast(({ root }) => root.object === id);
  if (snapshot !== undefined) {
    return { snapshot, path, entry: await findEntry(repository, snapshot.root, path, options) };
  }
  const root = directoryEntry(objectIdOf(id, text));
  return { path, entry: await findEntry(repository, root, path, options) };
}

function parsePathForm(
  text: string,
  { client }: Pick<Repository, "client">,
): SnapshotSource | undefined {
  if (/^(?:[/\\]|[A-Za-z]:[/\\])/.test(text)) {
    return { host: client.hostname, userName: client.username, path: text };
  }
  return /^[^@/]+@[^:/]+:/.test(text) ? parseSource(text) : undefined;
}

async function selectByPath(
  repository: ManifestsOf & ObjectsOf & Pick<Repository, "environment">,
  wanted: SnapshotSource,
  options: SelectOptions,
): Promise<Selection> {
  const choice = parseSnapshotTime(
    options.snapshotTime ?? "latest",
    repository.environment.nowMs(),
  );
  const { snapshots } = await listSnapshots(repository, { incomplete: false }, options);
  const matching = snapshots.filter(
    ({ source, startTimeNs }) =>
      source.host === wanted.host &&
      source.userName === wanted.userName &&
      pathBelow(source.path, wanted.path) !== undefined &&
      (typeof choice === "string" || startTimeNs < choice.beforeNs),
  );
  for (const snapshot of choice === "oldest" ? matching : matching.toReversed()) {
    const path = pathBelow(snapshot.source.path, wanted.path) ?? "";
    try {
      return { snapshot, path, entry: await findEntry(repository, snapshot.root, path, options) };
    } catch (error) {
      if (!isVarveError(error, "object-not-found")) {
        throw error;
      }
    }
  }
  throw new VarveError("object-not-found", `no snapshot holds ${JSON.stringify(wanted.path)}`);
}

const MIN_PREFIX = 4;

function snapshotById(snapshots: readonly SavedSnapshot[], id: string): SavedSnapshot | undefined {
  const exact = snapshots.find((snapshot) => snapshot.id === id);
  if (exact !== undefined || id.length < MIN_PREFIX) {
    return exact;
  }
  const [found, another] = snapshots.filter((snapshot) => snapshot.id.startsWith(id));
  if (another !== undefined) {
    throw new VarveError(
      "invalid-argument",
      `more than one snapshot id begins with ${JSON.stringify(id)}`,
    );
  }
  return found;
}

function objectIdOf(id: string, text: string): ObjectId {
  try {
    return parseObjectId(id);
  } catch (cause) {
    throw new VarveError(
      "object-not-found",
      `neither a snapshot, an object id nor an absolute path: ${JSON.stringify(text)}`,
      { cause },
    );
  }
}

/** A bare object id says nothing of the directory itself; these attributes let its owner read it. Without the directory's prefix it is a file. */
function directoryEntry(object: ObjectId): DirectoryEntry {
  const type = /^I*Z?D?k/.test(object) ? "directory" : "file";
  const mode = type === "directory" ? 0o755 : 0o644;
  return { name: object, type, mode, sizeBytes: 0, mtimeNs: 0n, uid: 0, gid: 0, object };
}

/** The rest of `path` below `ancestor`, `""` when equal, nothing when it is elsewhere. */
function pathBelow(ancestor: string, path: string): string | undefined {
  const windows = /^(?:[A-Za-z]:|\\)/.test(ancestor);
  const slashed = (text: string): string =>
    cleanSubPath(windows ? text.replaceAll("\\", "/") : text);
  const [parent, child] = [slashed(ancestor), slashed(path)];
  if (parent === "" || parent === child) {
    return child.slice(parent.length);
  }
  return child.startsWith(`${parent}/`) ? child.slice(parent.length + 1) : undefined;
}

/** Without empty components. */
function cleanSubPath(path: string): string {
  return path
    .split("/")
    .filter((part) => part !== "")
    .join("/");
}
