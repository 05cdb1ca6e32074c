import { PARALLEL_READS } from "../base/budget.ts";
import { forEachLimit } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobId, BlobInfo, GetOptions } from "../blob/store.ts";
import { readLocalIndex } from "../content/local-index.ts";
import type { Sealer } from "../format/sealer.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { Repository } from "../repository/repository.ts";
import { repositorySealer } from "../repository/repository-sealer.ts";
import { placeProblem } from "./packs.ts";
import { checkRoots, type DamagedRoot } from "./roots.ts";
import { type Reason, reasonOf } from "./structure.ts";

/**
 * Rolling verification: every pack that holds live contents is read whole, each of these compared with its id and the pack's own index
 * opened, once in so many days. Each pack has its day by its id alone, so that clients that know nothing of one another share the work
 * alike; what a day has missed, for want of budget or because nobody ran, is done on the next. What was verified is remembered by the
 * caller, as receipts. The few blobs that everything depends on, indexes and format, are looked at every time.
 */

export interface RollingOptions extends CallOptions {
  /** Everything is read once in as many days: 1 or more. */
  readonly withinDays: number;
  /** When each pack was last found good, in milliseconds since the Unix epoch; out of receipts. */
  readonly verified: ReadonlyMap<string, number>;
  /** No pack is begun that would bring the bytes read above this. */
  readonly budgetBytes?: number | undefined;
  /** One read a pack, and one listing request a thousand packs, which is not counted. */
  readonly budgetRequests?: number | undefined;
  /** Called after each pack; must not throw. */
  readonly onProgress?: ((progress: { packs: number; bytesRead: number }) => void) | undefined;
}

export interface DamagedPack extends Reason {
  readonly pack: BlobId;
  /** The first hundred contents that are damaged; none when it is the pack's own index. */
  readonly contents: readonly ContentId[];
}

export interface RollingReport {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly withinDays: number;
  /** That hold live contents. */
  readonly packs: number;
  /** Read now, and good. */
  readonly verified: readonly BlobId[];
  /** Missing, cut short, or with contents that are not what they should be. */
  readonly damaged: readonly DamagedPack[];
  /** Of the blobs that are looked at every time. */
  readonly damagedRoots: readonly DamagedRoot[];
  /** Due, and left for want of budget: longest due first. */
  readonly pending: readonly BlobId[];
  readonly bytesRead: number;
  readonly requests: number;
}

export const DAY_MS = 86_400_000;
/** So that the entries of as many are in memory at a time. */
const PACKS_PER_PASS = 1024;
const MAX_CONTENTS = 100;
/** Packs are about 20 MB. */
const PACKS_AT_ONCE = Math.max(1, PARALLEL_READS / 4);

/** The latest day, counted from the Unix epoch and not after `today`, on which it is a pack's turn. */
export function dueDay(pack: string, today: number, withinDays: number): number {
  const slot = Number.parseInt(pack.slice(1, 9), 16) % withinDays; // ids are random: spec §1.1
  const offset = (today - (Number.isNaN(slot) ? 0 : slot)) % withinDays;
  return today - offset;
}

/** Damage is part of the report. Throws `invalid-argument`, and what storage throws when it cannot say what it has. */
export async function verifyRolling(
  repository: Repository,
  options: RollingOptions,
): Promise<RollingReport> {
  const { withinDays, verified, budgetBytes, budgetRequests, onProgress, signal } = options;
  if (!(Number.isInteger(withinDays) && withinDays >= 1)) {
    throw new VarveError("invalid-argument", "the window of verification is a day or more");
  }
  const { environment } = repository;
  const startedMs = environment.nowMs();
  await repository.contents.bypassCache({ signal });
  await repository.refresh({ signal });
  const damagedRoots = await checkRoots(repository, { signal });
  const sealer = await repositorySealer(repository);
  const stored = await listStored(repository, { signal });
  const needed = packsOf(repository);
  const due = duePacks(needed, { stored, verified, withinDays, nowMs: startedMs });
  const { chosen, pending } = withinBudget(due, {
    stored,
    budgetBytes: budgetBytes ?? Number.POSITIVE_INFINITY,
    budgetRequests: budgetRequests ?? Number.POSITIVE_INFINITY,
  });
  const good: BlobId[] = [];
  const damaged: DamagedPack[] = [];
  const tally = { packs: 0, bytesRead: 0, requests: 0 };
  for (let start = 0; start < chosen.length; start += PACKS_PER_PASS) {
    const entries = entriesOf(repository, new Set(chosen.slice(start, start + PACKS_PER_PASS)));
    await forEachLimit(entries, { limit: PACKS_AT_ONCE, signal }, async ([pack, infos]) => {
      const blob = stored.get(pack);
      const found = await verifyPack(repository, { pack, infos, blob, sealer, signal });
      if (found === undefined) {
        good.push(pack);
      } else {
        damaged.push(found);
      }
      tally.packs += 1;
      tally.bytesRead += blob?.size ?? 0;
      tally.requests += blob === undefined ? 0 : 1;
      onProgress?.(tally);
    });
  }
  const { bytesRead, requests } = tally;
  return {
    ...{ startedMs, endedMs: environment.nowMs(), withinDays, packs: needed.size },
    ...{ verified: good.sort(), damaged, damagedRoots, pending, bytesRead, requests },
  };
}

export interface Coverage {
  readonly packs: number;
  /** Not found good within the window, though they are older than it. */
  readonly uncovered: readonly { readonly pack: BlobId; readonly verifiedMs: number | undefined }[];
}

/** Which packs that hold live contents the promise was not kept for. Reads a listing, and no pack. */
export async function rollingCoverage(
  repository: Repository,
  { withinDays, verified, signal }: Pick<RollingOptions, "withinDays" | "verified" | "signal">,
): Promise<Coverage> {
  const stored = await listStored(repository, { signal });
  const needed = packsOf(repository);
  const nowMs = repository.environment.nowMs();
  const oldestMs = nowMs - withinDays * DAY_MS;
  const uncovered = [...needed].flatMap((pack) => {
    const verifiedMs = verified.get(pack);
    return goodMs(pack, { stored, verified, nowMs }) < oldestMs ? [{ pack, verifiedMs }] : [];
  });
  return { packs: needed.size, uncovered };
}

async function listStored(
  { blobs }: Repository,
  options: CallOptions,
): Promise<ReadonlyMap<BlobId, BlobInfo>> {
  const stored = new Map<BlobId, BlobInfo>();
  for (const prefix of ["p", "q"]) {
    for await (const blob of blobs.list(prefix, options)) {
      stored.set(blob.id, blob);
    }
  }
  return stored;
}

function packsOf({ contents }: Repository): ReadonlySet<BlobId> {
  const packs = new Set<BlobId>();
  for (const { packBlobId } of contents.entries()) {
    packs.add(packBlobId);
  }
  return packs;
}

/** Those that have not been verified since their turn came, longest due first. */
function duePacks(
  packs: ReadonlySet<BlobId>,
  options: Known & { readonly withinDays: number },
): readonly BlobId[] {
  const today = Math.floor(options.nowMs / DAY_MS);
  const due: { pack: BlobId; since: number }[] = [];
  for (const pack of packs) {
    const turn = dueDay(pack, today, options.withinDays);
    const day = Math.floor(goodMs(pack, options) / DAY_MS);
    if (day < turn) {
      due.push({ pack, since: day });
    }
  }
  due.sort((a, b) => a.since - b.since || (a.pack < b.pack ? -1 : 1));
  return due.map(({ pack }) => pack);
}

interface Known {
  readonly stored: ReadonlyMap<BlobId, BlobInfo>;
  readonly verified: ReadonlyMap<string, number>;
  readonly nowMs: number;
}

/** A pack was good when it was written, if nothing is known of it since; a time that is still to come says nothing. */
function goodMs(pack: BlobId, { stored, verified, nowMs }: Known): number {
  const writtenMs = stored.get(pack)?.mtimeMs ?? 0;
  return verified.get(pack) ?? (writtenMs > nowMs + DAY_MS ? 0 : writtenMs);
}

function withinBudget(
  due: readonly BlobId[],
  options: {
    stored: ReadonlyMap<BlobId, BlobInfo>;
    budgetBytes: number;
    budgetRequests: number;
  },
): { chosen: readonly BlobId[]; pending: readonly BlobId[] } {
  let bytes = 0;
  let requests = 0;
  const end = due.findIndex((pack) => {
    bytes += options.stored.get(pack)?.size ?? 0;
    requests += 1;
    return bytes > options.budgetBytes || requests > options.budgetRequests;
  });
  return end < 0
    ? { chosen: due, pending: [] }
    : { chosen: due.slice(0, end), pending: due.slice(end) };
}

function entriesOf(
  { contents }: Repository,
  packs: ReadonlySet<BlobId>,
): ReadonlyMap<BlobId, readonly ContentInfo[]> {
  const entries = new Map<BlobId, ContentInfo[]>(Array.from(packs, (pack) => [pack, []]));
  for (const info of contents.entries()) {
    entries.get(info.packBlobId)?.push(info);
  }
  return entries;
}

async function verifyPack(
  repository: Repository,
  options: CallOptions & {
    pack: BlobId;
    infos: readonly ContentInfo[];
    blob: BlobInfo | undefined;
    sealer: Sealer;
  },
): Promise<DamagedPack | undefined> {
  const { pack, infos, blob, sealer, signal } = options;
  if (blob === undefined) {
    const contents = infos.slice(0, MAX_CONTENTS).map(({ id }) => id);
    return { pack, contents, code: "blob-not-found", message: `pack ${pack} is missing` };
  }
  const bytes = await repository.blobs.get(pack, { signal });
  const sizes = new Map([[pack, bytes.length]]);
  const bad: ContentId[] = [];
  let reason: Reason | undefined;
  for (const info of infos) {
    try {
      const problem = placeProblem(sizes, info);
      if (problem !== undefined) {
        throw problem;
      }
      const end = info.packOffset + info.packedLength;
      const packed = bytes.subarray(info.packOffset, end);
      if (sealer.corrected(packed) !== undefined) {
        throw new VarveError("corrupt", `content ${info.id}: ${NEEDS_CORRECTION}`);
      }
      repository.contents.decode(info, packed);
    } catch (error) {
      reason ??= reasonOf(error);
      bad.push(info.id);
    }
  }
  reason ??= await localIndexProblem(bytes, { pack, sealer });
  return reason === undefined
    ? undefined
    : { pack, contents: bad.slice(0, MAX_CONTENTS), ...reason };
}

const NEEDS_CORRECTION = "readable by error correction alone, `content repair` stores it anew";

/** What index recovery would find at the end of a pack. */
async function localIndexProblem(
  bytes: Uint8Array,
  { pack, sealer }: { pack: BlobId; sealer: Sealer },
): Promise<Reason | undefined> {
  const get = async (_id: BlobId, { range }: GetOptions = {}): Promise<Uint8Array> =>
    bytes.slice(range?.offset, range && range.offset + range.length);
  try {
    await readLocalIndex({ get }, { id: pack, size: bytes.length }, { sealer });
    return undefined;
  } catch (error) {
    const { code, message } = reasonOf(error);
    return { code, message: `contents are whole, the pack's own index is not: ${message}` };
  }
}
