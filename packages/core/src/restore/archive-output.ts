import { VarveError, errorMessage } from "../base/errors.ts";

/** The part of a Node stream that entry data is written to. */
export interface EntryStream {
  write(bytes: Uint8Array): boolean;
  once(event: "drain", listener: () => void): unknown;
}

/**
 * The far end of an archive: waits that would last for ever when the output has failed end with that failure. Throws
 * `target-failed`.
 */
export class ArchiveOutput {
  readonly #failed: Promise<never>;
  readonly #ended: Promise<void>;

  constructor(ended: Promise<void>) {
    this.#ended = ended.catch((error: unknown) => {
      throw new VarveError("target-failed", `write archive: ${errorMessage(error)}`, {
        cause: error,
      });
    });
    this.#failed = new Promise((_, reject) => {
      this.#ended.catch(reject);
    });
    this.#failed.catch(() => {}); // looked at by whoever waits
  }

  async write(stream: EntryStream, bytes: Uint8Array): Promise<void> {
    if (!stream.write(bytes)) {
      await this.unlessFailed(new Promise<void>((resolve) => stream.once("drain", resolve)));
    }
  }

  /** Fills up an entry whose length the archive has promised already. */
  async writeZeros(stream: EntryStream, length: number): Promise<void> {
    for (let left = length; left > 0; left -= ZEROS.length) {
      await this.write(stream, ZEROS.subarray(0, Math.min(left, ZEROS.length)));
    }
  }

  unlessFailed<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#failed]);
  }

  /** Everything has reached the output. */
  async ended(): Promise<void> {
    await this.#ended;
  }
}

const ZEROS: Uint8Array = new Uint8Array(65_536);
