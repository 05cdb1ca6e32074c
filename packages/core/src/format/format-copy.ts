import { equalBytes } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import { type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import { FORMAT_BLOB } from "./format.ts";

/**
 * A second copy of `kopia.repository`, the one blob that nothing can be read without and that packs of format versions 2 and 3 do
 * not carry. Kopia passes over a blob of this name (spec §1.2, §9.2). It is as hard to open as the first: sealed by the password.
 */
export const FORMAT_COPY: BlobId = parseBlobId("varve.repository");

/** Velero's: it keeps nothing but Kopia's blobs and this one in a repository's folder, and so do we where it stands. */
const VELERO_MARKER = parseBlobId("udmrepo.Repository");

/**
 * Makes the copy what `kopia.repository` is, if that is still `rawFormatBlob`: a blob that has been damaged or changed since
 * it was opened is not copied. Gives whether it was written.
 */
export async function keepFormatCopy(
  store: BlobStore,
  rawFormatBlob: Uint8Array,
  { signal }: CallOptions = {},
): Promise<boolean> {
  const [current, copy, marker] = await Promise.all(
    [FORMAT_BLOB, FORMAT_COPY, VELERO_MARKER].map((id) => getIfPresent(store, id, { signal })),
  );
  const isSame = copy !== undefined && equalBytes(copy, rawFormatBlob);
  const isCurrent = current !== undefined && equalBytes(current, rawFormatBlob);
  if (isSame || !isCurrent || marker !== undefined) {
    return false;
  }
  signal?.throwIfAborted();
  await store.put(FORMAT_COPY, [rawFormatBlob], { signal });
  return true;
}
