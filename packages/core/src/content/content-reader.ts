import { equalBytes } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { errorMessage, isVarveError, VarveError } from "../base/errors.ts";
import type { BlobCache } from "../blob/blob-cache.ts";
import type { BlobStore } from "../blob/store.ts";
import type { Codecs } from "../compression/codec.ts";
import { decompressContent } from "../compression/content-compression.ts";
import type { OpenOptions } from "../crypto/crypto.ts";
import { ivOfHash, type Sealer } from "../format/sealer.ts";
import { type ContentId, contentHash, contentPrefix } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { ContentCache } from "./content-cache.ts";
import { PackCache } from "./pack-cache.ts";

/** The way back from an index entry to plain bytes, with every check there is (spec §3.3, §3.4). */
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

  /** Throws `corrupt` or `format-unsupported`, naming the content and its pack. */
  decode(info: ContentInfo, packed: Uint8Array, options?: OpenOptions): Uint8Array {
    try {
      return this.#decode(info, packed, options);
    } catch (cause) {
      const code = isVarveError(cause, "format-unsupported") ? "format-unsupported" : "corrupt";
      const message = `content ${info.id} in pack ${info.packBlobId}: ${errorMessage(cause)}`;
      throw new VarveError(code, message, { cause });
    }
  }

  #decode(info: ContentInfo, packed: Uint8Array, options: OpenOptions | undefined): Uint8Array {
    const hash = contentHash(info.id);
    if (hash.length !== this.#sealer.hashSize) {
      throw new VarveError("corrupt", `its hash has ${hash.length} bytes`);
    }
    if ((info.encryptionKeyId ?? 0) !== 0) {
      throw new VarveError("format-unsupported", `encryption key ${info.encryptionKeyId}`);
    }
    if (packed.length !== info.packedLength) {
      throw new VarveError("corrupt", `got ${packed.length} bytes of ${info.packedLength}`);
    }
    const stored = this.#sealer.open(packed, ivOfHash(hash), options);
    const headerId = info.compressionHeaderId;
    const maxSize = info.originalLength;
    const data =
      headerId === 0
        ? stored
        : decompressContent(stored, { headerId, codecs: this.#codecs, maxSize });
    if (data.length !== info.originalLength) {
      throw new VarveError("corrupt", `${data.length} bytes instead of ${info.originalLength}`);
    }
    if (!equalBytes(this.#sealer.hash(data), hash)) {
      throw new VarveError("corrupt", "its bytes do not match its id");
    }
    return data;
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
