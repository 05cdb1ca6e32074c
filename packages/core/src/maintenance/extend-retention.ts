import { PARALLEL_READS } from "../base/budget.ts";
import { forEachLimit } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import type { BlobInfo } from "../blob/store.ts";
import { RETAINED_PREFIXES } from "../format/retaining-store.ts";
import type { BlobRetention } from "../format/format.ts";
import type { Repository } from "../repository/repository.ts";

/** Locks every pack, index and format blob anew for a whole period (behaviour §4.4); gives how many. */
export async function extendRetention(
  { blobs, environment }: Repository,
  { mode, periodMs }: BlobRetention,
  { signal }: CallOptions = {},
): Promise<{ readonly blobs: number }> {
  const retention = { mode, untilMs: environment.nowMs() + periodMs };
  let count = 0;
  const extend = async ({ id }: BlobInfo): Promise<void> => {
    try {
      await blobs.extendRetention(id, retention, { signal });
      count += 1;
    } catch (error) {
      if (!isVarveError(error, "blob-not-found")) {
        throw error;
      }
    }
  };
  for (const prefix of RETAINED_PREFIXES) {
    await forEachLimit(blobs.list(prefix, { signal }), { limit: PARALLEL_READS, signal }, extend);
  }
  return { blobs: count };
}
