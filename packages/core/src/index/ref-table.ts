/**
 * Open addressing with linear probing over 32-bit references: the caller keeps what a reference stands for, hashes
 * and compares it. 5.7 to 8 bytes a reference, whatever it stands for, and none of them objects. The bits of a slot that its
 * reference does not need hold bits of the hash, so that the caller is seldom asked about another one's reference: for
 * ten million, once in 256.
 *
 *   for (let slot = table.slotOf(hash); (ref = table.match(slot, hash)) !== FREE; slot = table.next(slot)) …
 */
export class RefTable {
  // A reference + 1 in the low bits, of its hash as many bits as fit above; 0 is a free slot.
  #slots = new Uint32Array(1024);
  #refBits = 10;
  #refMask = 2 ** 10 - 1;
  #tagMask = 2 ** 22 - 1;
  #count = 0;
  readonly #maxLoad: number;

  constructor({ maxLoad = MAX_LOAD }: { maxLoad?: number } = {}) {
    this.#maxLoad = maxLoad;
  }

  get memoryBytes(): number {
    return this.#slots.byteLength;
  }

  /** What it takes beside that while `more` references are added. */
  growthBytes(more: number): number {
    const isEnough = this.#count + more <= this.#slots.length * this.#maxLoad;
    return isEnough ? 0 : Math.ceil(this.#slots.byteLength * GROWTH);
  }

  /** Where the search for an unsigned 32-bit `hash` starts. */
  slotOf(hash: number): number {
    // Scaled, not masked, so that the table may have any size; a product of doubles is exact enough to stay below it.
    return Math.floor((hash / 4_294_967_296) * this.#slots.length);
  }

  next(slot: number): number {
    return slot + 1 === this.#slots.length ? 0 : slot + 1;
  }

  /** The reference in `slot` when it may be one with this hash; {@link FREE}, or {@link OTHER}. */
  match(slot: number, hash: number): number {
    const value = this.#slots[slot] as number; // slots come from slotOf and next
    if (value === 0) {
      return FREE;
    }
    return value >>> this.#refBits === (hash & this.#tagMask) ? (value & this.#refMask) - 1 : OTHER;
  }

  /** Adds `ref`, which is not there yet. `hashOf` is asked again for references 0 to below `ref` when the table grows. */
  insert(ref: number, hash: number, hashOf: (ref: number) => number): void {
    this.#count += 1;
    if (this.#count > this.#slots.length * this.#maxLoad) {
      this.#resize(Math.ceil(this.#slots.length * GROWTH), ref, hashOf);
    }
    this.#place(ref, hash);
  }

  /** Grows for `count` references at once; `hashOf` is asked for those that are here, which are 0 and up. */
  reserve(count: number, hashOf: (ref: number) => number): void {
    const slots = Math.ceil(count / this.#maxLoad) + 1;
    if (slots > this.#slots.length) {
      this.#resize(slots, this.#count, hashOf);
    }
  }

  #resize(slots: number, count: number, hashOf: (ref: number) => number): void {
    this.#slots = new Uint32Array(slots);
    this.#refBits = Math.min(31, Math.ceil(Math.log2(slots + 1)));
    this.#refMask = 2 ** this.#refBits - 1;
    this.#tagMask = 2 ** (32 - this.#refBits) - 1;
    for (let known = 0; known < count; known++) {
      this.#place(known, hashOf(known));
    }
  }

  #place(ref: number, hash: number): void {
    const slots = this.#slots;
    let slot = this.slotOf(hash);
    while (slots[slot] !== 0) {
      slot = this.next(slot);
    }
    slots[slot] = (((hash & this.#tagMask) << this.#refBits) | (ref + 1)) >>> 0;
  }
}

/** No reference is below 0: there is none in this slot. */
export const FREE = -1;
/** There is one with another hash. */
export const OTHER = -2;

// Between 0.5 and 0.7 full: lookups of what is missing end after about three slots.
const MAX_LOAD = 0.7;
const GROWTH = 1.4;

/** Lets every bit of `hash` matter for every bit of the result, an unsigned 32-bit number. */
export function spread(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Of a binary key: of its first four bytes of hash, and its prefix. */
export function hashOfKey(firstWord: number, prefix: number): number {
  return spread(firstWord ^ Math.imul(prefix, 0x9e3779b1));
}
