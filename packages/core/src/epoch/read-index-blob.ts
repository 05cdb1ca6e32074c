import type { CallOptions } from "../base/environment.ts";
import type { BlobCache } from "../blob/blob-cache.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import { openBlob } from "../format/sealed-blob.ts";
import type { Sealer } from "../format/sealer.ts";

/**
 * The plain bytes of an index blob, which never changes: from the cache when it is there and whole, else from storage.
 * Throws `blob-not-found`, `corrupt`.
 */
export async function readIndexBlob(
  { store, sealer, cache }: { store: BlobStore; sealer: Sealer; cache?: BlobCache | undefined },
  id: BlobId,
  { signal }: CallOptions,
): Promise<Uint8Array> {
  const kept = await cache?.get(id);
  if (kept !== undefined) {
    try {
      return openBlob(id, kept, sealer);
    } catch {
      await cache?.drop(id);
    }
  }
  const bytes = await store.get(id, { signal });
  const plain = openBlob(id, bytes, sealer, { inPlace: cache === undefined });
  await cache?.put(id, [bytes]);
  return plain;
}
