import { type BlobId, parseBlobId } from "../blob/store.ts";

/** What the id of an `x` blob says (spec §1.1). */
export type EpochBlobName =
  | { readonly kind: "marker"; readonly epoch: number }
  | { readonly kind: "watermark"; readonly seconds: number }
  | { readonly kind: "uncompacted"; readonly epoch: number }
  | { readonly kind: "single"; readonly epoch: number }
  | { readonly kind: "range"; readonly first: number; readonly last: number };

// Decimal without padding, at most 15 digits: larger numbers are no epochs but accidents.
const NAME = /^x([ewnsr])(0|[1-9]\d{0,14})(_.*)?$/;
const RANGE_END = /^_(0|[1-9]\d{0,14})_/;

/** `undefined` for ids that mean nothing here, those of backward ranges included. */
export function parseEpochBlobName(id: BlobId): EpochBlobName | undefined {
  const match = NAME.exec(id);
  const number = Number(match?.[2]);
  const rest = match?.[3];
  switch (match?.[1]) {
    case "e":
      return rest === undefined ? { kind: "marker", epoch: number } : undefined;
    case "w":
      return rest === undefined ? { kind: "watermark", seconds: number } : undefined;
    case "n":
      return rest === undefined ? undefined : { kind: "uncompacted", epoch: number };
    case "s":
      return rest === undefined ? undefined : { kind: "single", epoch: number };
    case "r": {
      const last = Number(RANGE_END.exec(rest ?? "")?.[1]);
      return last >= number ? { kind: "range", first: number, last } : undefined;
    }
    default:
      return undefined;
  }
}

// What sealed index blobs are called by whoever writes them; a name that was made by hand or by accident proves nothing.
const SEALED_NAME = /_[0-9a-f]{32,64}-s[0-9a-f]+-c\d{1,9}$/;

/**
 * The write epoch that there must have been for an index blob of this name to be written (spec §4.5): compactions are of epochs that
 * are two behind. -1 for names that prove nothing.
 */
export function provenEpoch(id: BlobId, name: EpochBlobName): number {
  if (!SEALED_NAME.test(id)) {
    return -1;
  }
  switch (name.kind) {
    case "uncompacted":
      return name.epoch;
    case "single":
      return name.epoch + 2;
    case "range":
      return name.last + 2;
    default:
      return -1;
  }
}

export function epochMarkerId(epoch: number): BlobId {
  return parseBlobId(`xe${epoch}`);
}

export function watermarkId(seconds: number): BlobId {
  return parseBlobId(`xw${seconds}`);
}

export function uncompactedPrefix(epoch: number): string {
  return `xn${epoch}_`;
}

export function singlePrefix(epoch: number): string {
  return `xs${epoch}_`;
}

export function rangePrefix(first: number, last: number): string {
  return `xr${first}_${last}_`;
}

/** The end of the names of `count` blobs that are written together. */
export function setSuffix(sessionId: string, count: number): string {
  return `${sessionId}-c${count}`;
}

/**
 * The first complete set among blobs of one epoch or range, `undefined` without one (spec §4.5): blobs named
 * `…-s<set>-c<count>` are complete when there are `count` of a set; any other name is complete by itself. Which set is
 * first is decided by the ids, not by the order of the listing.
 */
export function completeSet<T extends { readonly id: BlobId }>(
  blobs: readonly T[],
): readonly T[] | undefined {
  const sets = new Map<string, T[]>();
  const counts = new Map<string, number>();
  for (const blob of blobs.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    const { set, count } = setOf(blob.id);
    const members = sets.get(set) ?? [];
    members.push(blob);
    sets.set(set, members);
    counts.set(set, count);
  }
  for (const [set, members] of sets) {
    if (members.length >= (counts.get(set) ?? 1)) {
      return members;
    }
  }
  return undefined;
}

function setOf(id: BlobId): { set: string; count: number } {
  const [, session = "", size = ""] = id.split("-");
  return session.startsWith("s") && /^c\d{1,9}$/.test(size)
    ? { set: `${session}-`, count: Number(size.slice(1)) }
    : { set: id, count: 1 };
}
