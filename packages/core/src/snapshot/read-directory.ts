import { concatBytes } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError, errorMessage } from "../base/errors.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import { type DirectoryRecord, parseDirectory } from "./directory.ts";
import type { DirectoryEntry } from "./entry.ts";

/** What reading trees needs of a repository. */
export type ObjectsOf = Pick<Repository, "objects">;

// JavaScript's longest string; a record of that size would have more than two million entries.
const MAX_RECORD_BYTES = 0x1fff_ffe8;

/** Reads one directory record. Throws `corrupt`, `content-not-found` and what storage throws. */
export async function readDirectory(
  repository: ObjectsOf,
  id: ObjectId,
  options: CallOptions = {},
): Promise<DirectoryRecord> {
  return parseDirectory(await readRecord(repository, id, options), `directory ${id}`);
}

/** The bytes of a directory record, not to be changed. Throws like {@link readDirectory}. */
export async function readRecord(
  repository: ObjectsOf,
  id: ObjectId,
  options: CallOptions = {},
): Promise<Uint8Array> {
  const reader = await repository.objects.open(id, options);
  if (reader.size > MAX_RECORD_BYTES) {
    throw new VarveError("corrupt", `directory ${id}: ${reader.size} bytes are too many`);
  }
  const parts: Uint8Array[] = [];
  for await (const part of reader.stream(options)) {
    parts.push(part);
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : concatBytes(parts);
}

/** The entry at `path` below `root`, components separated by `/`; `""` is `root` itself. Throws `object-not-found`. */
export async function findEntry(
  repository: ObjectsOf,
  root: DirectoryEntry,
  path: string,
  options: CallOptions = {},
): Promise<DirectoryEntry> {
  let current = root;
  for (const name of path.split("/").filter((part) => part !== "")) {
    const found: DirectoryEntry | undefined =
      current.type === "directory"
        ? (await readDirectory(repository, current.object, options)).entries.find(
            (entry) => entry.name === name,
          )
        : undefined;
    if (found === undefined) {
      throw new VarveError("object-not-found", `no entry ${JSON.stringify(path)}`);
    }
    current = found;
  }
  return current;
}

/** A step of {@link walkTree}; `path` is relative to the root, `""` for the root itself. */
export type TreeItem =
  | { readonly path: string; readonly entry: DirectoryEntry }
  /** An entry that was set aside, or a directory whose record cannot be read. */
  | { readonly path: string; readonly problem: string };

/**
 * Everything at and below `root`, parents before children, in the records' order. A directory that cannot be read
 * gives a problem after its own item, and the walk goes on; only an abort ends it.
 */
export async function* walkTree(
  repository: ObjectsOf,
  root: DirectoryEntry,
  options: CallOptions = {},
): AsyncGenerator<TreeItem, void, undefined> {
  const pending: { path: string; entry: DirectoryEntry }[] = [{ path: "", entry: root }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { path, entry } = next;
    yield { path, entry };
    if (entry.type !== "directory") {
      continue;
    }
    options.signal?.throwIfAborted();
    let record: DirectoryRecord;
    try {
      record = await readDirectory(repository, entry.object, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      yield { path, problem: errorMessage(error) };
      continue;
    }
    const prefix = path === "" ? "" : `${path}/`;
    for (const { name, reason } of record.damaged) {
      yield { path: prefix + name, problem: reason };
    }
    for (const child of record.entries.toReversed()) {
      pending.push({ path: prefix + child.name, entry: child });
    }
  }
}
