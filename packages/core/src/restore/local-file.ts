import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  renameSync,
  unlinkSync,
  write,
  writeSync,
} from "node:fs";
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

// Small writes are twenty times faster without the thread pool (node-primitives §6); long ones would stop
// the reads from storage that are in flight.
const SYNC_WRITE_BYTES = 256 * 1024;
const BLOCK_BYTES = 4096;
const ZERO_BLOCK: Uint8Array = new Uint8Array(BLOCK_BYTES);

export class LocalFile implements WritableFile {
  readonly #file: LocalFileOptions;
  #open = true;

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
      const rest = bytes.subarray(done);
      done +=
        rest.length < SYNC_WRITE_BYTES
          ? writeSync(this.#file.fd, rest, 0, rest.length, offset + done)
          : await this.#writeLater(rest, offset + done);
    }
  }

  #writeLater(bytes: Uint8Array, offset: number): Promise<number> {
    return new Promise((resolve, reject) => {
      write(this.#file.fd, bytes, 0, bytes.length, offset, (error, written) =>
        error === null ? resolve(written) : reject(error),
      );
    });
  }
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
