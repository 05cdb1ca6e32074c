import { contentHash, contentIdOf, contentPrefix } from "../index/content-id.ts";
import type { ContentId } from "../index/content-id.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";

/**
 * A set of content or object ids as packed bytes: about 30 bytes an id where a set of strings takes 150, which is what lets
 * a repository of ten million contents be verified. Ids have positions, so that
 * lists about them can be lists of numbers.
 */
export class IdSet {
  /** Length of the keys in `#keys`, set by the first id; the few of other lengths lie in `#others`. */
  #keyLength = 0;
  #keys: Uint8Array = new Uint8Array(0);
  /** Open addressing: position + 1, or 0. */
  #table: Uint32Array = new Uint32Array(64);
  #count = 0;
  readonly #others: Set<string> = new Set();

  get size(): number {
    return this.#count + this.#others.size;
  }

  /** False when it was there already. */
  add(id: ContentId | ObjectId): boolean {
    const key = keyOf(id);
    if (this.#keyLength === 0) {
      this.#keyLength = key.length;
    }
    if (key.length !== this.#keyLength) {
      const before = this.#others.size;
      return this.#others.add(id).size > before;
    }
    const slot = this.#slotOf(key);
    if (this.#table[slot] !== 0) {
      return false;
    }
    this.#append(key);
    this.#table[slot] = this.#count;
    if (this.#count * 2 > this.#table.length) {
      this.#rebuild();
    }
    return true;
  }

  has(id: ContentId | ObjectId): boolean {
    const key = keyOf(id);
    return key.length === this.#keyLength
      ? this.#table[this.#slotOf(key)] !== 0
      : this.#others.has(id);
  }

  /** Of a set of contents that grows no more: the id at a position below `size`. */
  contentIdAt(position: number): ContentId {
    if (position >= this.#count) {
      return [...this.#others][position - this.#count] as ContentId; // only contents were added
    }
    const key = this.#keyAt(position);
    return contentIdOf(key[1] === 0 ? "" : String.fromCharCode(key[1] ?? 0), key.subarray(2));
  }

  #keyAt(position: number): Uint8Array {
    return this.#keys.subarray(position * this.#keyLength, (position + 1) * this.#keyLength);
  }

  #append(key: Uint8Array): void {
    const end = (this.#count + 1) * this.#keyLength;
    if (end > this.#keys.length) {
      const grown = new Uint8Array(Math.max(end, this.#keys.length * 2, 4096));
      grown.set(this.#keys);
      this.#keys = grown;
    }
    this.#keys.set(key, this.#count * this.#keyLength);
    this.#count += 1;
  }

  /** Where the key is, or belongs. */
  #slotOf(key: Uint8Array): number {
    const mask = this.#table.length - 1;
    // Hashes are even already; the first two bytes tell kinds of ids with the same hash apart.
    let slot = (((key[2] ?? 0) << 24) | ((key[3] ?? 0) << 16) | ((key[4] ?? 0) << 8)) >>> 0;
    slot = (slot + (key[5] ?? 0) + (key[0] ?? 0) * 31 + (key[1] ?? 0) * 17) & mask;
    for (;;) {
      const entry = this.#table[slot] ?? 0;
      if (entry === 0 || equals(this.#keys, (entry - 1) * this.#keyLength, key)) {
        return slot;
      }
      slot = (slot + 1) & mask;
    }
  }

  #rebuild(): void {
    this.#table = new Uint32Array(this.#table.length * 2);
    for (let position = 0; position < this.#count; position++) {
      this.#table[this.#slotOf(this.#keyAt(position))] = position + 1;
    }
  }
}

/** What leads to the content, its prefix letter, its hash. */
function keyOf(id: ContentId | ObjectId): Uint8Array {
  const { indirections, compressed, contentId } = splitObjectId(id);
  const hash = contentHash(contentId);
  const key = new Uint8Array(2 + hash.length);
  key[0] = indirections * 2 + (compressed ? 1 : 0);
  key[1] = contentPrefix(contentId).charCodeAt(0) || 0; // NaN without a prefix
  key.set(hash, 2);
  return key;
}

function equals(keys: Uint8Array, offset: number, key: Uint8Array): boolean {
  for (let index = 0; index < key.length; index++) {
    if (keys[offset + index] !== key[index]) {
      return false;
    }
  }
  return true;
}
