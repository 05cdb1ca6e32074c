import { forEachLimit } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import type { BlobInfo, BlobStore } from "./store.ts";

/** What became of blobs that were to be deleted. */
export interface Deletions<Blob extends Pick<BlobInfo, "id"> = BlobInfo> {
  readonly deleted: readonly Blob[];
  /** Still there: storage keeps them until their locks end. */
  readonly locked: readonly Blob[];
}

/** How many, and how long together. */
export interface BlobTotals {
  readonly blobs: number;
  readonly bytes: number;
}

const DELETES_IN_FLIGHT = 16;

/** Deletes what storage lets go, and goes on where a lock refuses; throws whatever else a store throws. */
export async function deleteBlobs<Blob extends Pick<BlobInfo, "id">>(
  store: Pick<BlobStore, "delete">,
  blobs: Iterable<Blob>,
  { limit = DELETES_IN_FLIGHT, signal }: CallOptions & { readonly limit?: number } = {},
): Promise<Deletions<Blob>> {
  const deleted: Blob[] = [];
  const locked: Blob[] = [];
  await forEachLimit(blobs, { limit, signal }, async (blob) => {
    try {
      await store.delete(blob.id, { signal });
      deleted.push(blob);
    } catch (error) {
      if (!isVarveError(error, "blob-locked")) {
        throw error;
      }
      locked.push(blob);
    }
  });
  return { deleted, locked };
}

export function totalsOf(blobs: readonly BlobInfo[]): BlobTotals {
  return { blobs: blobs.length, bytes: blobs.reduce((sum, { size }) => sum + size, 0) };
}
