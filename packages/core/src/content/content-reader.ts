import type { CallOptions } from "../base/environment.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import type { BlobCache } from "../blob/blob-cache.ts";
import type { BlobStore } from "../blob/store.ts";
import type { Codecs } from "../compression/codec.ts";
import type { OpenOptions } from "../crypto/crypto.ts";
import type { Sealer } from "../format/sealer.ts";
import { type ContentId, contentPrefix } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { ContentCache } from "./content-cache.ts";
import { decodeContent } from "./decode-content.ts";
import { PackCache } from "./pack-cache.ts";

/** The way back from an index entry to plain bytes. */
export class ContentReader {
  readonly #store: BlobStore;
  readonly #sealer: Sealer;
  readonly #codecs: Codecs;
  readonly #cacheBytes: number;
  readonly #disk: BlobCache | undefined;
  #cache: ContentCache;
  #packs: PackCache;

  constructor(options: {
    store: BlobStore;
    sealer: Sealer;
    codecs: Codecs;
    cacheBytes: number;
    /** For metadata, on disk. */
    cache?: BlobCache | undefined;
  }) {
    this.#store = options.store;
    this.#sealer = options.sealer;
    this.#codecs = options.codecs;
    this.#cacheBytes = options.cacheBytes;
    this.#disk = options.cache;
    this.#cache = new ContentCache(this.#cacheBytes / 2);
    this.#packs = new PackCache(options.store, this.#cacheBytes / 2, this.#disk);
  }

  /** Drops what is kept in memory: it may have come from the cache on disk. */
  forget(): void {
    this.#cache = new ContentCache(this.#cacheBytes / 2);
    this.#packs = new PackCache(this.#store, this.#cacheBytes / 2, this.#disk);
  }

  /** Contents with a prefix (directories, indexes) are kept for a while: they are read again and again. */
  async read(info: ContentInfo, options: CallOptions): Promise<Uint8Array> {
    const cached = this.#cache.get(info.id);
    if (cached !== undefined) {
      return cached;
    }
    const isMetadata = contentPrefix(info.id) !== "";
    if (!isMetadata) {
      return this.decode(info, await this.#fetch(info, options), { inPlace: true });
    }
    const data = (await this.#fromPack(info, options)) ?? (await this.#alone(info, options));
    this.#cache.set(info.id, data);
    return data;
  }

  async #fromPack(info: ContentInfo, options: CallOptions): Promise<Uint8Array | undefined> {
    const packed = await this.#packs.get(info, options);
    try {
      return packed && this.decode(info, packed, { inPlace: true });
    } catch {
      await this.#packs.distrust(info.packBlobId);
      return undefined; // asked for alone, it may be whole
    }
  }

  async #alone(info: ContentInfo, options: CallOptions): Promise<Uint8Array> {
    const name = cacheName(info.id);
    const kept = await this.#disk?.get(name);
    if (kept !== undefined) {
      try {
        return this.decode(info, kept, { inPlace: true });
      } catch {
        await this.#disk?.drop(name);
      }
    }
    const packed = await this.#fetch(info, options);
    const data = this.decode(info, packed);
    await this.#disk?.put(name, [packed]);
    return data;
  }

  /** See {@link decodeContent}. */
  decode(info: ContentInfo, packed: Uint8Array, options?: OpenOptions): Uint8Array {
    return decodeContent(info, packed, { ...options, sealer: this.#sealer, codecs: this.#codecs });
  }

  async #fetch(info: ContentInfo, { signal }: CallOptions): Promise<Uint8Array> {
    const range = { offset: info.packOffset, length: info.packedLength };
    try {
      return await this.#store.get(info.packBlobId, { range, signal });
    } catch (cause) {
      if (isVarveError(cause, "blob-not-found") || isVarveError(cause, "range-invalid")) {
        const message = `content ${info.id}: pack ${info.packBlobId} is missing or cut short`;
        throw new VarveError("corrupt", message, { cause });
      }
      throw cause;
    }
  }
}

/** What reading a content throws whose pack is gone. */
export function isMissingPack(error: unknown): boolean {
  return isVarveError(error, "corrupt") && isVarveError(error.cause, "blob-not-found");
}

/** Unlike that of any blob. */
function cacheName(id: ContentId): string {
  return `${id}.content`;
}
