import type { Dirent, Stats } from "node:fs";
import { opendir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type BlobId, type BlobInfo, parseBlobId } from "./store.ts";
import { systemErrorName } from "./filesystem-errors.ts";
import { BLOB_SUFFIX } from "./sharding.ts";

// Bounds the files that are looked at together.
const BATCH = 64;
// Deeper down nothing can be a blob.
const MAX_ID_LENGTH = 255;

/** A blob that is being written (spec §1.4). */
const TEMPORARY = new RegExp(`\\${BLOB_SUFFIX}\\.tmp\\.[0-9a-f]{16}$`);

/** One blob file found by {@link walkBlobs}. */
export interface FoundBlob {
  readonly info: BlobInfo;
  /** Absolute. */
  readonly path: string;
}

/**
 * Blobs below `directory` whose id starts with `prefix`: an id is the names of the directories on the way and the
 * file's name without `.f`, put together (spec §1.4). Directories that cannot hold the prefix are not entered; files
 * and directories that vanish on the way are left out. `onTemporary` is told of the temporary files that writers have, or have
 * left behind. Throws operating system errors, `ENOENT` only for the root.
 */
export async function* walkBlobs(
  directory: string,
  prefix: string,
  options: {
    readonly signal: AbortSignal | undefined;
    readonly onTemporary?: ((path: string) => Promise<void>) | undefined;
    readonly idSoFar?: string;
  },
): AsyncGenerator<FoundBlob> {
  const { signal, onTemporary, idSoFar = "" } = options;
  const directories: string[] = [];
  let batch: string[] = [];
  for await (const entry of entriesOf(directory, { isRoot: idSoFar === "" })) {
    signal?.throwIfAborted();
    const id = idSoFar + entry.name;
    if (entry.isDirectory()) {
      const related = id.startsWith(prefix) || prefix.startsWith(id);
      if (related && id.length <= MAX_ID_LENGTH) {
        directories.push(entry.name);
      }
    } else if (entry.name.endsWith(BLOB_SUFFIX) && id.startsWith(prefix)) {
      batch.push(entry.name);
      if (batch.length === BATCH) {
        yield* lookAt(directory, batch, { idSoFar, prefix });
        batch = [];
      }
    } else if (entry.isFile() && TEMPORARY.test(entry.name)) {
      await onTemporary?.(join(directory, entry.name));
    }
  }
  yield* lookAt(directory, batch, { idSoFar, prefix });
  const below = directories.map((name) =>
    walkBlobs(join(directory, name), prefix, { signal, onTemporary, idSoFar: idSoFar + name }),
  );
  yield* oneAfterTheOther(below);
}

// A directory often holds a single blob; most of the time goes by in waiting for the file system.
const DIRECTORIES_AHEAD = 16;

/** What the generators give, one after the other; the first step of those that come next is already made. */
async function* oneAfterTheOther<T>(
  generators: readonly AsyncGenerator<T>[],
): AsyncGenerator<T, void, undefined> {
  const begun: Promise<IteratorResult<T>>[] = [];
  try {
    for (const [index, generator] of generators.entries()) {
      while (begun.length < Math.min(generators.length, index + DIRECTORIES_AHEAD)) {
        const first = (generators[begun.length] as AsyncGenerator<T>).next(); // it is in range
        first.catch(() => {}); // thrown when its turn comes
        begun.push(first);
      }
      const first = await (begun[index] as Promise<IteratorResult<T>>); // begun by the loop above
      if (first.done !== true) {
        yield first.value;
        yield* generator;
      }
    }
  } finally {
    await Promise.all(
      generators.slice(0, begun.length).map((generator) => generator.return(undefined)),
    );
  }
}

async function* lookAt(
  directory: string,
  names: readonly string[],
  options: { idSoFar: string; prefix: string },
): AsyncGenerator<FoundBlob> {
  const found = await Promise.all(
    names.map(async (name) => {
      const path = join(directory, name);
      const id = blobIdOf(options.idSoFar + name.slice(0, -BLOB_SUFFIX.length));
      const stats = id?.startsWith(options.prefix) ? await statOrUndefined(path) : undefined;
      return id !== undefined && stats?.isFile() ? { info: blobInfo(id, stats), path } : undefined;
    }),
  );
  yield* found.filter((blob) => blob !== undefined);
}

export function blobInfo(id: BlobId, stats: Stats): BlobInfo {
  // Cut as Kopia cuts it; a time that was set by us is a little below its millisecond, since Node sets seconds as a float.
  return { id, size: stats.size, mtimeMs: Math.floor(stats.mtimeMs + 0.001) };
}

function blobIdOf(text: string): BlobId | undefined {
  try {
    return parseBlobId(text);
  } catch {
    return undefined; // a foreign file
  }
}

async function statOrUndefined(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    return ifGone(error);
  }
}

/**
 * The root of a folder without shards holds all of its blobs: it is read piece by piece. What lies below holds few, and is read at once, with a
 * quarter of the calls.
 */
async function* entriesOf(
  directory: string,
  { isRoot }: { isRoot: boolean },
): AsyncGenerator<Dirent> {
  if (isRoot) {
    yield* await opendir(directory, { bufferSize: BATCH });
    return;
  }
  try {
    yield* await readdir(directory, { withFileTypes: true });
  } catch (error) {
    ifGone(error);
  }
}

function ifGone(error: unknown): undefined {
  if (systemErrorName(error) !== "ENOENT") {
    throw error;
  }
}
