import { open, opendir, stat, unlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type CallOptions, type Environment, systemEnvironment } from "../base/environment.ts";
import { type ErrorCode, VarveError } from "../base/errors.ts";
import { type Bucket, checkFolder, splitName } from "./bucket.ts";
import { fileSystemError, systemErrorName } from "./filesystem-errors.ts";
import { blobInfo } from "./filesystem-list.ts";
import { readExactly } from "./filesystem-store.ts";
import { AtomicWriter } from "./filesystem-write.ts";
import { resolveRange } from "./range.ts";
import { readOnlyStore } from "./read-only-store.ts";
import {
  type BlobId,
  type BlobInfo,
  type BlobStore,
  type GetOptions,
  parseBlobId,
  type PutOptions,
  type StoreFeature,
} from "./store.ts";

/**
 * A bucket as plain files: each is named by its key, so that a directory can be copied to a bucket and back. Not how
 * Kopia lays a repository out in a directory: that is `openFileSystemStore`. Imports `node:`.
 */

export interface FileSystemBucketOptions {
  /** Stores refuse to write. */
  readonly readOnly?: boolean;
  /** Permission bits of files, default 0o600. */
  readonly fileMode?: number;
  /** Permission bits of directories, default 0o700. */
  readonly directoryMode?: number;
  readonly environment?: Environment;
}

/** Opens an existing directory. Throws `storage-failed` when there is none. Has no `readUrl`. */
export async function openFileSystemBucket(
  path: string,
  options: FileSystemBucketOptions = {},
): Promise<Bucket> {
  const root = resolve(path);
  await checkRoot(root);
  const writer = new AtomicWriter(root, {
    fileMode: options.fileMode ?? 0o600,
    directoryMode: options.directoryMode ?? 0o700,
    environment: options.environment ?? systemEnvironment(),
  });
  return {
    label: root,
    store(prefix) {
      const store = new PlainFileStore(root, { prefix: checkFolder(prefix), writer });
      return options.readOnly === true ? readOnlyStore(store) : store;
    },
    async *folders(prefix, { signal } = {}) {
      signal?.throwIfAborted();
      const directory = join(root, checkFolder(prefix));
      for (const entry of await entriesOf(root, directory)) {
        signal?.throwIfAborted();
        if (entry.isDirectory && (await holdsFiles(join(directory, entry.name)))) {
          yield entry.name;
        }
      }
    },
    async upload(name, chunks, { signal } = {}) {
      const { folder, id } = splitName(name);
      if (options.readOnly === true) {
        throw new VarveError("read-only", `upload ${name}: ${root} is read-only`);
      }
      signal?.throwIfAborted();
      try {
        await writer.write(join(root, folder, id), chunks, { ifAbsent: false, signal });
      } catch (error) {
        throw fileSystemError(error, `upload ${name}`, ROOT_IS_GONE);
      }
    },
    async readUrl(name) {
      throw new VarveError("unsupported", `read URL of ${name}: a directory has none`);
    },
    async [Symbol.asyncDispose]() {},
  };
}

// Outside of reading one blob, a missing name is the root itself.
const ROOT_IS_GONE: Readonly<Record<string, ErrorCode>> = { ENOENT: "storage-failed" };
const TEMPORARY = /\.tmp\.[0-9a-f]{16}$/;

class PlainFileStore implements BlobStore {
  readonly label: string;
  readonly features: ReadonlySet<StoreFeature> = new Set(["put-if-absent", "set-mtime"] as const);
  readonly #root: string;
  readonly #directory: string;
  readonly #writer: AtomicWriter;

  constructor(root: string, { prefix, writer }: { prefix: string; writer: AtomicWriter }) {
    this.label = join(root, prefix);
    this.#root = root;
    this.#directory = join(root, prefix);
    this.#writer = writer;
  }

  async get(id: BlobId, { range, signal }: GetOptions = {}): Promise<Uint8Array> {
    signal?.throwIfAborted();
    try {
      await using handle = await open(this.#fileOf(id), "r");
      const { size } = await handle.stat();
      const { offset, length } = resolveRange(id, size, range);
      return await readExactly(handle, offset, new Uint8Array(length));
    } catch (error) {
      throw fileSystemError(error, `get ${id}`);
    }
  }

  async put(id: BlobId, parts: readonly Uint8Array[], options: PutOptions = {}): Promise<BlobInfo> {
    const { ifAbsent = false, mtimeMs, retention, signal } = options;
    if (retention !== undefined) {
      throw new VarveError("unsupported", `put ${id}: a directory has no object lock`);
    }
    signal?.throwIfAborted();
    try {
      const write = { ifAbsent, mtimeMs, signal };
      return blobInfo(id, await this.#writer.write(this.#fileOf(id), parts, write));
    } catch (error) {
      throw fileSystemError(error, `put ${id}`, ROOT_IS_GONE);
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
    for (const { name, isDirectory } of await entriesOf(this.#root, this.#directory)) {
      const id = isDirectory || TEMPORARY.test(name) ? undefined : blobIdOf(name);
      if (id?.startsWith(prefix) === true) {
        signal?.throwIfAborted();
        const stats = await stat(this.#fileOf(id)).catch(() => undefined); // gone meanwhile
        if (stats?.isFile() === true) {
          yield blobInfo(id, stats);
        }
      }
    }
  }

  async delete(id: BlobId, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    try {
      await unlink(this.#fileOf(id));
    } catch (error) {
      if (systemErrorName(error) !== "ENOENT") {
        throw fileSystemError(error, `delete ${id}`);
      }
    }
  }

  async extendRetention(id: BlobId): Promise<void> {
    const message = `extend retention of ${id}: a directory has no object lock`;
    throw new VarveError("unsupported", message);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #fileOf(id: BlobId): string {
    return join(this.#directory, id);
  }
}

interface Entry {
  readonly name: string;
  readonly isDirectory: boolean;
}

/** A folder that is not there is empty; a root that is not there is a disk that is not mounted. */
async function entriesOf(root: string, directory: string): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  try {
    for await (const entry of await opendir(directory)) {
      entries.push({ name: entry.name, isDirectory: entry.isDirectory() });
    }
  } catch (error) {
    if (systemErrorName(error) !== "ENOENT") {
      throw fileSystemError(error, `list ${directory}`);
    }
    await checkRoot(root);
  }
  return entries;
}

async function checkRoot(root: string): Promise<void> {
  try {
    if (!(await stat(root)).isDirectory()) {
      throw new VarveError("storage-failed", `open bucket ${root}: not a directory`);
    }
  } catch (error) {
    throw fileSystemError(error, `open bucket ${root}`, ROOT_IS_GONE);
  }
}

/** Directories stay behind when their last file is deleted; object stores have no such thing. */
async function holdsFiles(directory: string): Promise<boolean> {
  const below: string[] = [];
  for (const { name, isDirectory } of await entriesOf(directory, directory)) {
    if (!isDirectory) {
      return true;
    }
    below.push(name);
  }
  for (const name of below) {
    if (await holdsFiles(join(directory, name))) {
      return true;
    }
  }
  return false;
}

function blobIdOf(name: string): BlobId | undefined {
  try {
    return parseBlobId(name);
  } catch {
    return undefined; // a foreign file
  }
}
