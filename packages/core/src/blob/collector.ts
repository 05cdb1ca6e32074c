import { concatBytes } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";

/** Puts the body of an answer together, part by part, where it is to lie. */

export interface CollectorOptions {
  /** What is attempted, for errors. */
  readonly what: string;
  /** Bytes that are to come; left out where nobody tells. */
  readonly length: number | undefined;
  /** Filled and given back, when it is long enough; may be shared memory. */
  readonly into?: Uint8Array | undefined;
}

/** A length that is told is believed up to here; beyond, memory is taken as bytes come. */
const MAX_ANNOUNCED_BYTES = 67_108_864;
const WORD_BYTES = 8;
/** Stays in the processor's cache. */
const STAGE_BYTES = 16_384;

export class Collector {
  readonly #what: string;
  readonly #length: number | undefined;
  readonly #target: Uint8Array | undefined;
  readonly #parts: Uint8Array[] = [];
  #stage: Uint8Array | undefined;
  #filled = 0;

  constructor({ what, length, into }: CollectorOptions) {
    this.#what = what;
    this.#length = length;
    if (length !== undefined && into !== undefined && into.length >= length) {
      this.#target = into.subarray(0, length);
    } else if (length !== undefined && length <= MAX_ANNOUNCED_BYTES) {
      this.#target = new Uint8Array(length);
    }
  }

  /** Keeps the part unless it copies it. Throws `storage-failed` for more than there was to be. */
  add(part: Uint8Array): void {
    const start = this.#filled;
    this.#filled += part.length;
    if (this.#length !== undefined && this.#filled > this.#length) {
      throw this.#wrongLength("more");
    }
    if (this.#target === undefined) {
      this.#parts.push(part);
    } else if (this.#target.buffer instanceof ArrayBuffer) {
      this.#target.set(part, start);
    } else {
      this.#share(this.#target, part, start);
    }
  }

  /** All of it. Throws `storage-failed` for less than there was to be. */
  bytes(): Uint8Array {
    if (this.#length !== undefined && this.#filled < this.#length) {
      throw this.#wrongLength(String(this.#filled));
    }
    return this.#target ?? concatBytes(this.#parts);
  }

  /** V8 copies to shared memory byte by byte unless both sides are aligned alike: 0.45 s a GiB; by way of the stage 0.1. */
  #share(target: Uint8Array, part: Uint8Array, start: number): void {
    this.#stage ??= new Uint8Array(STAGE_BYTES);
    const toWord = (WORD_BYTES - ((target.byteOffset + start) % WORD_BYTES)) % WORD_BYTES;
    let done = Math.min(toWord, part.length);
    target.set(part.subarray(0, done), start);
    while (done < part.length) {
      const piece = part.subarray(done, done + STAGE_BYTES);
      this.#stage.set(piece);
      target.set(this.#stage.subarray(0, piece.length), start + done);
      done += piece.length;
    }
  }

  #wrongLength(seen: string): VarveError {
    const message = `${this.#what}: ${seen} bytes of ${this.#length}`;
    return new VarveError("storage-failed", message, { retryable: true });
  }
}
