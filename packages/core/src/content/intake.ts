import { VarveError } from "../base/errors.ts";
import type { CallOptions } from "../base/environment.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentIndex } from "../index/content-index.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { Claims } from "./claims.ts";
import type { ContentStats, ContentStore } from "./content-store.ts";
import type { EntryOptions } from "./pack-layout.ts";
import type { PackWriter } from "./pack-writer.ts";
import type { SealedBatch } from "./sealed-batch.ts";

/** Takes new contents in: claimed by one caller each, then put into an open pack. What it does is told at {@link ContentStore}. */
export class Intake implements Pick<ContentStore, "claim" | "append" | "place" | "abandon"> {
  readonly #index: ContentIndex;
  readonly #writer: PackWriter;
  readonly #options: { readonly readOnly: boolean; readonly nowSeconds: () => number };
  readonly #claims = new Claims();
  #dedupedContents = 0;
  #newContents = 0;
  #newOriginalBytes = 0;
  #newPackedBytes = 0;

  constructor(
    parts: { readonly index: ContentIndex; readonly writer: PackWriter },
    options: { readonly readOnly: boolean; readonly nowSeconds: () => number },
  ) {
    this.#index = parts.index;
    this.#writer = parts.writer;
    this.#options = options;
  }

  claim(ids: readonly ContentId[]): boolean[] {
    this.requireWritable();
    return ids.map((id) => {
      const isNew = !this.#index.isLive(id) && this.#claims.take(id);
      this.#dedupedContents += isNew ? 0 : 1;
      return isNew;
    });
  }

  async append(batch: SealedBatch, { signal }: CallOptions = {}): Promise<void> {
    this.requireWritable();
    // Nothing is awaited before all are in a pack: an abort must not leave claims that nobody will settle.
    this.#writer.throwIfFailed();
    this.#settle((options) => ({ entries: this.#writer.add(batch, options) }));
    signal?.throwIfAborted();
    this.#writer.startFullPacks();
    await this.#writer.room({ signal });
  }

  get place(): ContentStore["place"] {
    const { draft } = this.#writer;
    if (draft === undefined) {
      return undefined;
    }
    return async (layout) => {
      this.requireWritable();
      this.#writer.throwIfFailed();
      const { place } = this.#settle((options) =>
        this.#writer.place(layout, { ...options, draft }),
      );
      this.#writer.startFullPacks();
      const { hasRoom } = this.#writer;
      return { ...(await place), hasRoom };
    };
  }

  abandon(ids: readonly ContentId[], cause: unknown): void {
    for (const id of ids) {
      if (!this.#claims.abandon(id)) {
        this.#writer.fail(cause);
      }
    }
  }

  /** The number of the last claim. */
  get lastClaim(): number {
    return this.#claims.last;
  }

  /** Resolves when no claim up to number `order` is open any longer. */
  async settled(order: number, options: CallOptions): Promise<void> {
    await this.#claims.settled(order, options);
  }

  /** Nobody waits for claims any longer: the session is lost. */
  fail(error: unknown): void {
    this.#claims.fail(error);
  }

  get stats(): Omit<ContentStats, "uploadedBlobs" | "uploadedBytes"> {
    return {
      dedupedContents: this.#dedupedContents,
      newContents: this.#newContents,
      newOriginalBytes: this.#newOriginalBytes,
      newPackedBytes: this.#newPackedBytes,
    };
  }

  /** Later than any entry of this content, the ones that the watermark hides included (spec §4.1, §4.2). */
  timestampFor(id: ContentId, nowSeconds: number = this.#options.nowSeconds()): number {
    const previous = this.#index.get(id)?.timestampSeconds ?? this.#index.watermarkSeconds;
    return Math.max(nowSeconds, previous + 1);
  }

  requireWritable(): void {
    if (this.#options.readOnly) {
      throw new VarveError("read-only", "the repository was opened read-only");
    }
  }

  /** The contents that `add` puts into an open pack are claimed by nobody any longer. */
  #settle<T extends { readonly entries: readonly ContentInfo[] }>(
    add: (options: EntryOptions) => T,
  ): T {
    const nowSeconds = this.#options.nowSeconds();
    try {
      const added = add({ timestampOf: (id) => this.timestampFor(id, nowSeconds) });
      for (const entry of added.entries) {
        this.#index.addEntry(entry);
        this.#claims.settle(entry.id);
        this.#newContents += 1;
        this.#newOriginalBytes += entry.originalLength;
        this.#newPackedBytes += entry.packedLength;
      }
      return added;
    } catch (error) {
      this.#writer.fail(error); // a claim that is neither settled nor given back would hold up every flush
      throw error;
    }
  }
}
