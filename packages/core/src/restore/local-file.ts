import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  renameSync,
  unlinkSync,
  write,
  writeSync,
} from "node:fs";
import { FILE_WRITE_BYTES } from "../base/budget.ts";
import type { EntryMeta } from "../snapshot/entry.ts";
import type { LocalWriters } from "./local-writers.ts";
import type { WritableFile } from "./target.ts";

/** One file being restored: positional writes to a descriptor that was created for it. */
export interface LocalFileOptions {
  readonly fd: number;
  readonly at: string | Buffer;
  readonly sizeBytes: number;
  /** Where the file belongs when `at` is a temporary name. */
  readonly renameTo?: string | Buffer | undefined;
  readonly sparse: boolean;
  readonly flush: boolean;
  /** Sets mode, owner and times. */
  readonly complete: (fd: number) => void;
  readonly wrap: (error: unknown) => Error;
}

export interface LaterLocalFileOptions {
  readonly at: string | Buffer;
  readonly directory: number;
  readonly sizeBytes: number;
  readonly meta: EntryMeta | undefined;
  /** Left out, the file is made on this thread. */
  readonly writers: LocalWriters | undefined;
  /** The same file without a thread. */
  readonly openNow: () => LocalFile;
  readonly wrap: (error: unknown) => Error;
}

// Small writes are twenty times faster without the thread pool (node-primitives §6); long ones would stop
// the reads from storage that are in flight.
const SYNC_WRITE_BYTES = 256 * 1024;
const BLOCK_BYTES = 4096;
const ZERO_BLOCK: Uint8Array = new Uint8Array(BLOCK_BYTES);

export class LocalFile implements WritableFile {
  readonly #file: LocalFileOptions;
  #open = true;
  #lastWrite: Promise<unknown> = Promise.resolve();

  constructor(file: LocalFileOptions) {
    this.#file = file;
  }

  async writeAt(offset: number, bytes: Uint8Array): Promise<void> {
    try {
      if (!this.#file.sparse) {
        await this.#write(offset, bytes);
        return;
      }
      for (const [start, end] of dataRuns(offset, bytes)) {
        await this.#write(offset + start, bytes.subarray(start, end));
      }
    } catch (error) {
      throw this.#file.wrap(error);
    }
  }

  async finish(): Promise<void> {
    const { fd, at, renameTo, sizeBytes, sparse, flush } = this.#file;
    try {
      if (sparse) {
        ftruncateSync(fd, sizeBytes);
      }
      this.#file.complete(fd);
      if (flush) {
        fsyncSync(fd);
      }
      if (renameTo !== undefined) {
        renameSync(at, renameTo);
      }
    } catch (error) {
      await this.abandon();
      throw this.#file.wrap(error);
    }
    this.#close();
  }

  async abandon(): Promise<void> {
    try {
      unlinkSync(this.#file.at);
    } catch {
      // gone already, or its directory is: nothing is left to remove
    }
    this.#close();
  }

  #close(): void {
    if (this.#open) {
      this.#open = false;
      closeSync(this.#file.fd);
    }
  }

  async #write(offset: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const rest = bytes.subarray(done, done + FILE_WRITE_BYTES);
      done +=
        rest.length < SYNC_WRITE_BYTES
          ? writeSync(this.#file.fd, rest, 0, rest.length, offset + done)
          : await this.#writeLater(rest, offset + done);
    }
  }

  /** One after another: the system lets one write to a file at a time, and lets the others burn a core meanwhile. */
  #writeLater(bytes: Uint8Array, offset: number): Promise<number> {
    const written = this.#lastWrite.then(() => writeInPool(this.#file.fd, bytes, offset));
    this.#lastWrite = written.catch(() => {});
    return written;
  }
}

/**
 * A file that is not open before it is written, so that many can be planned. A small one is made by a thread when its bytes
 * come at once, as they do but for the strangest splitters.
 */
export class LaterLocalFile implements WritableFile {
  readonly #file: LaterLocalFileOptions;
  #made: Promise<void> | undefined;
  #direct: LocalFile | undefined;

  constructor(file: LaterLocalFileOptions) {
    this.#file = file;
  }

  async writeAt(offset: number, bytes: Uint8Array): Promise<void> {
    const { writers, sizeBytes } = this.#file;
    if (writers !== undefined && bytes.length === sizeBytes) {
      await this.#make(writers, bytes);
      return;
    }
    await this.#opened().writeAt(offset, bytes);
  }

  async finish(): Promise<void> {
    const { writers } = this.#file;
    // An empty file has no piece that is written.
    if (writers === undefined) {
      this.#opened();
    }
    if (this.#direct !== undefined) {
      await this.#direct.finish();
      return;
    }
    if (this.#made === undefined && writers !== undefined) {
      await this.#make(writers, new Uint8Array(0));
    }
    try {
      await this.#made;
    } catch (error) {
      this.#made = undefined;
      throw this.#file.wrap(error);
    }
  }

  async abandon(): Promise<void> {
    await this.#direct?.abandon();
    if (this.#made !== undefined) {
      await this.#made.then(() => unlinkSync(this.#file.at)).catch(() => {}); // as in LocalFile
    }
  }

  #opened(): LocalFile {
    try {
      this.#direct ??= this.#file.openNow();
      return this.#direct;
    } catch (error) {
      throw this.#file.wrap(error);
    }
  }

  async #make(writers: LocalWriters, bytes: Uint8Array): Promise<void> {
    const { at, directory, meta } = this.#file;
    this.#made = (await writers.add({ at, directory, meta, bytes })).done;
  }
}

function writeInPool(fd: number, bytes: Uint8Array, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.length, offset, (error, written) =>
      error === null ? resolve(written) : reject(error),
    );
  });
}

/** Start and end of each run of blocks that are not all zeros; blocks are aligned in the file. */
function dataRuns(fileOffset: number, bytes: Uint8Array): [number, number][] {
  const runs: [number, number][] = [];
  let last: [number, number] | undefined;
  for (let start = 0; start < bytes.length; ) {
    const end = Math.min(bytes.length, start + BLOCK_BYTES - ((fileOffset + start) % BLOCK_BYTES));
    if (Buffer.compare(bytes.subarray(start, end), ZERO_BLOCK.subarray(0, end - start)) !== 0) {
      if (last?.[1] === start) {
        last[1] = end;
      } else {
        last = [start, end];
        runs.push(last);
      }
    }
    start = end;
  }
  return runs;
}
