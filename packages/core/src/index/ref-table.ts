/**
 * Open addressing with linear probing over 32-bit references: the caller keeps what a reference stands for, hashes
 * and compares it. 5.7 to 8 bytes a reference, whatever it stands for, and none of them objects.
 *
 *   for (let slot = table.slotOf(hash); (ref = table.at(slot)) >= 0; slot = table.next(slot)) …
 */
export class RefTable {
  // Holds reference + 1; 0 is a free slot.
  #slots = new Uint32Array(1024);
  #count = 0;

  get memoryBytes(): number {
    return this.#slots.byteLength;
  }

  /** Where the search for an unsigned 32-bit `hash` starts. */
  slotOf(hash: number): number {
    // Scaled, not masked, so that the table may have any size; a product of doubles is exact enough to stay below it.
    return Math.floor((hash / 4_294_967_296) * this.#slots.length);
  }

  next(slot: number): number {
    return slot + 1 === this.#slots.length ? 0 : slot + 1;
  }

  /** The reference in `slot`, -1 when it is free. */
  at(slot: number): number {
    return (this.#slots[slot] as number) - 1; // slots come from slotOf and next
  }

  /** Adds `ref`, which is not there yet. `hashOf` is asked again for references 0 to `ref` when the table grows. */
  insert(ref: number, hashOf: (ref: number) => number): void {
    this.#count += 1;
    if (this.#count > this.#slots.length * MAX_LOAD) {
      this.#slots = new Uint32Array(Math.ceil(this.#slots.length * GROWTH));
      for (let known = 0; known < ref; known++) {
        this.#place(known, hashOf(known));
      }
    }
    this.#place(ref, hashOf(ref));
  }

  #place(ref: number, hash: number): void {
    let slot = this.slotOf(hash);
    while (this.at(slot) >= 0) {
      slot = this.next(slot);
    }
    this.#slots[slot] = ref + 1;
  }
}

// Between 0.5 and 0.7 full: lookups of what is missing end after about three slots.
const MAX_LOAD = 0.7;
const GROWTH = 1.4;

/** Lets every bit of `hash` matter for every bit of the result, an unsigned 32-bit number. */
export function spread(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
