import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import { BulkReader } from "../content/bulk-reader.ts";
import type { ContentId } from "../index/content-id.ts";
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
  for (const pack of byPack(repository, ids)) {
    for (const id of pack) {
      const info = repository.contents.info(id);
      if (info !== undefined) {
        batch.push(info);
        bytes += info.packedLength;
      }
    }
    if (bytes >= BATCH_BYTES) {
      await readBatch(batch);
      batch = [];
      bytes = 0;
    }
  }
  await readBatch(batch);
}

/** The ids in groups, one for each pack, sorted by counting: eight bytes an id, where objects would take hundreds. */
function* byPack(repository: Repository, ids: IdSet): Generator<ContentId[], void, undefined> {
  const packNumbers = new Map<BlobId, number>();
  const packOf = new Uint32Array(ids.size);
  const counts: number[] = [];
  for (let position = 0; position < ids.size; position++) {
    const pack = repository.contents.info(ids.contentIdAt(position))?.packBlobId ?? NO_PACK;
    const number = packNumbers.get(pack) ?? packNumbers.size;
    packNumbers.set(pack, number);
    packOf[position] = number;
    counts[number] = (counts[number] ?? 0) + 1;
  }
  const ends: number[] = [];
  for (const count of counts) {
    ends.push((ends.at(-1) ?? 0) + count);
  }
  const next = ends.map((end, number) => end - (counts[number] ?? 0));
  const order = new Uint32Array(ids.size);
  for (const [position, number] of packOf.entries()) {
    const at = next[number] ?? 0;
    order[at] = position;
    next[number] = at + 1;
  }
  let start = 0;
  for (const end of ends) {
    yield Array.from(order.subarray(start, end), (position) => ids.contentIdAt(position));
    start = end;
  }
}

const NO_PACK = "" as BlobId; // equal to no blob's id: groups what is in no index
