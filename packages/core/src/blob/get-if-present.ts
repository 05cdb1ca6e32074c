import type { CallOptions } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import type { BlobId, BlobStore } from "./store.ts";

/** The whole blob, or `undefined` when there is none. */
export async function getIfPresent(
  store: BlobStore,
  id: BlobId,
  options: CallOptions,
): Promise<Uint8Array | undefined> {
  try {
    return await store.get(id, options);
  } catch (error) {
    if (isVarveError(error, "blob-not-found")) {
      return undefined;
    }
    throw error;
  }
}
