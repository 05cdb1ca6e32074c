import type { FileHandle } from "node:fs/promises";
import { mkdir, open, readFile, stat, statfs, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type CallOptions, type Environment, systemEnvironment } from "../base/environment.ts";
import { type ErrorCode, errorMessage, VarveError } from "../base/errors.ts";
import { fileSystemError, systemErrorName } from "./filesystem-errors.ts";
import { blobInfo, walkBlobs } from "./filesystem-list.ts";
import { AtomicWriter, type FileDraft, syncDirectory, writeAll } from "./filesystem-write.ts";
import { resolveRange } from "./range.ts";
import {
  blobPath,
  defaultSharding,
  encodeSharding,
  parseSharding,
  type Sharding,
  SHARDING_FILE,
} from "./sharding.ts";
import type {
  BlobDraft,
  BlobId,
  BlobInfo,
  BlobStore,
  GetOptions,
  PutOptions,
  StoreFeature,
} from "./store.ts";

/**
 * Blobs as files below one directory, laid out as Kopia's filesystem provider does (spec §1.4), so that both can work
 * on the same directory at the same time. A put is a temporary file, flushed, then renamed, and then its directory is
 * flushed too (Kopia leaves that out): what was acknowledged survives a power failure. Where it may write, a list removes temporary files that were left
 * behind a day ago or more. Imports `node:`; a browser build
 * leaves this file and its neighbours `filesystem-…` out.
 */

export interface FileSystemStoreOptions {
  /** Make the directory when it is missing, and take the sharding of a new store when it has none. */
  readonly create?: boolean;
  /** Lengths of directory names for a store without `.shards`; default `[1, 3]` with `create`, else `[3, 3]`. */
  readonly shards?: readonly number[];
  /** Permission bits of blobs, default 0o600. */
  readonly fileMode?: number;
  /** Permission bits of directories, default 0o700. */
  readonly directoryMode?: number;
  /** Write nothing, not even `.shards`: `put` and `delete` throw `read-only`. */
  readonly readOnly?: boolean;
  /** Source of the random names of temporary files, and of the time; the system's by default. */
  readonly environment?: Environment;
}

/**
 * Opens the directory `path` as a blob store; a symlink to one is fine. A missing `.shards` is written before the
 * first put. Throws `corrupt` for a `.shards` that cannot be understood, `storage-failed` for a missing directory.
 */
export async function openFileSystemStore(
  path: string,
  options: FileSystemStoreOptions = {},
): Promise<BlobStore> {
  const { create = false, readOnly = false, directoryMode = 0o700 } = options;
  const { environment = systemEnvironment() } = options;
  const root = resolve(path);
  try {
    if (create && !readOnly) {
      await createRoot(root, directoryMode);
    }
    if (!(await stat(root)).isDirectory()) {
      throw new VarveError("storage-failed", `open store ${root}: not a directory`);
    }
    const stored = await readSharding(root);
    const defaults = defaultSharding({ isNew: create });
    const writer = new AtomicWriter(root, {
      fileMode: options.fileMode ?? 0o600,
      directoryMode,
      environment,
    });
    return new FileSystemStore(root, {
      sharding: stored ?? { ...defaults, shards: options.shards ?? defaults.shards },
      shardingIsStored: stored !== undefined,
      writer: readOnly ? undefined : writer,
      environment,
    });
  } catch (error) {
    throw fileSystemError(error, `open store ${root}`, STORE_IS_GONE);
  }
}

// No writer, on whatever clock, goes on with a file that it has not touched for a day.
const LEFT_BEHIND_MS = 24 * 3_600_000;

// Outside of reading one blob, a missing name is the store itself or a part of it.
const STORE_IS_GONE: Readonly<Record<string, ErrorCode>> = { ENOENT: "storage-failed" };
interface Settings {
  readonly sharding: Sharding;
  readonly shardingIsStored: boolean;
  readonly writer: AtomicWriter | undefined;
  readonly environment: Environment;
}

class FileSystemStore implements BlobStore {
  readonly label: string;
  readonly features: ReadonlySet<StoreFeature> = new Set(["put-if-absent", "set-mtime"] as const);
  readonly #root: string;
  readonly #writer: AtomicWriter | undefined;
  readonly #environment: Environment;
  #sharding: Sharding;
  #storingSharding: Promise<void> | undefined;

  constructor(root: string, { sharding, shardingIsStored, writer, environment }: Settings) {
    this.label = root;
    this.#root = root;
    this.#writer = writer;
    this.#environment = environment;
    this.#sharding = sharding;
    this.#storingSharding = shardingIsStored ? Promise.resolve() : undefined;
  }

  /** One file reaches the disk while the next is written. */
  parallelPuts(): number {
    return 2;
  }

  /** One is read while each of a few threads opens another: more would only lie in memory. */
  parallelReads(): number {
    return 4;
  }

  async get(id: BlobId, { range, into, signal }: GetOptions = {}): Promise<Uint8Array> {
    signal?.throwIfAborted();
    try {
      await using handle = await open(this.#fileOf(id), "r");
      const { size } = await handle.stat();
      const { offset, length } = resolveRange(id, size, range);
      return await readExactly(
        handle,
        offset,
        into !== undefined && into.length >= length
          ? into.subarray(0, length)
          : new Uint8Array(length),
      );
    } catch (error) {
      throw fileSystemError(error, `get ${id}`);
    }
  }

  async put(id: BlobId, parts: readonly Uint8Array[], options: PutOptions = {}): Promise<BlobInfo> {
    const { ifAbsent = false, mtimeMs, retention, signal } = options;
    const writer = this.#requireWriter(`put ${id}`);
    if (retention !== undefined) {
      throw new VarveError("unsupported", `put ${id}: a directory has no object lock`);
    }
    signal?.throwIfAborted();
    try {
      await this.#storeSharding(writer);
      const file = this.#fileOf(id);
      return blobInfo(id, await writer.write(file, parts, { ifAbsent, mtimeMs, signal }));
    } catch (error) {
      throw fileSystemError(error, `put ${id}`, STORE_IS_GONE);
    }
  }

  async draft(id: BlobId, { signal }: CallOptions = {}): Promise<BlobDraft> {
    const writer = this.#requireWriter(`put ${id}`);
    signal?.throwIfAborted();
    const failure = (error: unknown): unknown => fileSystemError(error, `put ${id}`, STORE_IS_GONE);
    try {
      await this.#storeSharding(writer);
      const draft = await writer.draft(this.#fileOf(id));
      return draftOf(draft, { id, failure });
    } catch (error) {
      throw failure(error);
    }
  }

  async stat(id: BlobId, { signal }: CallOptions = {}): Promise<BlobInfo> {
    signal?.throwIfAborted();
    try {
      return blobInfo(id, await stat(this.#fileOf(id)));
    } catch (error) {
      throw fileSystemError(error, `stat ${id}`);
    }
  }

  async *list(prefix: string, { signal }: CallOptions = {}): AsyncGenerator<BlobInfo> {
    signal?.throwIfAborted();
    try {
      const onTemporary = this.#writer && ((file: string) => this.#removeIfOld(file));
      for await (const { info, path } of walkBlobs(this.#root, prefix, { signal, onTemporary })) {
        // Kopia lists a blob that lies elsewhere than `.shards` says, and so do we: better a read that fails than
        // a repository that looks empty. Only a second copy is left out.
        const expected = this.#fileOf(info.id);
        if (path === expected || !(await exists(expected))) {
          yield info;
        }
      }
    } catch (error) {
      throw fileSystemError(error, `list ${JSON.stringify(prefix)}`, STORE_IS_GONE);
    }
  }

  async delete(id: BlobId, { signal }: CallOptions = {}): Promise<void> {
    this.#requireWriter(`delete ${id}`);
    signal?.throwIfAborted();
    try {
      // Not flushed: a blob that comes back after a power failure is one that maintenance deletes again.
      await unlink(this.#fileOf(id));
    } catch (error) {
      if (systemErrorName(error) !== "ENOENT") {
        throw fileSystemError(error, `delete ${id}`);
      }
    }
  }

  async extendRetention(id: BlobId): Promise<void> {
    throw new VarveError(
      "unsupported",
      `extend retention of ${id}: a directory has no object lock`,
    );
  }

  async capacity({ signal }: CallOptions = {}): Promise<{ sizeBytes: number; freeBytes: number }> {
    signal?.throwIfAborted();
    try {
      const { blocks, bavail, bsize } = await statfs(this.#root);
      return { sizeBytes: blocks * bsize, freeBytes: bavail * bsize };
    } catch (error) {
      throw fileSystemError(error, "capacity", STORE_IS_GONE);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** What a writer that was killed has left: nobody else ever would. */
  async #removeIfOld(temporary: string): Promise<void> {
    try {
      const { mtimeMs } = await stat(temporary);
      if (mtimeMs < this.#environment.nowMs() - LEFT_BEHIND_MS) {
        await unlink(temporary);
      }
    } catch (error) {
      const failure = fileSystemError(error, `remove ${temporary}`); // or it is gone, or not ours: no reason not to list
      this.#environment.log({ level: "debug", message: errorMessage(failure) });
    }
  }

  #fileOf(id: BlobId): string {
    return join(this.#root, ...blobPath(this.#sharding, id));
  }

  #requireWriter(what: string): AtomicWriter {
    if (this.#writer === undefined) {
      throw new VarveError("read-only", `${what}: the store ${this.label} was opened read-only`);
    }
    return this.#writer;
  }

  /** Writes `.shards` once, unless another client did so first: then its sharding is ours. */
  async #storeSharding(writer: AtomicWriter): Promise<void> {
    this.#storingSharding ??= this.#createShardingFile(writer);
    await this.#storingSharding;
  }

  async #createShardingFile(writer: AtomicWriter): Promise<void> {
    try {
      this.#sharding = await storeSharding(this.#root, this.#sharding, writer);
    } catch (error) {
      this.#storingSharding = undefined;
      throw error;
    }
  }
}

function draftOf(
  draft: FileDraft,
  { id, failure }: { id: BlobId; failure: (error: unknown) => unknown },
): BlobDraft {
  return {
    descriptor: draft.handle.fd,
    async read({ offset, length }) {
      try {
        return await readExactly(draft.handle, offset, new Uint8Array(length));
      } catch (error) {
        throw failure(error);
      }
    },
    async publish(pieces, { signal } = {}) {
      try {
        const stats = await draft.publish({ ifAbsent: false, signal }, async (handle) => {
          for (const { offset, bytes } of pieces) {
            await writeAll(handle, [bytes], offset);
          }
        });
        return blobInfo(id, stats);
      } catch (error) {
        throw failure(error);
      }
    },
    discard: () => draft.discard(),
  };
}

async function storeSharding(
  root: string,
  sharding: Sharding,
  writer: AtomicWriter,
): Promise<Sharding> {
  try {
    const file = join(root, SHARDING_FILE);
    await writer.write(file, [encodeSharding(sharding)], { ifAbsent: true });
    return sharding;
  } catch (error) {
    const theirs = systemErrorName(error) === "EEXIST" ? await readSharding(root) : undefined;
    if (theirs === undefined) {
      throw error;
    }
    return theirs;
  }
}

async function readSharding(root: string): Promise<Sharding | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(join(root, SHARDING_FILE));
  } catch (error) {
    if (systemErrorName(error) === "ENOENT") {
      return undefined;
    }
    throw error;
  }
  return parseSharding(bytes);
}

async function createRoot(root: string, mode: number): Promise<void> {
  const first = await mkdir(root, { recursive: true, mode });
  let made = first === undefined ? undefined : root;
  while (made !== undefined) {
    await syncDirectory(dirname(made));
    made = made === first ? undefined : dirname(made);
  }
}

/** Fills `into`, from `offset`. */
export async function readExactly(
  handle: FileHandle,
  offset: number,
  into: Uint8Array,
): Promise<Uint8Array> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await handle.read(into, done, into.length - done, offset + done);
    if (bytesRead === 0) {
      throw new VarveError("storage-failed", `file ended at ${offset + done}, not where it should`);
    }
    done += bytesRead;
  }
  return into;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}
