import type { CallOptions } from "../base/environment.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import type { BlobStore } from "../blob/store.ts";
import type { Crypto } from "../crypto/registry.ts";
import { decodeBlobConfig, encodeBlobConfig } from "./blob-config.ts";
import { BLOB_CONFIG, FORMAT_BLOB, type RepositoryFormat } from "./format.ts";
import { FORMAT_COPY } from "./format-copy.ts";
import {
  encodeFormatBlob,
  type FormatDeps,
  type UnlockOptions,
  unlockFormat,
} from "./format-blob.ts";
import { retainingStore } from "./retaining-store.ts";

/** The format blobs in a store: read, written once, replaced (spec §2.7, §2.9). */

/** Throws `not-a-repository` when there is no format blob, and what {@link unlockFormat} throws. */
export async function readFormat(
  store: BlobStore,
  options: CallOptions & UnlockOptions,
): Promise<RepositoryFormat> {
  const { signal } = options;
  const [formatBlob, configAtOnce] = await Promise.all([
    getIfPresent(store, FORMAT_BLOB, { signal }),
    getIfPresent(store, BLOB_CONFIG, { signal }),
  ]);
  if (formatBlob === undefined) {
    const hasCopy = (await getIfPresent(store, FORMAT_COPY, { signal })) !== undefined;
    const what = hasCopy
      ? `${FORMAT_BLOB} is missing, and can be repaired, in`
      : "no repository in";
    throw new VarveError("not-a-repository", `${what} ${store.label}`);
  }
  // The configuration is stored first: it may have come between the two reads.
  const blobConfig = configAtOnce ?? (await getIfPresent(store, BLOB_CONFIG, { signal }));
  try {
    return await unlockFormat(formatBlob, { ...options, blobConfig });
  } catch (cause) {
    if (!isVarveError(cause, "corrupt")) {
      throw cause;
    }
    const message = `${FORMAT_BLOB} is damaged, and can be repaired: ${cause.message}`;
    throw new VarveError("corrupt", message, { cause });
  }
}

/**
 * Stores a new format; the result is what then lies there. Throws `repository-exists`, and `invalid-argument` for a
 * location with any other blob in it; only what a creation that was cut short left behind is written over.
 */
export async function writeNewFormat(
  store: BlobStore,
  format: RepositoryFormat,
  options: FormatDeps & CallOptions,
): Promise<RepositoryFormat> {
  const { signal } = options;
  const isUnfinished = await refuseUsedLocation(store, { signal });
  const target = retainingStore(store, { ...options, retention: format.retention });
  const ifAbsent = store.features.has("put-if-absent");
  const rawFormatBlob = encodeFormatBlob(format, options);
  try {
    // The configuration first: whoever sees the format blob must see the retention that goes with it. Neither is
    // written over that of someone who creates a repository here at the same time.
    await target.put(BLOB_CONFIG, [encodeBlobConfig(format, options)], {
      ifAbsent: ifAbsent && !isUnfinished,
      signal,
    });
    await target.put(FORMAT_BLOB, [rawFormatBlob], { ifAbsent, signal });
  } catch (cause) {
    throw isVarveError(cause, "blob-exists") ? repositoryExists(store, { cause }) : cause;
  }
  return { ...format, rawFormatBlob };
}

/**
 * Replaces the format blobs by those of a changed format; the result is what then lies there. A crash on the way
 * leaves a repository that opens, except when the password changes while retention is on (spec §2.9).
 */
export async function replaceFormat(
  store: BlobStore,
  format: RepositoryFormat,
  options: FormatDeps & CallOptions,
): Promise<RepositoryFormat> {
  const { crypto, signal } = options;
  const target = retainingStore(store, { ...options, retention: format.retention });
  const blobConfig = encodeBlobConfig(format, options);
  const rawFormatBlob = encodeFormatBlob(format, options);
  const isNewKey = await isSealedOtherwise(store, format, { crypto, signal });
  if (isNewKey && format.retention === undefined) {
    // Both blobs cannot change their key at once, and one under each key is a repository that nobody opens. A missing
    // configuration is no retention, which is what both sides of the change say.
    await target.delete(BLOB_CONFIG, { signal });
    await target.put(FORMAT_BLOB, [rawFormatBlob], { signal });
    await target.put(BLOB_CONFIG, [blobConfig], { signal });
  } else {
    await target.put(BLOB_CONFIG, [blobConfig], { signal });
    await target.put(FORMAT_BLOB, [rawFormatBlob], { signal });
  }
  return { ...format, rawFormatBlob };
}

/** True when a creation that was cut short has left its first blob there, false when nothing is. */
async function refuseUsedLocation(store: BlobStore, options: CallOptions): Promise<boolean> {
  if ((await getIfPresent(store, FORMAT_BLOB, options)) !== undefined) {
    throw repositoryExists(store);
  }
  let isUnfinished = false;
  for await (const { id } of store.list("", options)) {
    if (id !== BLOB_CONFIG) {
      throw new VarveError(
        "invalid-argument",
        `${store.label} is not empty (it has a blob ${id}): a repository needs a place of its own`,
      );
    }
    isUnfinished = true;
  }
  return isUnfinished;
}

/** True when `kopia.blobcfg` is there and was sealed with another key than that of `format`. */
async function isSealedOtherwise(
  store: BlobStore,
  format: RepositoryFormat,
  options: CallOptions & { readonly crypto: Crypto },
): Promise<boolean> {
  const blob = await getIfPresent(store, BLOB_CONFIG, { signal: options.signal });
  if (blob === undefined) {
    return false;
  }
  try {
    decodeBlobConfig(blob, format, options.crypto);
    return false;
  } catch (error) {
    if (isVarveError(error, "corrupt")) {
      return true;
    }
    throw error;
  }
}

function repositoryExists(store: BlobStore, options: { cause?: unknown } = {}): VarveError {
  return new VarveError("repository-exists", `${store.label} has a repository already`, options);
}
