import type { BlobId } from "../blob/store.ts";
import type { PackNames } from "./pack-names.ts";

/** How long packs must be for what an index says to be so; listed packs are ticked off one by one. */
export class PackNeeds {
  readonly #names: PackNames;
  /** By the pack's number: where the last content that is not found yet ends, 0 for none. */
  readonly #ends: Float64Array;
  readonly #sizes = new Map<number, number>();

  constructor(names: PackNames, ends: Float64Array) {
    this.#names = names;
    this.#ends = ends;
  }

  /** The pack is in storage with `size` bytes; for a pack that need not be checked, `Infinity`. */
  found(id: BlobId, size: number): void {
    const pack = this.#names.find(id);
    const end = this.#ends[pack];
    if (end === undefined) {
      return; // unknown, or known only since
    }
    if (size >= end) {
      this.#ends[pack] = 0;
    } else {
      this.#sizes.set(pack, size);
    }
  }

  /** Packs that are too short with their sizes, and those that were not found with -1. */
  unmet(): ReadonlyMap<BlobId, number> {
    const unmet = new Map<BlobId, number>();
    for (const [pack, end] of this.#ends.entries()) {
      if (end > 0) {
        unmet.set(this.#names.name(pack), this.#sizes.get(pack) ?? -1);
      }
    }
    return unmet;
  }
}
