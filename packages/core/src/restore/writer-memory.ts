import { Semaphore } from "../base/concurrency.ts";
import { assert } from "../base/errors.ts";

/**
 * Memory that the threads which make small files see, in places of three sizes: a file is copied there once, when it is known, and lies there
 * until it is written. Copies of their own for files and batches would be garbage that V8 lets lie for seconds.
 */

/** Where threads are of use: longer files are written by this thread's own pool. */
export const SMALL_FILE_BYTES: number = 64 * 1024;

/** Ascending; together they bound the files that are on their way. */
const SIZES = [
  { bytes: 4 * 1024, places: 1024 },
  { bytes: 16 * 1024, places: 256 },
  { bytes: SMALL_FILE_BYTES, places: 64 },
] as const;

interface SizeClass {
  readonly bytes: number;
  /** Of the first byte after its last place. */
  readonly end: number;
  /** Offsets; the place that was used last comes first, so that few are ever touched. */
  readonly free: number[];
  readonly held: Semaphore;
}

export class WriterMemory {
  readonly shared: SharedArrayBuffer;
  readonly #bytes: Uint8Array;
  readonly #classes: readonly SizeClass[];

  constructor() {
    let end = 0;
    this.#classes = SIZES.map(({ bytes, places }) => {
      const start = end;
      end += places * bytes;
      const free = Array.from({ length: places }, (_, index) => start + index * bytes).reverse();
      return { bytes, end, free, held: new Semaphore(places) };
    });
    this.shared = new SharedArrayBuffer(end);
    this.#bytes = new Uint8Array(this.shared);
  }

  /** Copies `bytes`, {@link SMALL_FILE_BYTES} at most, when there is room; gives their offset. */
  async hold(bytes: Uint8Array): Promise<number> {
    const size = this.#classes.find((candidate) => bytes.length <= candidate.bytes);
    assert(size !== undefined, "only small files are held");
    await size.held.acquire(1);
    const offset = size.free.pop();
    assert(offset !== undefined, "who was let in has a place");
    this.#bytes.set(bytes, offset);
    return offset;
  }

  giveBack(offset: number): void {
    const size = this.#classes.find(({ end }) => offset < end);
    assert(size !== undefined, "a place is given back that was held");
    size.free.push(offset);
    size.held.release(1);
  }
}
