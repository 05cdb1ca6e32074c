import { PARALLEL_READS, READ_AHEAD_BYTES } from "../base/budget.ts";
import { forEachLimit, Semaphore } from "../base/concurrency.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import { Turns } from "../base/turns.ts";
import { damageOf, type DamagedBlob } from "../blob/damaged-blob.ts";
import type { BlobId, BlobInfo } from "../blob/store.ts";
import type { ContentIndex } from "../index/content-index.ts";
import type { EpochListing, IndexBlobs } from "./index-blobs.ts";
import { withRestarts } from "./restart.ts";

/**
 * Merges all live index blobs but the `known` ones into `into` and sets its watermark; gives the ids that were merged.
 * Starts again when a blob vanishes meanwhile (spec §4.5). After a failure `into` may hold some of the blobs: merging
 * them again does no harm. One that is damaged does not hide the others, unlike in Kopia: it is named in the result, and whatever
 * it had replaced is merged if it is still there. Throws what storage threw.
 */
export async function loadContentIndex(
  indexBlobs: IndexBlobs,
  options: CallOptions & {
    into: ContentIndex;
    known?: ReadonlySet<BlobId> | undefined;
    environment: Environment;
    /** Of index blobs that are read at once, and as many of what is in them. */
    readAheadBytes?: number | undefined;
  },
): Promise<{ loaded: BlobId[]; damaged: DamagedBlob[]; listing: EpochListing | undefined }> {
  const { into, known, environment, signal } = options;
  const loaded = new Set<BlobId>();
  const damaged = new Map<BlobId, DamagedBlob>();
  const turns = new Turns(environment);
  const budget = new Semaphore(options.readAheadBytes ?? READ_AHEAD_BYTES);
  const load = async ({ id, size }: BlobInfo): Promise<void> => {
    await budget.acquire(size, { signal });
    try {
      await addFile(into, { id, bytes: await indexBlobs.read(id, { signal }), turns });
      loaded.add(id);
    } catch (cause) {
      const error = damageOf(cause);
      if (error === undefined) {
        throw cause;
      }
      damaged.set(id, { id, error });
    } finally {
      budget.release(size);
    }
  };
  return withRestarts({ environment, signal }, async () => {
    const live = await indexBlobs.live({ signal });
    const isWanted = ({ id }: BlobInfo): boolean => known?.has(id) !== true && !loaded.has(id);
    const parallel = { limit: PARALLEL_READS, signal };
    damaged.clear();
    into.expect(estimatedEntries(live.blobs.filter(isWanted)));
    let bad = live.damaged;
    try {
      await forEachLimit(live.blobs.filter(isWanted), parallel, load);
      bad = [...bad, ...damaged.values()];
      if (bad.length > 0) {
        // Entries may come back that a compaction has left out: contents that are there for longer than they need be.
        await forEachLimit(live.spare.filter(isWanted), parallel, load);
      }
    } catch (error) {
      if (isVarveError(error, "blob-not-found")) {
        return { restart: error };
      }
      throw error;
    }
    into.setWatermark(live.watermarkSeconds);
    return { done: { loaded: [...loaded], damaged: [...bad], listing: live.listing } };
  });
}

/** How many entries index blobs of these sizes have, by what an entry takes at least. */
export function estimatedEntries(blobs: readonly BlobInfo[]): number {
  return Math.ceil(blobs.reduce((sum, { size }) => sum + size, 0) / MIN_ENTRY_BYTES);
}

// spec §4.4: a prefix byte, a hash of 16 bytes and 16 more at least; packs and formats come on top.
const MIN_ENTRY_BYTES = 33;

async function addFile(
  into: ContentIndex,
  { id, bytes, turns }: { id: BlobId; bytes: Uint8Array; turns: Turns },
): Promise<void> {
  try {
    for (const _ of into.addFileInSteps(bytes)) {
      await turns.due();
    }
  } catch (cause) {
    if (isVarveError(cause)) {
      throw new VarveError(cause.code, `index blob ${id}: ${cause.message}`, { cause });
    }
    throw cause;
  }
}
