import type { BlobInfo } from "../blob/store.ts";
import { completeSet, type EpochBlobName, parseEpochBlobName, provenEpoch } from "./epoch-names.ts";

/** One range checkpoint: everything of the epochs `first` to `last`. */
export interface EpochRange {
  readonly first: number;
  readonly last: number;
  readonly blobs: readonly BlobInfo[];
}

/** What a listing of the `x` blobs means. */
export interface EpochSet {
  /**
   * Index blobs are written under this epoch; epochs two or more before it are settled. By the markers, or by the index blobs when
   * these prove that a marker is lost.
   */
  readonly writeEpoch: number;
  /** By the markers alone. */
  readonly markedEpoch: number;
  /** Unix seconds; 0 without a watermark. */
  readonly watermarkSeconds: number;
  /** The longest chain of range checkpoints from epoch 0 on. */
  readonly ranges: readonly EpochRange[];
  /** Complete single-epoch compactions. */
  readonly singles: ReadonlyMap<number, readonly BlobInfo[]>;
  readonly uncompacted: ReadonlyMap<number, readonly BlobInfo[]>;
  /** The blobs that a reader must merge, all of them and no others. */
  readonly live: readonly BlobInfo[];
  /** Index blobs that were replaced by others, or are part of an incomplete set. */
  readonly spare: readonly BlobInfo[];
}

/**
 * Which index blobs are live (spec §4.5, "Reader"): the chain of ranges, then of each epoch its compaction if it is
 * settled and has one, else what was written. Blobs with other names are passed over.
 */
export function resolveEpochs(blobs: Iterable<BlobInfo>): EpochSet {
  const named = groupByName(blobs);
  const singles = completeSets(named.singles);
  const ranges = longestChain(named.ranges);
  const first = (ranges.at(-1)?.last ?? -1) + 1;
  const set = { ...named, ranges, singles };
  const live = [
    ...ranges.flatMap((range) => range.blobs),
    ...blobsOfEpochs(set, { first, last: set.writeEpoch + 1 }),
  ];
  const liveIds = new Set(live.map(({ id }) => id));
  return {
    writeEpoch: set.writeEpoch,
    markedEpoch: set.markedEpoch,
    watermarkSeconds: set.watermarkSeconds,
    ranges,
    singles,
    uncompacted: set.uncompacted,
    live,
    spare: named.all.filter(({ id }) => !liveIds.has(id)),
  };
}

/** The blobs that hold everything of the epochs `first` to `last`, range checkpoints not considered. */
export function blobsOfEpochs(
  { writeEpoch, singles, uncompacted }: Pick<EpochSet, "writeEpoch" | "singles" | "uncompacted">,
  { first, last }: { first: number; last: number },
): readonly BlobInfo[] {
  // Epochs that exist, not all numbers up to the write epoch: a stray marker must not cost more than itself.
  return [...new Set([...singles.keys(), ...uncompacted.keys()])]
    .filter((epoch) => epoch >= first && epoch <= last)
    .toSorted((a, b) => a - b)
    .flatMap((epoch) => {
      const single = epoch <= writeEpoch - 2 ? singles.get(epoch) : undefined;
      return single ?? uncompacted.get(epoch) ?? [];
    });
}

interface NamedBlobs {
  writeEpoch: number;
  markedEpoch: number;
  watermarkSeconds: number;
  readonly uncompacted: Map<number, BlobInfo[]>;
  readonly singles: Map<number, BlobInfo[]>;
  readonly ranges: Map<string, { first: number; last: number; blobs: BlobInfo[] }>;
  /** Everything that holds an index. */
  readonly all: BlobInfo[];
}

function groupByName(blobs: Iterable<BlobInfo>): NamedBlobs {
  const named: NamedBlobs = {
    writeEpoch: 0,
    markedEpoch: 0,
    watermarkSeconds: 0,
    uncompacted: new Map(),
    singles: new Map(),
    ranges: new Map(),
    all: [],
  };
  for (const blob of blobs) {
    const name = parseEpochBlobName(blob.id);
    if (name?.kind === "marker") {
      named.markedEpoch = Math.max(named.markedEpoch, name.epoch);
    } else if (name?.kind === "watermark") {
      named.watermarkSeconds = Math.max(named.watermarkSeconds, name.seconds);
    } else if (name !== undefined) {
      named.writeEpoch = Math.max(named.writeEpoch, provenEpoch(blob.id, name));
      named.all.push(blob);
      addIndexBlob(named, name, blob);
    }
  }
  named.writeEpoch = Math.max(named.writeEpoch, named.markedEpoch);
  return named;
}

function addIndexBlob(named: NamedBlobs, name: EpochBlobName, blob: BlobInfo): void {
  switch (name.kind) {
    case "uncompacted":
      append(named.uncompacted, name.epoch, blob);
      break;
    case "single":
      append(named.singles, name.epoch, blob);
      break;
    case "range": {
      const key = `${name.first} ${name.last}`;
      const range = named.ranges.get(key) ?? { first: name.first, last: name.last, blobs: [] };
      range.blobs.push(blob);
      named.ranges.set(key, range);
      break;
    }
    default:
      break;
  }
}

function append(groups: Map<number, BlobInfo[]>, key: number, blob: BlobInfo): void {
  const group = groups.get(key);
  if (group === undefined) {
    groups.set(key, [blob]);
  } else {
    group.push(blob);
  }
}

function completeSets(
  groups: ReadonlyMap<number, readonly BlobInfo[]>,
): Map<number, readonly BlobInfo[]> {
  const complete = new Map<number, readonly BlobInfo[]>();
  for (const [epoch, blobs] of groups) {
    const set = completeSet(blobs);
    if (set !== undefined) {
      complete.set(epoch, set);
    }
  }
  return complete;
}

/** A range and the best way to go on after it. */
interface Link {
  readonly range: EpochRange;
  readonly next: Link | undefined;
  /** Where the chain ends and how many ranges it takes. */
  readonly end: number;
  readonly length: number;
}

function longestChain(groups: NamedBlobs["ranges"]): EpochRange[] {
  const ranges: EpochRange[] = [];
  for (const { first, last, blobs } of groups.values()) {
    const set = completeSet(blobs);
    // Kopia never takes a range that ends at epoch 0; its blobs are superseded by nothing, so neither must we.
    if (set !== undefined && last > 0) {
      ranges.push({ first, last, blobs: set });
    }
  }
  // Later starts first: when a range is looked at, the best way on after its end is known.
  ranges.sort((a, b) => b.first - a.first || b.last - a.last);
  const best = new Map<number, Link>();
  for (const range of ranges) {
    const next = best.get(range.last + 1);
    const end = next?.end ?? range.last;
    const length = 1 + (next?.length ?? 0);
    const known = best.get(range.first);
    if (known === undefined || end > known.end || (end === known.end && length < known.length)) {
      best.set(range.first, { range, next, end, length });
    }
  }
  const chain: EpochRange[] = [];
  for (let link = best.get(0); link !== undefined; link = link.next) {
    chain.push(link.range);
  }
  return chain;
}
