import { assert } from "../base/errors.ts";
import type { BlobId } from "../blob/store.ts";
import type { Sealer } from "../format/sealer.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { type EntryOptions, PackLayout, type PackOptions } from "./pack-layout.ts";
import type { SealedBatch } from "./sealed-batch.ts";

/** A pack that is complete and ready to be stored. */
export interface FinishedPack {
  readonly id: BlobId;
  readonly parts: readonly Uint8Array[];
  /** Its entries, as an index file. */
  readonly index: Uint8Array;
}

/** An open pack in memory: it keeps the sealed bytes it is given and never copies them; in the end they are parts of one blob. */
export class PackBuilder {
  readonly #layout: PackLayout;
  readonly #batches: { readonly start: number; readonly batch: SealedBatch }[] = [];

  constructor(options: PackOptions) {
    this.#layout = new PackLayout(options);
  }

  get id(): BlobId {
    return this.#layout.id;
  }

  /** Bytes so far. */
  get length(): number {
    return this.#layout.length;
  }

  /** Keeps the batch. The result are the entries that become true once the pack is stored. */
  add(batch: SealedBatch, options: EntryOptions): ContentInfo[] {
    const start = this.length;
    const entries = this.#layout.add(batch, options);
    assert(this.length - start === batch.bytes.length, "a batch is as long as its contents");
    this.#batches.push({ start, batch });
    return entries;
  }

  /** The bytes of a content that was added. */
  sealedAt({ packOffset, packedLength }: ContentInfo): Uint8Array {
    const found = this.#batches.findLast(({ start }) => start <= packOffset);
    assert(found !== undefined, "an entry of this pack lies in one of its batches");
    const offset = packOffset - found.start;
    return found.batch.bytes.subarray(offset, offset + packedLength);
  }

  /** The pack is stored: whoever lent the bytes of batches may have them back. */
  release(): void {
    for (const { batch } of this.#batches) {
      batch.release?.();
    }
  }

  /** The whole blob. The builder must not be used after it. */
  finish(sealer: Sealer): FinishedPack {
    const { head, tail, index } = this.#layout.finish(sealer);
    const contents = this.#batches.map(({ batch }) => batch.bytes);
    return { id: this.id, parts: [...head, ...contents, ...tail], index };
  }
}
