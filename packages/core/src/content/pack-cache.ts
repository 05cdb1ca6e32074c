import type { CallOptions } from "../base/environment.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import type { ContentInfo } from "../index/content-info.ts";

/** So many contents of a pack are asked for one by one; who wants another gets the pack. */
const SINGLE_READS = 3;
/** Of packs whose reads are counted. */
const MAX_COUNTED = 10_000;

/**
 * Packs of metadata as a whole, least recently used dropped first: a walk through directories wants many small contents
 * of few packs, and each request costs a round trip. Never holds more than `capacity` bytes besides what is on its way.
 */
export class PackCache {
  readonly #store: BlobStore;
  readonly #capacity: number;
  readonly #reads = new Map<BlobId, number>();
  readonly #packs = new Map<BlobId, Promise<Uint8Array | undefined>>();
  readonly #sizes = new Map<BlobId, number>();
  #held = 0;

  constructor(store: BlobStore, capacity: number) {
    this.#store = store;
    this.#capacity = capacity;
  }

  /** A copy of the sealed bytes of a content; `undefined` when they are to be asked for alone. Rejects as the signal says. */
  async get(info: ContentInfo, { signal }: CallOptions): Promise<Uint8Array | undefined> {
    const { packBlobId: id, packOffset, packedLength } = info;
    const reads = (this.#reads.get(id) ?? 0) + 1;
    if (this.#reads.size >= MAX_COUNTED) {
      this.#reads.clear();
    }
    this.#reads.set(id, reads);
    if (reads <= SINGLE_READS) {
      return undefined;
    }
    const pack = await this.#pack(id, { signal });
    signal?.throwIfAborted();
    const end = packOffset + packedLength;
    return pack !== undefined && end <= pack.length ? pack.slice(packOffset, end) : undefined;
  }

  async #pack(id: BlobId, options: CallOptions): Promise<Uint8Array | undefined> {
    const known = this.#packs.get(id);
    if (known !== undefined) {
      this.#packs.delete(id); // a Map iterates in the order of insertion: put it last
      this.#packs.set(id, known);
      return await known;
    }
    const reading = this.#store.get(id, options).then(
      (bytes) => this.#keep(id, bytes),
      () => {
        this.#packs.delete(id);
        return undefined;
      },
    );
    this.#packs.set(id, reading);
    return await reading;
  }

  #keep(id: BlobId, bytes: Uint8Array): Uint8Array {
    this.#sizes.set(id, bytes.length);
    this.#held += bytes.length;
    for (const oldest of this.#packs.keys()) {
      if (this.#held <= this.#capacity) {
        break;
      }
      const size = this.#sizes.get(oldest);
      if (size !== undefined) {
        this.#packs.delete(oldest);
        this.#sizes.delete(oldest);
        this.#held -= size;
        this.#reads.delete(oldest); // it earns its place anew
      }
    }
    return bytes;
  }
}
