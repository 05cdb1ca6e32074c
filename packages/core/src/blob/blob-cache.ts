/**
 * What a repository keeps on this machine between runs: blobs, or parts of them, as they lie in storage, still sealed. Nothing
 * that comes out is trusted. Whoever asks decrypts it and checks its hash as if it came from storage, and what does
 * not pass is dropped and fetched; so entries need no authentication of their own (Kopia's have it, since it looks for
 * less when it reads them).
 *
 * Kept is only what never changes under its name: index blobs, packs of metadata, and single contents of those. Never
 * kept are listings and format blobs. Kopia keeps lists of index blobs for half a minute and formats for a quarter of an
 * hour; but which index blobs are live, and which packs are there, decides whether a content counts as stored and when an
 * epoch is over, and an old format opens with a password that was changed. So storage is asked for them each time.
 */
export interface BlobCache {
  /**
   * What was kept under `name`, or exactly the range of it; nothing when it is not there, too short, or cannot be
   * read. The result is the caller's. Never rejects.
   */
  get(name: string, range?: CacheRange): Promise<Uint8Array | undefined>;
  /** Keeps the concatenation of `parts`, or does not. Never rejects. */
  put(name: string, parts: readonly Uint8Array[]): Promise<void>;
  /** For what has turned out to be damaged. Never rejects. */
  drop(name: string): Promise<void>;
}

export interface CacheRange {
  readonly offset: number;
  readonly length: number;
}

/** Caches of any number of repositories, under one bound. */
export interface CacheSource {
  /** `repositoryId` tells repositories apart: letters and digits. */
  cacheOf(repositoryId: string): BlobCache;
}

/** Can be turned off, for those who must know what storage has. */
export class SwitchedCache implements BlobCache {
  readonly #cache: BlobCache;
  isOn = true;

  constructor(cache: BlobCache) {
    this.#cache = cache;
  }

  async get(name: string, range?: CacheRange): Promise<Uint8Array | undefined> {
    return this.isOn ? await this.#cache.get(name, range) : undefined;
  }

  async put(name: string, parts: readonly Uint8Array[]): Promise<void> {
    if (this.isOn) {
      await this.#cache.put(name, parts);
    }
  }

  async drop(name: string): Promise<void> {
    await this.#cache.drop(name);
  }
}
