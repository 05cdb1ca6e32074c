import type { BlobCache, CacheSource } from "../src/blob/blob-cache.ts";

/** A cache in memory whose entries tests may look at and damage. */
export function memoryCache(): CacheSource & { entries: Map<string, Uint8Array> } {
  const entries = new Map<string, Uint8Array>();
  const cache: BlobCache = {
    get: async (name, range) => {
      const kept = entries.get(name);
      const { offset, length } = range ?? { offset: 0, length: kept?.length ?? 0 };
      return kept !== undefined && offset + length <= kept.length
        ? kept.slice(offset, offset + length)
        : undefined;
    },
    put: async (name, parts) => {
      entries.set(name, Uint8Array.from(parts.flatMap((part) => [...part])));
    },
    drop: async (name) => {
      entries.delete(name);
    },
  };
  return { entries, cacheOf: () => cache };
}
