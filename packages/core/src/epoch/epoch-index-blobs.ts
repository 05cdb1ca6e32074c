import { utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobInfo, BlobStore } from "../blob/store.ts";
import { epochMarkerId, setSuffix, uncompactedPrefix } from "./epoch-names.ts";
import { sealBlob } from "../format/sealed-blob.ts";
import { type EpochSet, resolveEpochs } from "./epoch-set.ts";
import type { IndexBlobs, IndexBlobsOptions } from "./index-blobs.ts";
import { readIndexBlob } from "./read-index-blob.ts";
import { withRestarts } from "./restart.ts";

/** Index blobs by epochs (spec §4.5). */
export function createEpochIndexBlobs(options: IndexBlobsOptions): IndexBlobs {
  return {
    live: async ({ signal } = {}) => {
      const found = await listEpochs(options, { signal });
      const { live, spare, watermarkSeconds, writeEpoch } = found;
      return { blobs: live, spare, watermarkSeconds, writeEpoch, damaged: [] };
    },
    read: (id, { signal } = {}) => readIndexBlob(options, id, { signal }),
    write: (files, { sessionId, signal }) => writeIndex(options, { files, sessionId, signal }),
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
    // Inputs before the compactions that replace them: an input that was deleted before it could be listed is in a
    // compaction that is listed after it. The rest comes with one request, and with it the inputs once more.
    const inputs = await collect(store, "xn", { signal });
    const all = await collect(store, "x", { signal });
    const byId = new Map([...inputs, ...all].map((blob) => [blob.id, blob]));
    const tookMs = environment.nowMs() - startMs;
    return tookMs > limitMs
      ? { restart: failure(`listing index blobs took ${tookMs} ms of ${limitMs} ms`, true) }
      : { done: resolveEpochs([...byId.values()]) };
  });
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
  store: BlobStore,
  options: CallOptions,
): Promise<Pick<EpochSet, "writeEpoch" | "markedEpoch">> {
  return resolveEpochs(await collect(store, "x", options));
}

/**
 * An index blob counts only while its epoch is not settled: maintenance compacts a settled epoch once, and what comes
 * later is passed over. So a write ends with a look at whether the epoch moved on beneath it (spec §4.5, "Writing").
 */
async function writeIndex(
  options: IndexBlobsOptions,
  { files, sessionId, signal }: CallOptions & { files: readonly Uint8Array[]; sessionId: string },
): Promise<readonly BlobInfo[]> {
  const { store, environment } = options;
  let firstEpoch: number | undefined;
  for (;;) {
    const listedMs = environment.nowMs();
    const { writeEpoch: epoch, markedEpoch } = await currentEpoch(store, { signal });
    firstEpoch ??= epoch;
    if (markedEpoch < epoch) {
      // Others go by the markers alone.
      signal?.throwIfAborted();
      await store.put(epochMarkerId(epoch), [utf8("epoch-marker")], { signal });
    }
    const put = await putAll(options, { files, epoch, sessionId, signal });
    const isSlow = environment.nowMs() - listedMs > options.format.epochs.refreshFrequencyMs;
    const { writeEpoch: after } = await currentEpoch(store, { signal });
    if (after <= (isSlow ? epoch : epoch + 1)) {
      return put;
    }
    for (const { id } of put) {
      await store.delete(id, { signal });
    }
    // Two epochs are two days at least: packs of this session may be gone by now, so it must not be committed.
    if (after >= firstEpoch + 2) {
      throw failure(`index written for epoch ${firstEpoch} when it is already ${after}`, false);
    }
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
