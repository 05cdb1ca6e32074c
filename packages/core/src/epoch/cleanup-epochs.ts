import type { CallOptions } from "../base/environment.ts";
import { deleteBlobs, type Deletions } from "../blob/delete-blobs.ts";
import type { BlobInfo } from "../blob/store.ts";
import type { CompactOptions } from "./compact-epochs.ts";
import { parseEpochBlobName, watermarkId } from "./epoch-names.ts";
import { resolveEpochs } from "./epoch-set.ts";
import { utf8 } from "../base/bytes.ts";

/**
 * What the owner of maintenance deletes among the `x` blobs (spec §4.5, "Maintenance of epochs"): only what every client
 * has had a replacement of for longer than it may work with an old listing.
 */

type CleanupOptions = Omit<CompactOptions, "sealer">;

/** Deletes index blobs of single epochs that were compacted long enough ago; gives what became of them. */
export async function deleteSupersededIndexes(
  options: CleanupOptions,
  { signal }: CallOptions = {},
): Promise<Deletions> {
  const { blobs, cutoffMs } = await listForCleanup(options, { signal });
  const { singles, uncompacted, writeEpoch } = resolveEpochs(blobs);
  const superseded = [...uncompacted].flatMap(([epoch, inputs]) => {
    const newestMs = newest(singles.get(epoch) ?? []);
    return epoch <= writeEpoch - 2 && newestMs !== undefined && newestMs < cutoffMs ? inputs : [];
  });
  return await deleteAll(options, superseded, { signal });
}

/** Deletes markers of epochs that are over, and watermarks that a later one replaced long enough ago; gives what became of them. */
export async function cleanUpMarkers(
  options: CleanupOptions,
  { signal }: CallOptions = {},
): Promise<Deletions> {
  const { blobs, cutoffMs } = await listForCleanup(options, { signal });
  const { writeEpoch, watermarkSeconds } = resolveEpochs(blobs);
  const old = blobs.filter(({ id, mtimeMs }) => {
    const name = parseEpochBlobName(id);
    return name?.kind === "marker"
      ? name.epoch < writeEpoch - 1
      : name?.kind === "watermark" && name.seconds < watermarkSeconds && mtimeMs < cutoffMs;
  });
  return await deleteAll(options, old, { signal });
}

/** Moves the deletion watermark forward to a Unix second (spec §4.6); false when it is there already. */
export async function advanceWatermark(
  options: CleanupOptions,
  seconds: number,
  { signal }: CallOptions = {},
): Promise<boolean> {
  const { blobs } = await listForCleanup(options, { signal });
  if (seconds <= resolveEpochs(blobs).watermarkSeconds) {
    return false;
  }
  await options.store.put(watermarkId(seconds), [utf8("deletion-watermark")], { signal });
  return true;
}

/**
 * Storage's clock is read off what was written last: a compaction that is older than that by the safety margin has been seen
 * by everybody. Nothing is old while nothing is new.
 */
async function listForCleanup(
  { store, format }: CleanupOptions,
  { signal }: CallOptions,
): Promise<{ blobs: readonly BlobInfo[]; cutoffMs: number }> {
  const blobs: BlobInfo[] = [];
  for await (const blob of store.list("x", { signal })) {
    blobs.push(blob);
  }
  const { writeEpoch, uncompacted } = resolveEpochs(blobs);
  const latest = newest(
    [writeEpoch - 1, writeEpoch, writeEpoch + 1].flatMap((epoch) => uncompacted.get(epoch) ?? []),
  );
  const marginMs = format.epochs.cleanupSafetyMarginMs;
  return { blobs, cutoffMs: latest === undefined ? Number.NEGATIVE_INFINITY : latest - marginMs };
}

function newest(blobs: readonly BlobInfo[]): number | undefined {
  let newestMs: number | undefined;
  for (const { mtimeMs } of blobs) {
    newestMs = Math.max(newestMs ?? mtimeMs, mtimeMs);
  }
  return newestMs;
}

async function deleteAll(
  { store, format }: CleanupOptions,
  blobs: readonly BlobInfo[],
  { signal }: CallOptions,
): Promise<Deletions> {
  const limit = Math.max(1, format.epochs.deleteParallelism);
  return await deleteBlobs(store, blobs, { limit, signal });
}
