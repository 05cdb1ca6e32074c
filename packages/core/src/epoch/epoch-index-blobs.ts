import { utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { deleteBlobs } from "../blob/delete-blobs.ts";
import type { BlobInfo, BlobStore } from "../blob/store.ts";
import { epochMarkerId, setSuffix, uncompactedPrefix } from "./epoch-names.ts";
import { sealBlob } from "../format/sealed-blob.ts";
import { type EpochSet, resolveEpochs } from "./epoch-set.ts";
import type { EpochListing, IndexBlobs, IndexBlobsOptions } from "./index-blobs.ts";
import { readIndexBlob } from "./read-index-blob.ts";
import { withRestarts } from "./restart.ts";

/** Index blobs by epochs (spec §4.5). */
export function createEpochIndexBlobs(options: IndexBlobsOptions): IndexBlobs {
  return {
    live: async ({ signal } = {}) => {
      const listedMs = options.environment.nowMs();
      const found = await listEpochs(options, { signal });
      const { live, spare, watermarkSeconds, writeEpoch, markedEpoch } = found;
      const listing = { writeEpoch, markedEpoch, listedMs };
      return { blobs: live, spare, watermarkSeconds, writeEpoch, listing, damaged: [] };
    },
    read: (id, { signal } = {}) => readIndexBlob(options, id, { signal }),
    write: (files, call) => writeIndex(options, { files, ...call }),
  };
}

/**
 * Everything that the `x` blobs say now. Listed within the refresh frequency: a listing that took longer may hold blobs
 * that a cleanup was already entitled to delete. Throws a retryable `storage-failed` when it always does.
 */
export function listEpochs(
  options: Omit<IndexBlobsOptions, "sealer">,
  { signal }: CallOptions = {},
): Promise<EpochSet> {
  const { store, environment } = options;
  const limitMs = options.format.epochs.refreshFrequencyMs;
  return withRestarts({ environment, signal }, async () => {
    const startMs = environment.nowMs();
    const blobs = await collectInputsFirst(store, { signal });
    const tookMs = environment.nowMs() - startMs;
    return tookMs > limitMs
      ? { restart: failure(`listing index blobs took ${tookMs} ms of ${limitMs} ms`, true) }
      : { done: resolveEpochs(blobs) };
  });
}

/**
 * Inputs before the compactions that replace them: an input that was deleted before it could be listed is in a compaction
 * that is listed after it. Names are such that a list in order does so by itself; a list that says that it is in order
 * and is not, as one that was begun anew, does not count as one.
 */
async function collectInputsFirst(store: BlobStore, options: CallOptions): Promise<BlobInfo[]> {
  const first = await collect(store, firstIndexList(store), options);
  if (store.listsInOrder === true && isAscending(first)) {
    return first;
  }
  const all = await collect(store, "x", options);
  return [...new Map([...first, ...all].map((blob) => [blob.id, blob])).values()];
}

/** What a client that loads the index lists first. */
export function firstIndexList({ listsInOrder }: Pick<BlobStore, "listsInOrder">): string {
  return listsInOrder === true ? "x" : "xn";
}

function isAscending(blobs: readonly BlobInfo[]): boolean {
  return blobs.every(({ id }, index) => index === 0 || (blobs[index - 1]?.id ?? "") < id);
}

async function collect(
  store: BlobStore,
  prefix: string,
  options: CallOptions,
): Promise<BlobInfo[]> {
  const blobs: BlobInfo[] = [];
  for await (const blob of store.list(prefix, options)) {
    blobs.push(blob);
  }
  return blobs;
}

/** All names are looked at, since a marker may be lost: what is written under an epoch that is settled is read by nobody. */
async function currentEpoch(
  { store, environment }: IndexBlobsOptions,
  options: CallOptions,
): Promise<EpochListing> {
  const listedMs = environment.nowMs();
  const { writeEpoch, markedEpoch } = resolveEpochs(await collect(store, "x", options));
  return { writeEpoch, markedEpoch, listedMs };
}

/**
 * An index blob counts only while its epoch is not settled: maintenance compacts a settled epoch once, and what comes
 * later is passed over. So a write ends with a look at whether the epoch moved on beneath it (spec §4.5, "Writing").
 */
async function writeIndex(
  options: IndexBlobsOptions,
  call: CallOptions & {
    files: readonly Uint8Array[];
    sessionId: string;
    listing?: EpochListing | undefined;
  },
): Promise<readonly BlobInfo[]> {
  const { store, environment } = options;
  const { refreshFrequencyMs } = options.format.epochs;
  const { files, sessionId, signal } = call;
  const isOld = ({ listedMs }: EpochListing): boolean =>
    environment.nowMs() - listedMs > refreshFrequencyMs;
  let firstEpoch: number | undefined;
  let listing = call.listing !== undefined && !isOld(call.listing) ? call.listing : undefined;
  for (;;) {
    listing ??= await currentEpoch(options, { signal });
    const { writeEpoch: epoch, markedEpoch } = listing;
    firstEpoch ??= epoch;
    if (markedEpoch < epoch) {
      // Others go by the markers alone.
      signal?.throwIfAborted();
      await store.put(epochMarkerId(epoch), [utf8("epoch-marker")], { signal });
    }
    const put = await putAll(options, { files, epoch, sessionId, signal });
    const isSlow = isOld(listing);
    const { writeEpoch: after } = await currentEpoch(options, { signal });
    if (after <= (isSlow ? epoch : epoch + 1)) {
      return put;
    }
    await deleteBlobs(store, put, { signal }); // one that is locked names what is written once more
    // Two epochs are two days at least: packs of this session may be gone by now, so it must not be committed.
    if (after >= firstEpoch + 2) {
      throw failure(`index written for epoch ${firstEpoch} when it is already ${after}`, false);
    }
    listing = undefined;
  }
}

async function putAll(
  { store, sealer, cache }: IndexBlobsOptions,
  options: CallOptions & { files: readonly Uint8Array[]; epoch: number; sessionId: string },
): Promise<BlobInfo[]> {
  const { files, signal } = options;
  const prefix = uncompactedPrefix(options.epoch);
  const suffix = setSuffix(options.sessionId, files.length);
  const put: BlobInfo[] = [];
  for (const plain of files) {
    const { id, bytes } = sealBlob({ prefix, suffix, plain, sealer });
    signal?.throwIfAborted();
    put.push(await store.put(id, [bytes], { signal }));
    await cache?.put(id, [bytes]);
  }
  return put;
}

function failure(message: string, retryable: boolean): VarveError {
  return new VarveError("storage-failed", message, { retryable });
}
