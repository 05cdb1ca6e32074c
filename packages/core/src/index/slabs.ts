import { assert } from "../base/errors.ts";

/**
 * The records of a content index, in slabs of equal length. Without a bound all of them stay in memory. With one, those that
 * were not looked at for a while lie in a scratch file and come back when they are asked for.
 */

/** A file of our own for what does not fit into memory: nothing in it outlives the process. Calls are synchronous. */
export interface ScratchFile extends Disposable {
  /** Fills `target` from what was written at `position`. */
  read(position: number, target: Uint8Array): void;
  write(position: number, bytes: Uint8Array): void;
}

export class Slabs {
  readonly #scratch: ScratchFile | undefined;
  /** Bytes of each, once the first is there. */
  #slabBytes = 0;
  readonly #resident: (Uint32Array | undefined)[] = [];
  /** By slab: 1 when it was looked at since the hand last passed. */
  readonly #recent: number[] = [];
  readonly #changed = new Set<number>();
  #residentCount = 0;
  #hand = 0;
  /** Bytes that slabs in memory may take; without a scratch file nobody asks. */
  room: number = Number.POSITIVE_INFINITY;

  constructor(scratch: ScratchFile | undefined) {
    this.#scratch = scratch;
  }

  get count(): number {
    return this.#resident.length;
  }

  get memoryBytes(): number {
    return this.#residentCount * this.#slabBytes;
  }

  /** Valid until the next call of any method, and for reading; see `change`. */
  at(index: number): Uint32Array {
    const slab = this.#resident[index];
    if (slab === undefined) {
      return this.#load(index);
    }
    this.#recent[index] = 1;
    return slab;
  }

  /** The same for writing. */
  change(index: number): Uint32Array {
    if (this.#scratch !== undefined) {
      this.#changed.add(index);
    }
    return this.at(index);
  }

  /** One more, of zeros. */
  add(words: number): void {
    this.#slabBytes = words * 4;
    const slab = this.#takeBuffer().fill(0);
    this.#changed.add(this.#resident.length);
    this.#resident.push(slab);
    this.#recent.push(1);
    this.#residentCount += 1;
  }

  /**
   * Memory for one more slab. Writes out what was not looked at lately until it fits, and uses that memory again: what is left to be
   * collected would come to more than all slabs together.
   */
  #takeBuffer(): Uint32Array {
    let freed: Uint32Array | undefined;
    while (
      this.#scratch !== undefined &&
      this.memoryBytes + this.#slabBytes > this.room &&
      this.#residentCount > 1
    ) {
      this.#hand = (this.#hand + 1) % this.#resident.length;
      const slab = this.#resident[this.#hand];
      if (slab === undefined) {
        continue;
      }
      if (this.#recent[this.#hand] === 1) {
        this.#recent[this.#hand] = 0;
        continue;
      }
      if (this.#changed.delete(this.#hand)) {
        this.#scratch.write(this.#hand * this.#slabBytes, bytesOf(slab));
      }
      this.#resident[this.#hand] = undefined;
      this.#residentCount -= 1;
      freed = slab;
    }
    return freed ?? new Uint32Array(this.#slabBytes / 4);
  }

  #load(index: number): Uint32Array {
    assert(this.#scratch !== undefined && index < this.count, "a slab is in memory or on disk");
    const slab = this.#takeBuffer();
    this.#scratch.read(index * this.#slabBytes, bytesOf(slab));
    this.#resident[index] = slab;
    this.#recent[index] = 1;
    this.#residentCount += 1;
    return slab;
  }
}

function bytesOf(slab: Uint32Array): Uint8Array {
  return new Uint8Array(slab.buffer, slab.byteOffset, slab.byteLength);
}
