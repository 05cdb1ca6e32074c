import { BitSet } from "../base/bit-set.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentIndex } from "../index/content-index.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";

/**
 * A set of content or object ids: a bit for each content of the index and kind of object, which is what lets a repository of
 * ten million contents be verified and maintained in little memory. Ids that are in no index are the exception, and lie
 * there as they are.
 */
export class IdSet {
  readonly #index: Pick<ContentIndex, "refOf">;
  /** By what leads to the content: nothing, compression, one index, an index of indexes, … */
  readonly #kinds: BitSet[] = [];
  readonly #others: Set<string> = new Set();

  constructor(index: Pick<ContentIndex, "refOf">) {
    this.#index = index;
  }

  get size(): number {
    return this.#kinds.reduce((sum, kind) => sum + kind.size, this.#others.size);
  }

  /** False when it was there already. */
  add(id: ContentId | ObjectId): boolean {
    const { kind, ref } = this.#placeOf(id);
    if (ref < 0 || this.#others.has(id)) {
      const before = this.#others.size;
      return this.#others.add(id).size > before;
    }
    return this.#bits(kind).add(ref);
  }

  has(id: ContentId | ObjectId): boolean {
    const { kind, ref } = this.#placeOf(id);
    // The index may have learned of it since.
    return (ref >= 0 && this.#bits(kind).has(ref)) || this.#others.has(id);
  }

  /** The contents among them that the index has, by their numbers. */
  refs(): Iterable<number> {
    return this.#bits(0);
  }

  #placeOf(id: ContentId | ObjectId): { kind: number; ref: number } {
    const { indirections, compressed, contentId } = splitObjectId(id);
    return { kind: compressed ? 1 : indirections * 2, ref: this.#index.refOf(contentId) };
  }

  #bits(kind: number): BitSet {
    while (this.#kinds.length <= kind) {
      this.#kinds.push(new BitSet());
    }
    return this.#kinds[kind] as BitSet; // made above
  }
}
