import type { CallOptions } from "../base/environment.ts";
import type { BlobCache } from "../blob/blob-cache.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import type { ContentInfo } from "../index/content-info.ts";

/** So many contents of a pack are asked for one by one; who wants another gets the pack. */
const SINGLE_READS = 3;
/** Of packs whose reads are counted. */
const MAX_COUNTED = 10_000;

/**
 * Packs of metadata as a whole, least recently used dropped first: a walk through directories wants many small contents
 * of few packs, and each request costs a round trip. A pack that would not fit is not asked for, or it would be read again and again. What comes from storage is kept on disk, too, where there is a cache. Never holds more than `capacity` bytes besides what is on its way.
 */
export class PackCache {
  readonly #store: BlobStore;
  readonly #capacity: number;
  readonly #cache: BlobCache | undefined;
  /** Packs that came from the cache. */
  readonly #fromCache = new Set<BlobId>();
  readonly #reads = new Map<BlobId, number>();
  readonly #packs = new Map<BlobId, Promise<Uint8Array | undefined>>();
  readonly #sizes = new Map<BlobId, number>();
  /** Packs that were longer than what may be held. */
  readonly #tooLong = new Set<BlobId>();
  #held = 0;

  constructor(store: BlobStore, capacity: number, cache?: BlobCache) {
    this.#store = store;
    this.#capacity = capacity;
    this.#cache = cache;
  }

  /** A copy of the sealed bytes of a content; `undefined` when they are to be asked for alone. Rejects as the signal says. */
  async get(info: ContentInfo, { signal }: CallOptions): Promise<Uint8Array | undefined> {
    const { packBlobId: id, packOffset, packedLength } = info;
    const reads = (this.#reads.get(id) ?? 0) + 1;
    if (this.#reads.size >= MAX_COUNTED) {
      this.#reads.clear();
    }
    this.#reads.set(id, reads);
    const end = packOffset + packedLength;
    if (reads <= SINGLE_READS || end > this.#capacity || this.#tooLong.has(id)) {
      return await this.#cache?.get(id, { offset: packOffset, length: packedLength });
    }
    const pack = await this.#pack(id, { signal });
    signal?.throwIfAborted();
    if (pack !== undefined && end <= pack.length) {
      return pack.slice(packOffset, end);
    }
    await this.distrust(id);
    return undefined;
  }

  /** Bytes of the pack could not be opened: those of the cache on disk are given up, those from storage are what they are. */
  async distrust(id: BlobId): Promise<void> {
    if (this.#packs.has(id) && !this.#fromCache.has(id)) {
      return;
    }
    this.#forget(id);
    await this.#cache?.drop(id);
  }

  async #pack(id: BlobId, options: CallOptions): Promise<Uint8Array | undefined> {
    const known = this.#packs.get(id);
    if (known !== undefined) {
      this.#packs.delete(id); // a Map iterates in the order of insertion: put it last
      this.#packs.set(id, known);
      return await known;
    }
    const reading = this.#read(id, options).then(
      (bytes) => this.#keep(id, bytes),
      () => {
        this.#packs.delete(id);
        return undefined;
      },
    );
    this.#packs.set(id, reading);
    return await reading;
  }

  async #read(id: BlobId, options: CallOptions): Promise<Uint8Array> {
    const kept = await this.#cache?.get(id);
    if (kept !== undefined) {
      this.#fromCache.add(id);
      return kept;
    }
    const bytes = await this.#store.get(id, options);
    await this.#cache?.put(id, [bytes]);
    return bytes;
  }

  #keep(id: BlobId, bytes: Uint8Array): Uint8Array {
    if (bytes.length > this.#capacity) {
      if (this.#tooLong.size >= MAX_COUNTED) {
        this.#tooLong.clear();
      }
      this.#tooLong.add(id);
    }
    this.#sizes.set(id, bytes.length);
    this.#held += bytes.length;
    for (const oldest of this.#packs.keys()) {
      if (this.#held <= this.#capacity) {
        break;
      }
      if (this.#sizes.has(oldest)) {
        this.#forget(oldest);
        this.#reads.delete(oldest); // it earns its place anew
      }
    }
    return bytes;
  }

  #forget(id: BlobId): void {
    this.#held -= this.#sizes.get(id) ?? 0;
    this.#sizes.delete(id);
    this.#packs.delete(id);
    this.#fromCache.delete(id);
  }
}
