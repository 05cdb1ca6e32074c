import { BitSet } from "../base/bit-set.ts";
import { forEachLimit } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { errorMessage, isVarveError, VarveError } from "../base/errors.ts";
import { NO_USAGE, type Usage } from "../blob/meter.ts";
import type { BlobId } from "../blob/store.ts";
import { type PackRange, planRanges } from "../content/bulk-reader.ts";
import type { RewriteFailure } from "../content/content-store.ts";
import { packKindOf, type PackKind } from "../content/pack-layout.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { Repository } from "../repository/repository.ts";
import { byPack } from "../verify/packs.ts";
import type { Allowance } from "./allowance.ts";
import { SHORT_PACK_SHARE } from "./safety.ts";

/**
 * Gathers the contents of short packs into full ones (behaviour §4.4), so that a repository of many small backups, or one
 * whose packs are mostly garbage, does not stay a heap of crumbs. Contents that are marked deleted stay behind, where Kopia takes
 * them along: moved, they would count as deleted only now. The packs that are left are deleted by a later step.
 */

export interface RewriteReport {
  /** Packs that were emptied. */
  readonly packs: number;
  readonly contents: number;
  /** Packed bytes. */
  readonly bytes: number;
  /** Contents that are damaged where they lie, and stay there. */
  readonly failed: number;
}

export interface ShortPackOptions {
  /** Milliseconds since the Unix epoch, by storage's clock. */
  readonly startMs: number;
  readonly minRewriteAgeMs: number;
  /** Left out: both kinds. */
  readonly kind?: PackKind | undefined;
}

export interface RewriteOptions extends CallOptions {
  /** Ends it early, with all that was moved so far made good. */
  readonly allowance?: Allowance | undefined;
  /** What is read are no contents, and is moved all the same. */
  readonly isRehearsal?: boolean | undefined;
}

/** Moves what {@link contentsOfShortPacks} has found, and flushes. Throws `over-plan` after that. */
export async function rewriteContents(
  repository: Repository,
  refs: BitSet,
  { allowance, isRehearsal, signal }: RewriteOptions = {},
): Promise<RewriteReport> {
  const report = { packs: new Set<BlobId>(), contents: 0, bytes: 0, failed: 0 };
  const limit = repository.memory.parallelReads;
  const needs = new NeedsToEnd(repository);
  let objection: string | undefined;
  const rewriteRange = async (range: PackRange): Promise<void> => {
    objection ??= allowance?.objection(needs.with(range));
    if (objection !== undefined) {
      return;
    }
    const failures = await rewrite(repository, range.infos, { isRehearsal, signal });
    report.packs.add(range.packBlobId);
    report.contents += range.infos.length - failures.length;
    report.failed += failures.length;
    for (const { packedLength } of range.infos) {
      report.bytes += packedLength;
    }
    for (const { error } of failures) {
      const message = `not rewritten: ${errorMessage(error)}`;
      repository.environment.log({ level: "warning", message });
    }
  };
  // One kind after the other, so that packs of one kind are open at a time.
  for (const kind of ["p", "q"] as const) {
    await forEachLimit(rangesOf(repository, refs, kind), { limit, signal }, rewriteRange);
    await repository.flush({ signal });
  }
  if (objection !== undefined) {
    throw new VarveError("over-plan", objection);
  }
  return { ...report, packs: report.packs.size };
}

/** What is still to be asked of storage until everything that was begun is moved and in the index. */
class NeedsToEnd {
  readonly #repository: Repository;
  readonly #writtenBefore: number;
  #begunBytes = 0;

  constructor(repository: Repository) {
    this.#repository = repository;
    this.#writtenBefore = repository.blobs.meter?.used.bytesWritten ?? 0;
  }

  /** With one range more. */
  with({ infos, length }: PackRange): Usage {
    const { blobs, format } = this.#repository;
    for (const { packedLength } of infos) {
      this.#begunBytes += packedLength;
    }
    const written = (blobs.meter?.used.bytesWritten ?? 0) - this.#writtenBefore;
    const bytesWritten = Math.max(0, this.#begunBytes - written);
    // Packs, a session marker, the index, the schedule; a look at the format.
    const put = Math.ceil(bytesWritten / format.maxPackSize) + 3;
    const requests = { ...NO_USAGE.requests, get: 2, put, delete: 1 };
    return { requests, bytesRead: length, bytesWritten };
  }
}

function* rangesOf(
  { contents }: Repository,
  refs: BitSet,
  kind: PackKind,
): Generator<PackRange, void, undefined> {
  for (const pack of byPack(contents.index, refs)) {
    const infos = pack.map((ref) => contents.index.infoAt(ref));
    yield* planRanges(infos.filter(({ id }) => packKindOf(id) === kind));
  }
}

/** A pack that is gone or cut short must not keep the others from being tidied. */
async function rewrite(
  { contents }: Repository,
  infos: readonly ContentInfo[],
  options: CallOptions & { readonly isRehearsal: boolean | undefined },
): Promise<readonly RewriteFailure[]> {
  try {
    return await contents.rewrite(infos, options);
  } catch (error) {
    if (isVarveError(error, "blob-not-found") || isVarveError(error, "range-invalid")) {
      return infos.map(({ id }) => ({ id, error }));
    }
    throw error;
  }
}

/** The contents that are to be put together, those that are too young left out. */
export function contentsOfShortPacks(
  repository: Repository,
  { startMs, minRewriteAgeMs, kind }: ShortPackOptions,
): BitSet {
  const { index } = repository.contents;
  const isShort = findShortPacks(repository);
  const youngestSeconds = (startMs - minRewriteAgeMs) / 1000;
  const refs = new BitSet();
  if (isShort.size === 0) {
    return refs;
  }
  for (const info of repository.contents.entries()) {
    if (
      info.timestampSeconds <= youngestSeconds &&
      (kind === undefined || packKindOf(info.id) === kind)
    ) {
      const ref = index.refOf(info.id);
      if (isShort.has(index.packAt(ref))) {
        refs.add(ref);
      }
    }
  }
  return refs;
}

/** Packs that are filled with live contents to less than the threshold, when there are at least two of a kind to be put together. */
function findShortPacks({ contents, format }: Repository): BitSet {
  const { liveBytes } = contents.index.packUse();
  const threshold = format.maxPackSize * SHORT_PACK_SHARE;
  const short = new BitSet();
  const ofKind: Record<PackKind, number[]> = { p: [], q: [] };
  for (const [pack, bytes] of liveBytes.entries()) {
    const kind = bytes > 0 && bytes < threshold ? contents.index.packName(pack).charAt(0) : "";
    if (kind === "p" || kind === "q") {
      ofKind[kind].push(pack);
    }
  }
  for (const packs of [ofKind.p, ofKind.q].filter(({ length }) => length >= 2)) {
    for (const pack of packs) {
      short.add(pack);
    }
  }
  return short;
}
