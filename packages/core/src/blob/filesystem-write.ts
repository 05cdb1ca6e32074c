import type { Stats } from "node:fs";
import { type FileHandle, link, mkdir, open, rename, unlink } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { toHex } from "../base/bytes.ts";
import type { Environment } from "../base/environment.ts";
import { FILE_WRITE_BYTES } from "../base/budget.ts";
import { assert, VarveError } from "../base/errors.ts";
import { systemErrorName } from "./filesystem-errors.ts";

// What a file system without hard links answers.
const NO_HARD_LINKS: ReadonlySet<string> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);
// What file systems and platforms answer that cannot flush a directory.
const NO_DIRECTORY_SYNC: ReadonlySet<string> = new Set([
  ...NO_HARD_LINKS,
  "EINVAL",
  "EISDIR",
  "EACCES",
]);

/**
 * Writes files below one directory so that each appears under its name whole or not at all, and is durable, its
 * directories included, when the write resolves. Makes directories as needed, but never the root: one that is gone
 * is a disk that is not mounted.
 */
export class AtomicWriter {
  readonly #root: string;
  readonly #options: WriterOptions;
  /** Directories that are being made and may not be durable yet. */
  readonly #making = new Map<string, Promise<void>>();

  constructor(root: string, options: WriterOptions) {
    this.#root = root;
    this.#options = options;
  }

  /** Throws what `parts` throw, and operating system errors: `EEXIST` when the file is there and `ifAbsent` was asked for. */
  async write(
    file: string,
    parts: Parts,
    options: { ifAbsent: boolean; mtimeMs?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<Stats> {
    const draft = await this.draft(file);
    return await draft.publish(options, async (handle) => {
      if (Symbol.asyncIterator in parts) {
        for await (const part of parts) {
          await writeAll(handle, [part]);
        }
      } else {
        await writeAll(handle, parts);
      }
    });
  }

  /** A new temporary file, which is the caller's to publish or to discard. Throws operating system errors. */
  async draft(file: string): Promise<FileDraft> {
    const temporary = `${file}.tmp.${toHex(this.#options.environment.randomBytes(8))}`;
    const handle = await this.#create(temporary);
    // It may have been made by somebody else, and not be durable yet.
    const made = this.#making.get(dirname(file));
    made?.catch(() => {}); // thrown by `publish`
    return new FileDraft({ handle, temporary, file }, made);
  }

  async #create(path: string): Promise<FileHandle> {
    try {
      return await open(path, "wx+", this.#options.fileMode);
    } catch (error) {
      if (systemErrorName(error) !== "ENOENT") {
        throw error;
      }
      await this.#makeDirectory(dirname(path));
      return await open(path, "wx+", this.#options.fileMode);
    }
  }

  #makeDirectory(directory: string): Promise<void> {
    const making =
      this.#making.get(directory) ??
      makeDirectories(this.#root, directory, this.#options.directoryMode).finally(() =>
        this.#making.delete(directory),
      );
    this.#making.set(directory, making);
    return making;
  }
}

/** A file that has not got its name yet. */
export class FileDraft {
  readonly handle: FileHandle;
  readonly #temporary: string;
  readonly #file: string;
  readonly #directoryMade: Promise<void> | undefined;

  constructor(
    paths: { handle: FileHandle; temporary: string; file: string },
    directoryMade: Promise<void> | undefined,
  ) {
    this.handle = paths.handle;
    this.#temporary = paths.temporary;
    this.#file = paths.file;
    this.#directoryMade = directoryMade;
  }

  /** Writes what `write` writes, and gives the file its name; discards it when it throws. */
  async publish(
    options: { ifAbsent: boolean; mtimeMs?: number | undefined; signal?: AbortSignal | undefined },
    write: (handle: FileHandle) => Promise<void>,
  ): Promise<Stats> {
    const { ifAbsent, mtimeMs, signal } = options;
    try {
      await write(this.handle);
      if (mtimeMs !== undefined) {
        await this.handle.utimes(mtimeMs / 1000, mtimeMs / 1000);
      }
      await this.handle.sync();
      const stats = await this.handle.stat();
      await this.handle.close();
      signal?.throwIfAborted();
      await (ifAbsent
        ? linkOnly(this.#temporary, this.#file)
        : rename(this.#temporary, this.#file));
      await syncDirectory(dirname(this.#file));
      await this.#directoryMade;
      return stats;
    } catch (error) {
      await this.discard();
      throw error;
    }
  }

  /** Never throws: what failed before is what matters. */
  async discard(): Promise<void> {
    await this.handle.close().catch(() => {});
    await unlink(this.#temporary).catch(() => {});
  }
}

type Parts = readonly Uint8Array[] | AsyncIterable<Uint8Array>;

interface WriterOptions {
  readonly fileMode: number;
  readonly directoryMode: number;
  readonly environment: Environment;
}

/** Makes `directory` and what is missing between it and `root`, which must exist; durable when it resolves. */
async function makeDirectories(root: string, directory: string, mode: number): Promise<void> {
  let parent = root;
  for (const name of relative(root, directory).split(sep)) {
    const child = join(parent, name);
    try {
      await mkdir(child, mode);
    } catch (error) {
      if (systemErrorName(error) !== "EEXIST") {
        throw error;
      }
    }
    // Also when it was there: whoever made it may not have come so far.
    await syncDirectory(parent);
    parent = child;
  }
}

/** From `position`; left out: where the file stands. */
export async function writeAll(
  handle: FileHandle,
  parts: readonly Uint8Array[],
  position?: number,
): Promise<void> {
  let at = position;
  for (const slice of slices(parts)) {
    let rest = slice;
    while (rest.length > 0) {
      let { bytesWritten } = await handle.writev(rest, at);
      assert(bytesWritten > 0, "writev makes progress");
      at = at === undefined ? undefined : at + bytesWritten;
      const firstUnfinished = rest.findIndex((part) => {
        const isUnfinished = bytesWritten < part.length;
        bytesWritten -= isUnfinished ? 0 : part.length;
        return isUnfinished;
      });
      rest = firstUnfinished < 0 ? [] : rest.slice(firstUnfinished);
      rest = rest.map((part, index) => (index === 0 ? part.subarray(bytesWritten) : part));
    }
  }
}

/** The parts in slices of {@link FILE_WRITE_BYTES}; nothing of them is empty. */
function* slices(parts: readonly Uint8Array[]): Generator<readonly Uint8Array[], void, undefined> {
  let slice: Uint8Array[] = [];
  let room = FILE_WRITE_BYTES;
  for (const part of parts) {
    for (let at = 0; at < part.length; ) {
      const piece = part.subarray(at, at + room);
      slice.push(piece);
      at += piece.length;
      room -= piece.length;
      if (room === 0) {
        yield slice;
        slice = [];
        room = FILE_WRITE_BYTES;
      }
    }
  }
  if (slice.length > 0) {
    yield slice;
  }
}

/** Gives the file its name unless that is taken (`EEXIST`): a rename would replace. */
async function linkOnly(temporary: string, file: string): Promise<void> {
  try {
    await link(temporary, file);
  } catch (cause) {
    if (NO_HARD_LINKS.has(systemErrorName(cause) ?? "")) {
      throw new VarveError("unsupported", "this file system cannot put only if absent", { cause });
    }
    throw cause;
  }
  await unlink(temporary);
}

/** Makes the names in `directory` durable, where that can be asked for. */
export async function syncDirectory(directory: string): Promise<void> {
  try {
    await using handle = await open(directory, "r");
    await handle.sync();
  } catch (error) {
    if (!NO_DIRECTORY_SYNC.has(systemErrorName(error) ?? "")) {
      throw error;
    }
  }
}
