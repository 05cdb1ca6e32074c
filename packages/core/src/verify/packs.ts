import type { CallOptions } from "../base/environment.ts";
import { BitSet } from "../base/bit-set.ts";
import { VarveError } from "../base/errors.ts";
import { Turns } from "../base/turns.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import { BulkReader } from "../content/bulk-reader.ts";
import type { IndexView } from "../content/content-store.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { Repository } from "../repository/repository.ts";
import type { IdSet } from "./id-set.ts";

/** Sizes of all pack blobs (prefixes `p` and `q`, spec §3.5), from one listing. */
export type PackSizes = ReadonlyMap<BlobId, number>;

export async function listPacks(store: BlobStore, options: CallOptions): Promise<PackSizes> {
  const sizes = new Map<BlobId, number>();
  for (const prefix of ["p", "q"]) {
    for await (const { id, size } of store.list(prefix, options)) {
      sizes.set(id, size);
    }
  }
  return sizes;
}

/** Why a content cannot be where the index says, or nothing. */
export function placeProblem(packs: PackSizes, info: ContentInfo): VarveError | undefined {
  const size = packs.get(info.packBlobId);
  if (size === undefined) {
    return new VarveError(
      "blob-not-found",
      `content ${info.id}: pack ${info.packBlobId} is missing`,
    );
  }
  const end = info.packOffset + info.packedLength;
  return size < end
    ? new VarveError(
        "corrupt",
        `content ${info.id}: pack ${info.packBlobId} has ${size} bytes, ${end} are needed`,
      )
    : undefined;
}

// Several packs are read as one batch, so that there is always enough to read in parallel.
const BATCH_BYTES = 256 * 1024 * 1024;
/** The same, for what is known of each. */
export const BATCH_CONTENTS = 50_000;

/** Reads every content of `ids` once, pack by pack, and checks its bytes against its id. */
export async function readAll(
  repository: Repository,
  ids: IdSet,
  options: CallOptions & {
    readonly parallel?: number | undefined;
    /** Called once for each content that is in the index; with an error when it cannot be read. */
    readonly onRead: (info: ContentInfo, error: VarveError | undefined) => void;
  },
): Promise<void> {
  const { signal, onRead } = options;
  const reader = new BulkReader(repository, { parallel: options.parallel });
  const readBatch = (batch: readonly ContentInfo[]): Promise<void> =>
    reader.read(
      batch,
      (info, outcome) => onRead(info, "error" in outcome ? outcome.error : undefined),
      { signal },
    );
  let batch: ContentInfo[] = [];
  let bytes = 0;
  const turns = new Turns(repository.environment);
  for (const pack of byPack(repository.contents.index, ids.refs())) {
    await turns.due();
    for (const ref of pack) {
      const info = repository.contents.index.infoAt(ref);
      batch.push(info);
      bytes += info.packedLength;
    }
    if (bytes >= BATCH_BYTES || batch.length >= BATCH_CONTENTS) {
      await readBatch(batch);
      batch = [];
      bytes = 0;
    }
  }
  await readBatch(batch);
}

// Contents are sorted by their packs so many at a time, at eight bytes each and one look at all of them.
const SORTED_AT_ONCE = 1_000_000;

/** The contents in groups, of one pack as a rule; each once, though the index may change meanwhile. */
export function* byPack(
  index: IndexView,
  refs: Iterable<number>,
): Generator<readonly number[], void, undefined> {
  const counts = new Uint32Array(index.packCount);
  for (const ref of refs) {
    const pack = index.packAt(ref);
    counts[pack] = (counts[pack] as number) + 1; // pack < packCount
  }
  const done = new BitSet();
  for (let first = 0, end = 0; first < counts.length; first = end) {
    let count = 0;
    do {
      count += counts[end] as number; // end < length
      end += 1;
    } while (end < counts.length && count + (counts[end] as number) <= SORTED_AT_ONCE);
    const groups = count === 0 ? [] : sortedByPack(index, refs, { first, end, count });
    for (const group of groups) {
      const left = group.filter((ref) => done.add(ref));
      if (left.length > 0) {
        yield left;
      }
    }
  }
  let moved: number[] = [];
  for (const ref of refs) {
    if (done.add(ref)) {
      moved.push(ref);
    }
    if (moved.length >= BATCH_CONTENTS) {
      yield moved;
      moved = [];
    }
  }
  yield moved;
}

/** Those in the packs from `first` to before `end`, `count` of them at most. */
function* sortedByPack(
  index: IndexView,
  refs: Iterable<number>,
  { first, end, count }: { first: number; end: number; count: number },
): Generator<readonly number[], void, undefined> {
  const found = new Float64Array(count);
  let length = 0;
  for (const ref of refs) {
    const pack = index.packAt(ref);
    if (pack >= first && pack < end && length < count) {
      found[length] = (pack - first) * 2 ** 32 + ref; // below 2^53 with two million packs at once
      length += 1;
    }
  }
  const sorted = found.subarray(0, length).sort();
  let group: number[] = [];
  let last = -1;
  for (const value of sorted) {
    const pack = Math.floor(value / 2 ** 32);
    if (pack !== last && group.length > 0) {
      yield group;
      group = [];
    }
    last = pack;
    group.push(value % 2 ** 32);
  }
  yield group;
}
