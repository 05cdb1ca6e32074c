import type { CallOptions } from "../base/environment.ts";
import type { BlobStore } from "../blob/store.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentIndex } from "../index/content-index.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { ContentReader } from "./content-reader.ts";
import type { RewriteFailure, RewriteOptions } from "./content-store.ts";
import type { PackWriter } from "./pack-writer.ts";
import { batchOf, type SealedBatch } from "./sealed-batch.ts";

/** What gives a content another place or another entry than its first: maintenance and repair, never a backup. */
export class Relocator {
  readonly #store: BlobStore;
  readonly #index: ContentIndex;
  readonly #writer: PackWriter;
  readonly #reader: ContentReader;
  readonly #timestampFor: (id: ContentId) => number;

  constructor(parts: {
    readonly store: BlobStore;
    readonly index: ContentIndex;
    readonly writer: PackWriter;
    readonly reader: ContentReader;
    /** Later than that of any entry of the content. */
    readonly timestampFor: (id: ContentId) => number;
  }) {
    this.#store = parts.store;
    this.#index = parts.index;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#timestampFor = parts.timestampFor;
  }

  /** A later entry for a content that stays where it is. */
  addEntry(info: ContentInfo): void {
    const entry: ContentInfo = { ...info, timestampSeconds: this.#timestampFor(info.id) };
    this.#index.addEntry(entry);
    this.#writer.addEntry(entry);
  }

  adopt(
    found: readonly ContentInfo[],
    { dryRun = false }: { readonly dryRun?: boolean },
  ): readonly ContentInfo[] {
    const wanted = found.filter((entry) => {
      const known = this.#index.get(entry.id);
      const isLost = known !== undefined && !known.deleted && !this.#index.isLive(entry.id);
      return known === undefined || (isLost && known.packBlobId !== entry.packBlobId);
    });
    for (const entry of dryRun ? [] : wanted) {
      this.#index.addEntry(entry);
      // Later than the place that is lost, or than a mark of deletion below the watermark, it wins; else it keeps its time.
      if (this.#index.isLive(entry.id)) {
        this.#writer.addEntry(entry);
      } else {
        this.addEntry(entry);
      }
    }
    return wanted;
  }

  async rewrite(
    infos: readonly ContentInfo[],
    { isRehearsal = false, signal }: RewriteOptions,
  ): Promise<readonly RewriteFailure[]> {
    this.#writer.throwIfFailed();
    const [first] = infos;
    if (first === undefined) {
      return [];
    }
    const offset = Math.min(...infos.map((info) => info.packOffset));
    const end = Math.max(...infos.map((info) => info.packOffset + info.packedLength));
    const range = { offset, length: end - offset };
    const bytes = await this.#store.get(first.packBlobId, { range, signal });
    const failures: RewriteFailure[] = [];
    for (const info of infos) {
      const start = info.packOffset - offset;
      const sealed = bytes.subarray(start, start + info.packedLength);
      const failure = this.#rewriteOne(info, sealed, isRehearsal);
      failures.push(...(failure === undefined ? [] : [failure]));
    }
    this.#writer.startFullPacks();
    await this.#writer.room({ signal });
    return failures;
  }

  /** Into an open pack, wherever the contents lie now. Keeps the batch. */
  async place(batch: SealedBatch, { signal }: CallOptions): Promise<void> {
    this.#writer.throwIfFailed();
    this.#add(batch, false);
    this.#writer.startFullPacks();
    await this.#writer.room({ signal });
  }

  #rewriteOne(
    info: ContentInfo,
    sealed: Uint8Array,
    isRehearsal: boolean,
  ): RewriteFailure | undefined {
    const { id, packBlobId, originalLength, compressionHeaderId, deleted } = info;
    if (this.#index.get(id)?.packBlobId !== packBlobId) {
      return undefined; // it has been moved already
    }
    try {
      if (!isRehearsal) {
        this.#reader.decode(info, sealed);
      }
    } catch (error) {
      return { id, error };
    }
    this.#add(batchOf([{ id, sealed, originalLength, compressionHeaderId }]), deleted);
    return undefined;
  }

  #add(batch: SealedBatch, deleted: boolean): void {
    for (const entry of this.#writer.add(batch, { timestampOf: this.#timestampFor, deleted })) {
      this.#index.addEntry(entry);
    }
  }
}
