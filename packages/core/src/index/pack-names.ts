import { fromUtf8 } from "../base/bytes.ts";
import { assert } from "../base/errors.ts";
import type { BlobId } from "../blob/store.ts";
import { FREE, RefTable, spread } from "./ref-table.ts";

const SLAB_BYTES = 64 * 1024;
const MAX_NAME_LENGTH = 255;

/** Pack names, each kept once as bytes: about 70 bytes a pack. A reference is a number from 0 up, in order of arrival. */
export class PackNames {
  readonly #slabs: Uint8Array[] = [];
  #free = SLAB_BYTES;
  #places = new Uint32Array(256);
  #count = 0;
  readonly #table = new RefTable();
  readonly #hashOf = (ref: number): number => this.#hashAt(ref);
  /** Thousands of entries in a row lie in one pack. */
  #last: { readonly name: BlobId; readonly ref: number } | undefined;

  get memoryBytes(): number {
    return this.#slabs.length * SLAB_BYTES + this.#places.byteLength + this.#table.memoryBytes;
  }

  get count(): number {
    return this.#count;
  }

  /** The reference of `name`, new or known. */
  intern(name: BlobId): number {
    if (this.#last?.name !== name) {
      const known = this.find(name);
      this.#last = { name, ref: known < 0 ? this.#add(name) : known };
    }
    return this.#last.ref;
  }

  /** -1 for a name that is not known. */
  find(name: BlobId): number {
    const hash = hashText(name);
    for (let slot = this.#table.slotOf(hash); ; slot = this.#table.next(slot)) {
      const ref = this.#table.match(slot, hash);
      if (ref === FREE || (ref >= 0 && this.#equals(ref, name))) {
        return ref;
      }
    }
  }

  name(ref: number): BlobId {
    const { slab, start, length } = this.#place(ref);
    return fromUtf8(slab.subarray(start, start + length)) as BlobId; // only blob ids are interned
  }

  #add(name: BlobId): number {
    assert(name.length <= MAX_NAME_LENGTH, "a blob id has at most 255 characters");
    if (this.#free + 1 + name.length > SLAB_BYTES) {
      this.#slabs.push(new Uint8Array(SLAB_BYTES));
      this.#free = 0;
    }
    const slab = this.#slabs.at(-1) as Uint8Array; // free starts at the end, so there is one
    const ref = this.#count;
    this.#count += 1;
    if (ref === this.#places.length) {
      const grown = new Uint32Array(this.#places.length * 2);
      grown.set(this.#places);
      this.#places = grown;
    }
    // 2^32 bytes of names are 60 million packs.
    this.#places[ref] = (this.#slabs.length - 1) * SLAB_BYTES + this.#free;
    slab[this.#free] = name.length;
    for (let index = 0; index < name.length; index++) {
      slab[this.#free + 1 + index] = name.charCodeAt(index);
    }
    this.#free += 1 + name.length;
    this.#table.insert(ref, this.#hashAt(ref), this.#hashOf);
    return ref;
  }

  #place(ref: number): { slab: Uint8Array; start: number; length: number } {
    assert(ref < this.#count, "a pack reference is one that was given out");
    const place = this.#places[ref] as number; // ref < count
    const slab = this.#slabs[Math.floor(place / SLAB_BYTES)] as Uint8Array; // names lie in slabs
    const start = (place % SLAB_BYTES) + 1;
    return { slab, start, length: slab[start - 1] as number };
  }

  #equals(ref: number, name: string): boolean {
    const { slab, start, length } = this.#place(ref);
    if (length !== name.length) {
      return false;
    }
    for (let index = 0; index < length; index++) {
      if (slab[start + index] !== name.charCodeAt(index)) {
        return false;
      }
    }
    return true;
  }

  #hashAt(ref: number): number {
    const { slab, start, length } = this.#place(ref);
    let hash = HASH_START;
    for (let index = 0; index < length; index++) {
      hash = Math.imul(hash ^ (slab[start + index] as number), HASH_FACTOR); // within the name
    }
    return spread(hash);
  }
}

const HASH_START = 0x811c9dc5;
const HASH_FACTOR = 0x01000193;

function hashText(text: string): number {
  let hash = HASH_START;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), HASH_FACTOR);
  }
  return spread(hash);
}
