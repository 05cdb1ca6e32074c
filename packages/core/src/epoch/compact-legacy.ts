import type { CallOptions } from "../base/environment.ts";
import { encodeJson, JsonRecord } from "../base/json.ts";
import { formatTimeNs, msToNs, nsToMs, parseTimeNs } from "../base/time.ts";
import { deleteBlobs, type Deletions } from "../blob/delete-blobs.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import { type BlobInfo, parseBlobId } from "../blob/store.ts";
import { openBlob, sealBlob } from "../format/sealed-blob.ts";
import { type ContentIndex, createContentIndex } from "../index/content-index.ts";
import { shardIndex } from "../index/index-writer.ts";
import type { CompactOptions } from "./compact-epochs.ts";
import { createLegacyIndexBlobs, readCompaction } from "./legacy-index-blobs.ts";

/**
 * What the owner of maintenance does with the index blobs of repositories without epochs (spec §4.7): merges them, and deletes
 * what was merged once every client has had the time to see the merger. A crash at any point changes nothing for readers.
 */

export interface LegacyCompaction {
  readonly inputs: readonly BlobInfo[];
  readonly outputs: readonly BlobInfo[];
  /** Entries that were deleted before the cut-off and exist no more. */
  readonly dropped: number;
}

export interface LegacyCompactOptions extends CallOptions {
  /** Bytes: a larger index blob is left alone. */
  readonly maxPackSize: number;
  /** Merges all blobs, whatever their size, and drops entries that were deleted before this Unix second. */
  readonly dropBeforeSeconds?: number | undefined;
}

/** Fewer small blobs than this are no burden: Kopia's number. */
const MAX_SMALL_BLOBS = 8;
/** An index file without these could equal one that an older log says is replaced; then it would be ignored. */
const RANDOM_TAIL_SIZE = 32;

/** `undefined` when there is nothing worth it. Throws `corrupt`, `blob-not-found` when maintenance runs elsewhere. */
export async function compactLegacyIndexes(
  options: CompactOptions,
  { maxPackSize, dropBeforeSeconds, signal }: LegacyCompactOptions,
): Promise<LegacyCompaction | undefined> {
  const { store, sealer, format, environment } = options;
  const { blobs } = await createLegacyIndexBlobs(options).live({ signal });
  const inputs =
    dropBeforeSeconds === undefined ? blobs.filter(({ size }) => size <= maxPackSize) : blobs;
  if (dropBeforeSeconds === undefined && inputs.length < MAX_SMALL_BLOBS) {
    return undefined;
  }
  const merged = createContentIndex();
  for (const { id } of inputs) {
    const bytes = await store.get(id, { signal });
    merged.addFile(openBlob(id, bytes, sealer, { inPlace: true }));
  }
  const { kept, dropped } =
    dropBeforeSeconds === undefined
      ? { kept: merged, dropped: 0 }
      : withoutDeleted(merged, dropBeforeSeconds);
  if (inputs.length <= 1 && dropped === 0) {
    return undefined;
  }
  const outputs: BlobInfo[] = [];
  for (const file of shardIndex(kept, { version: format.indexVersion === 1 ? 1 : 2 })) {
    const tail = environment.randomBytes(RANDOM_TAIL_SIZE);
    const plain = new Uint8Array(file.length + tail.length);
    plain.set(file);
    plain.set(tail, file.length);
    const { id, bytes } = sealBlob({ prefix: "n", plain, sealer });
    signal?.throwIfAborted();
    outputs.push(await store.put(id, [bytes], { signal }));
  }
  const log = { inputMetadata: inputs.map(metadata), outputMetadata: outputs.map(metadata) };
  const sealed = sealBlob({ prefix: "m", plain: encodeJson(log), sealer });
  signal?.throwIfAborted();
  await store.put(sealed.id, [sealed.bytes], { signal });
  return { inputs, outputs, dropped };
}

function withoutDeleted(
  merged: ContentIndex,
  beforeSeconds: number,
): { kept: ContentIndex; dropped: number } {
  const kept = createContentIndex();
  let dropped = 0;
  for (const info of merged.entries({ deleted: true })) {
    if (info.deleted && info.timestampSeconds < beforeSeconds) {
      dropped += 1;
    } else {
      kept.addEntry(info);
    }
  }
  return { kept, dropped };
}

function metadata({ id, size, mtimeMs }: BlobInfo): object {
  return { id, length: size, timestamp: formatTimeNs(msToNs(mtimeMs)) };
}

export interface LegacyCleanUpOptions extends CallOptions {
  /** Storage's time. */
  readonly nowMs: number;
  /** For how long everybody may still work with an old listing. */
  readonly settleMs: number;
}

/**
 * Deletes the inputs of compactions that are older than the settle time, and, as long again after that, their logs: a log that
 * went first would bring its inputs back.
 */
export async function cleanUpLegacyIndexes(
  options: CompactOptions,
  { nowMs, settleMs, signal }: LegacyCleanUpOptions,
): Promise<Deletions> {
  const { store, sealer } = options;
  const live = await createLegacyIndexBlobs(options).live({ signal });
  const needed = new Set<string>(live.blobs.map(({ id }) => id));
  const scheduled = await cleanUpLogs(options, { nowMs, settleMs, signal });
  const stored = new Map<string, BlobInfo>();
  for await (const blob of store.list("n", { signal })) {
    stored.set(blob.id, blob);
  }
  const tally: { deleted: BlobInfo[]; locked: BlobInfo[] } = { deleted: [], locked: [] };
  const done: string[] = [];
  for await (const { id, mtimeMs } of store.list("m", { signal })) {
    const compaction =
      nowMs - mtimeMs < settleMs || scheduled.has(id)
        ? undefined
        : await readCompaction(options, id, { signal });
    if (compaction === undefined || !compaction.outputs.every((output) => stored.has(output))) {
      continue;
    }
    for (const input of compaction.inputs) {
      const blob = stored.get(input);
      if (blob !== undefined && !needed.has(input)) {
        signal?.throwIfAborted();
        const { deleted, locked } = await deleteBlobs(store, [blob], { signal });
        deleted.forEach(({ id: gone }) => stored.delete(gone));
        tally.deleted.push(...deleted);
        tally.locked.push(...locked);
      }
    }
    if (!compaction.inputs.some((input) => stored.has(input))) {
      done.push(id); // else one of them would be live again
    }
  }
  if (done.length > 0) {
    const plain = encodeJson({
      blobIDs: done,
      cleanupScheduleTime: formatTimeNs(msToNs(nowMs)),
    });
    const { id, bytes } = sealBlob({ prefix: "l", plain, sealer });
    signal?.throwIfAborted();
    await store.put(id, [bytes], { signal });
  }
  return tally;
}

/** Gives the logs whose deletion is on its way. */
async function cleanUpLogs(
  { store, sealer }: CompactOptions,
  { nowMs, settleMs, signal }: LegacyCleanUpOptions,
): Promise<ReadonlySet<string>> {
  const waiting = new Set<string>();
  for await (const { id } of store.list("l", { signal })) {
    const sealed = await getIfPresent(store, id, { signal });
    if (sealed === undefined) {
      continue;
    }
    const record = JsonRecord.parse(openBlob(id, sealed, sealer), `clean-up ${id}`);
    const logs = (record.strings("blobIDs") ?? []).map(parseBlobId);
    const ageMs = nowMs - nsToMs(parseTimeNs(record.requireString("cleanupScheduleTime")));
    if (ageMs < settleMs) {
      logs.forEach((log) => waiting.add(log));
      continue;
    }
    const doomed = logs.filter((name) => name.startsWith("m")).map((log) => ({ id: log }));
    const { locked } = await deleteBlobs(store, doomed, { signal });
    if (locked.length === 0) {
      await deleteBlobs(store, [{ id }], { signal });
    }
    locked.forEach((log) => waiting.add(log.id)); // until the run after its lock ends
  }
  return waiting;
}
