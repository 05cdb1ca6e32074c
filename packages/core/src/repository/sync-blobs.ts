import { forEachLimit, Semaphore } from "../base/concurrency.ts";
import { fromBase64, equalBytes } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { JsonRecord } from "../base/json.ts";
import { type BlobTotals, deleteBlobs, type Deletions, totalsOf } from "../blob/delete-blobs.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import type { BlobId, BlobInfo, BlobStore } from "../blob/store.ts";
import { BLOB_CONFIG, FORMAT_BLOB } from "../format/format.ts";

/** A mirror of a repository in another store: the same blobs, no password needed. */

export interface SyncOptions extends CallOptions {
  /** Also delete what the source no longer has. Default false. */
  readonly deleteExtra?: boolean | undefined;
  /** Copy again what the source has changed since. Default true. */
  readonly update?: boolean | undefined;
  /** Give copies the times of their originals, where the destination can. Default false. */
  readonly keepTimes?: boolean | undefined;
  /** Only say what would be done. Default false. */
  readonly dryRun?: boolean | undefined;
  /** Refuse a destination without a repository in it. Default false. */
  readonly mustExist?: boolean | undefined;
  /** Blobs on their way at once, at most; default 16, and 128 MiB of them, as each is held in memory. */
  readonly parallel?: number | undefined;
  readonly onProgress?: ((report: SyncReport) => void) | undefined;
}

/** Counts so far; with `dryRun`, of what would be done. */
export interface SyncReport {
  readonly inSync: number;
  readonly copiedBlobs: number;
  readonly copiedBytes: number;
  readonly deletedBlobs: number;
  /** Extra blobs that the destination keeps until their locks end. */
  readonly locked: BlobTotals;
}

const PARALLEL_COPIES = 16;
const HELD_BYTES = 128 * 1024 * 1024;

// What refers to other blobs comes after them, so that the mirror is a whole repository at every moment that a
// copy can be cut short: packs and the rest first, then the index blobs (spec §0, §1.1).
const INDEX_BLOB = /^[nxlm]/;

/**
 * Makes `destination` a mirror of `source`; what is there already is not copied again, so a run that was cut short is
 * resumed by the next. Throws `not-a-repository` for a source without a format blob, `invalid-argument` for a
 * destination that holds another repository or something else.
 */
export async function syncBlobs(
  source: BlobStore,
  destination: BlobStore,
  options: SyncOptions = {},
): Promise<SyncReport> {
  const { signal, dryRun = false } = options;
  const keepsTimes = options.keepTimes === true && destination.features.has("set-mtime");
  const report = {
    inSync: 0,
    copiedBlobs: 0,
    copiedBytes: 0,
    deletedBlobs: 0,
    locked: totalsOf([]),
  };
  await checkSameRepository(source, destination, options);
  // Index blobs are listed before the packs, so that every pack they name is in the second listing.
  const indexes = await listed(source, (id) => INDEX_BLOB.test(id), { signal });
  const others = await listed(source, (id) => !INDEX_BLOB.test(id), { signal });
  const present = await listed(destination, () => true, { signal });
  const held = new Semaphore(HELD_BYTES);
  const copyHeld = async (info: BlobInfo): Promise<boolean> => {
    await held.acquire(info.size, { signal });
    try {
      return await copyBlob(source, destination, info, { signal, keepsTimes });
    } finally {
      held.release(info.size);
    }
  };
  const copy = async (info: BlobInfo): Promise<void> => {
    const there = present.get(info.id);
    if (isCurrent(info, there) || (there !== undefined && options.update === false)) {
      report.inSync++;
      return;
    }
    const copied = dryRun || (await copyHeld(info));
    report.copiedBlobs += copied ? 1 : 0;
    report.copiedBytes += copied ? info.size : 0;
    options.onProgress?.({ ...report });
  };
  const parallel = { limit: options.parallel ?? PARALLEL_COPIES, signal };
  for (const first of [BLOB_CONFIG, FORMAT_BLOB]) {
    const info = others.get(first);
    if (info !== undefined) {
      await copy(info);
      others.delete(first);
    }
  }
  await forEachLimit(others.values(), parallel, copy);
  await forEachLimit(indexes.values(), parallel, copy);
  if (options.deleteExtra === true) {
    const extra = [...present.values()].filter(
      ({ id }) => !indexes.has(id) && !others.has(id) && id !== FORMAT_BLOB && id !== BLOB_CONFIG,
    );
    const { deleted, locked } = dryRun
      ? { deleted: extra, locked: [] }
      : await deleteExtra(destination, extra, parallel);
    report.deletedBlobs = deleted.length;
    report.locked = totalsOf(locked);
    options.onProgress?.({ ...report });
  }
  return report;
}

/** Indexes before what they name, and before the logs without which an old one would be live again (spec §4.7). */
async function deleteExtra(
  destination: BlobStore,
  extra: readonly BlobInfo[],
  parallel: CallOptions & { readonly limit: number },
): Promise<Deletions> {
  const these = (wanted: (id: BlobId) => boolean): Promise<Deletions> =>
    deleteBlobs(
      destination,
      extra.filter(({ id }) => wanted(id)),
      parallel,
    );
  const indexes = await these((id) => /^[nx]/.test(id));
  const isFree = !indexes.locked.some(({ id }) => id.startsWith("n"));
  const logs = await these((id) => isFree && /^[lm]/.test(id));
  const rest = await these((id) => !INDEX_BLOB.test(id));
  const all = [indexes, logs, rest];
  return {
    deleted: all.flatMap(({ deleted }) => deleted),
    locked: all.flatMap(({ locked }) => locked),
  };
}

async function listed(
  store: BlobStore,
  wanted: (id: BlobId) => boolean,
  options: CallOptions,
): Promise<Map<BlobId, BlobInfo>> {
  const found = new Map<BlobId, BlobInfo>();
  for await (const info of store.list("", options)) {
    if (wanted(info.id)) {
      found.set(info.id, info);
    }
  }
  return found;
}

/** The few blobs that Kopia replaces under their names; they differ in time, and nearly always in size. */
const REPLACED_BLOB = /^kopia\./;

/** A store that tells whole seconds makes a copy of the same second look older than its original. */
function isCurrent(source: BlobInfo, destination: BlobInfo | undefined): boolean {
  if (destination?.size !== source.size) {
    return false;
  }
  const isCoarse = destination.mtimeMs % 1000 === 0 && !REPLACED_BLOB.test(source.id);
  return (
    destination.mtimeMs >= (isCoarse ? Math.floor(source.mtimeMs / 1000) * 1000 : source.mtimeMs)
  );
}

/** False when the blob has vanished meanwhile, as maintenance may do. */
async function copyBlob(
  source: BlobStore,
  destination: BlobStore,
  info: BlobInfo,
  { signal, keepsTimes }: CallOptions & { readonly keepsTimes: boolean },
): Promise<boolean> {
  const data = await getIfPresent(source, info.id, { signal });
  if (data === undefined) {
    return false;
  }
  const mtimeMs = keepsTimes ? info.mtimeMs : undefined;
  await destination.put(info.id, [data], { signal, mtimeMs });
  return true;
}

async function checkSameRepository(
  source: BlobStore,
  destination: BlobStore,
  { signal, mustExist = false }: SyncOptions,
): Promise<void> {
  const ours = await uniqueId(source, { signal });
  if (ours === undefined) {
    throw new VarveError("not-a-repository", `no repository in ${source.label}`);
  }
  const theirs = await uniqueId(destination, { signal });
  if (theirs !== undefined) {
    if (!equalBytes(ours, theirs)) {
      throw new VarveError("invalid-argument", `${destination.label} holds another repository`);
    }
    return;
  }
  if (mustExist) {
    throw new VarveError("not-a-repository", `no repository in ${destination.label}`);
  }
  for await (const { id } of destination.list("", { signal })) {
    if (id !== BLOB_CONFIG) {
      throw new VarveError(
        "invalid-argument",
        `${destination.label} is not empty (it has a blob ${id}) and holds no repository`,
      );
    }
  }
}

async function uniqueId(
  store: BlobStore,
  { signal }: CallOptions,
): Promise<Uint8Array | undefined> {
  const formatBlob = await getIfPresent(store, FORMAT_BLOB, { signal });
  return formatBlob === undefined
    ? undefined
    : fromBase64(JsonRecord.parse(formatBlob, FORMAT_BLOB).requireString("uniqueID"));
}
