import { toHex, utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import type { BlobInfo } from "../blob/store.ts";
import type { RepositoryFormat } from "../format/format.ts";
import { openBlob, sealBlob } from "../format/sealed-blob.ts";
import { createContentIndex } from "../index/content-index.ts";
import { planShards } from "../index/index-writer.ts";
import type { ScratchFile } from "../index/slabs.ts";
import { estimatedEntries } from "./load-index.ts";
import { listEpochs } from "./epoch-index-blobs.ts";
import { epochMarkerId, rangePrefix, setSuffix, singlePrefix } from "./epoch-names.ts";
import { blobsOfEpochs } from "./epoch-set.ts";
import type { IndexBlobsOptions } from "./index-blobs.ts";

/**
 * What the owner of maintenance does to keep the number of index blobs small (spec §4.5, "Maintenance of epochs"). It
 * adds blobs and deletes none; leaving it undone, or a crash at any point, changes nothing for readers.
 */
export interface CompactOptions extends IndexBlobsOptions {
  readonly format: Pick<RepositoryFormat, "epochs" | "indexVersion">;
  /** Memory that a compaction may take; one that needs more is left undone, with a warning. Default: any. */
  readonly bound?: { readonly maxBytes: number; openScratch(): Promise<ScratchFile> } | undefined;
}

/** Of a compaction in bounded memory: what its output is cut into. */
const BOUND_SHARD_ENTRIES = 150_000;
/** Two of these, one that is made and one that is left to be collected: about 50 bytes an entry, plain and sealed, and their order. */
const ENCODING_BYTES = BOUND_SHARD_ENTRIES * 2 * 120;
/** Beside that: a place in the table, and the file that it goes into. */
const BYTES_PER_ENTRY = 7;
/** The same of the table alone, and what records come and go in. */
const TABLE_BYTES_PER_ENTRY = 5;
const RECORD_BYTES = 16 * 1024 * 1024;

/** Which epochs were merged, from how many blobs, into what. */
export interface Compaction {
  readonly first: number;
  readonly last: number;
  readonly inputs: readonly BlobInfo[];
  readonly outputs: readonly BlobInfo[];
}

/** Starts the next epoch when the current one has grown and aged enough; gives its number, `undefined` when it has not. */
export async function advanceEpoch(
  options: Omit<CompactOptions, "sealer">,
  { signal }: CallOptions = {},
): Promise<number | undefined> {
  const { epochs } = options.format;
  const { writeEpoch, uncompacted } = await listEpochs(options, { signal });
  const blobs = uncompacted.get(writeEpoch) ?? [];
  let size = 0;
  let oldestMs = Number.POSITIVE_INFINITY;
  let newestMs = Number.NEGATIVE_INFINITY;
  for (const blob of blobs) {
    size += blob.size;
    oldestMs = Math.min(oldestMs, blob.mtimeMs);
    newestMs = Math.max(newestMs, blob.mtimeMs);
  }
  const isLarge =
    blobs.length >= epochs.advanceOnCountThreshold ||
    size >= epochs.advanceOnTotalSizeBytesThreshold;
  if (!isLarge || newestMs - oldestMs < epochs.minEpochDurationMs) {
    return undefined;
  }
  signal?.throwIfAborted();
  await options.store.put(epochMarkerId(writeEpoch + 1), [utf8("epoch-marker")], { signal });
  return writeEpoch + 1;
}

/** Merges the index blobs of the oldest settled epoch that has no compaction yet; `undefined` when there is none. */
export async function compactSingleEpoch(
  options: CompactOptions,
  { signal }: CallOptions = {},
): Promise<Compaction | undefined> {
  const set = await listEpochs(options, { signal });
  const firstNotInRange = (set.ranges.at(-1)?.last ?? -1) + 1;
  const epoch = [...set.uncompacted.keys()]
    .filter((epoch) => epoch >= firstNotInRange && epoch <= set.writeEpoch - 2)
    .filter((epoch) => !set.singles.has(epoch))
    .toSorted((a, b) => a - b)
    .at(0);
  if (epoch === undefined) {
    return undefined;
  }
  const inputs = blobsOfEpochs(set, { first: epoch, last: epoch });
  const outputs = await compact(options, { inputs, prefix: singlePrefix(epoch), signal });
  return outputs && { first: epoch, last: epoch, inputs, outputs };
}

/** Merges all settled epochs after the last range checkpoint into one, when there are enough; else `undefined`. */
export async function compactRange(
  options: CompactOptions,
  { signal }: CallOptions = {},
): Promise<Compaction | undefined> {
  const set = await listEpochs(options, { signal });
  const first = (set.ranges.at(-1)?.last ?? -1) + 1;
  const last = set.writeEpoch - 2;
  const inputs = blobsOfEpochs(set, { first, last });
  if (last - first < options.format.epochs.fullCheckpointFrequency || inputs.length === 0) {
    return undefined;
  }
  const outputs = await compact(options, { inputs, prefix: rangePrefix(first, last), signal });
  return outputs && { first, last, inputs, outputs };
}

/**
 * Deleted entries are copied as they are, whatever the watermark says (spec §4.6). A missing input fails it all. Nothing when it
 * would take more memory than it may.
 */
async function compact(
  options: CompactOptions,
  { inputs, prefix, signal }: CallOptions & { inputs: readonly BlobInfo[]; prefix: string },
): Promise<readonly BlobInfo[] | undefined> {
  const { store, sealer, format, environment, bound } = options;
  const count = estimatedEntries(inputs);
  if (count * BYTES_PER_ENTRY + ENCODING_BYTES + RECORD_BYTES > (bound?.maxBytes ?? Infinity)) {
    const message = `index blobs of about ${count} entries are not merged: that does not fit under the ceiling on memory`;
    environment.log({ level: "warning", message });
    return undefined;
  }
  using scratch = await bound?.openScratch();
  const maxBytes = count * TABLE_BYTES_PER_ENTRY + RECORD_BYTES;
  const merged = createContentIndex(scratch && { maxBytes, scratch });
  merged.expect(count);
  for (const { id } of inputs) {
    const bytes = await store.get(id, { signal });
    merged.addFile(openBlob(id, bytes, sealer, { inPlace: true }));
  }
  const shards = planShards(merged, {
    version: format.indexVersion === 1 ? 1 : 2,
    ...(bound === undefined ? {} : { maxEntriesPerShard: BOUND_SHARD_ENTRIES }),
  });
  const suffix = setSuffix(`s${toHex(environment.randomBytes(8))}`, shards.length);
  const outputs: BlobInfo[] = [];
  for (const encode of shards) {
    const { id, bytes } = sealBlob({ prefix, suffix, plain: encode(), sealer });
    signal?.throwIfAborted();
    outputs.push(await store.put(id, [bytes], { signal }));
  }
  return outputs;
}
