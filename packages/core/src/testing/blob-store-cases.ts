import { forEachLimit } from "../base/concurrency.ts";
import { errorMessage, isVarveError } from "../base/errors.ts";
import { type BlobStore, parseBlobId } from "../blob/store.ts";
import { DRAFT_CASES } from "./blob-store-draft-cases.ts";
import { LISTING_CASES } from "./blob-store-listing-cases.ts";
import { OPTION_CASES } from "./blob-store-option-cases.ts";
import { READ_WRITE_CASES } from "./blob-store-read-write-cases.ts";

/**
 * What every blob store must do, as data, so that any test runner, or a user who has doubts about a bucket, can execute
 * the same list:
 *
 *     for (const { name, run } of blobStoreCases({ open })) test(name, run);
 */

export interface BlobStoreCase {
  /** The rule. */
  readonly name: string;
  /** Rejects with an `Error` that says how the rule was broken. */
  readonly run: () => Promise<void>;
}

export interface BlobStoreCasesOptions {
  /** A store that may be written to; every case opens one and disposes it. All may be one and the same storage. */
  readonly open: () => Promise<BlobStore>;
  /**
   * What the ids of all blobs that the cases write start with, at most 8 characters; default `zz`, which is none of
   * Kopia's. What starts with it is deleted, so nothing of worth may.
   */
  readonly prefix?: string;
}

/** The conformance cases; they may run at the same time, and leave nothing behind but blobs that storage has locked. */
export function blobStoreCases(options: BlobStoreCasesOptions): readonly BlobStoreCase[] {
  const checks = [...READ_WRITE_CASES, ...LISTING_CASES, ...OPTION_CASES, ...DRAFT_CASES];
  return checks.map((storeCheck, index) => {
    const prefix = `${options.prefix ?? "zz"}${String(index).padStart(2, "0")}`;
    const run = async (): Promise<void> => {
      await using store = await options.open();
      await deleteAll(store, prefix);
      try {
        await storeCheck.check(store, (rest) => parseBlobId(prefix + rest));
      } finally {
        await deleteAll(store, prefix);
      }
    };
    return { name: storeCheck.name, run };
  });
}

async function deleteAll(store: BlobStore, prefix: string): Promise<void> {
  await forEachLimit(store.list(prefix), { limit: 16 }, async ({ id }) => {
    try {
      await store.delete(id);
    } catch (error) {
      if (!isVarveError(error, "access-denied")) {
        throw new Error(`clean up ${id}: ${errorMessage(error)}`, { cause: error });
      }
    }
  });
}
