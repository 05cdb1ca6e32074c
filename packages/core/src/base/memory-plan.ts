import { VarveError } from "./errors.ts";
import {
  CONTENT_CACHE_BYTES,
  JOBS_PER_WORKER,
  MAX_PACK_UPLOADS,
  MAX_PARALLEL_READS,
  PACK_UPLOADS,
  READ_AHEAD_BYTES,
  READ_WINDOW_BYTES,
  SEALED_BATCH_BYTES,
} from "./budget.ts";

/**
 * How an open repository divides its memory: one ceiling in, the bound of every queue, cache, window and thread
 * out. Without a ceiling the bounds are those of `budget.ts` and the index may grow with the repository. With one, the
 * parts are made smaller rung by rung until they leave the index its share; what does not fit there lies on disk.
 */
export interface MemoryPlan {
  /** What was asked for; nothing without a ceiling. */
  readonly limitBytes: number | undefined;
  /** Executor threads, no more than were asked for; 0 works on the calling thread. */
  readonly workers: number;
  readonly jobsPerWorker: number;
  /** Packs on their way to storage at the same time. */
  readonly packUploads: number;
  /** Decoded contents kept for readers of objects and directories. */
  readonly contentCacheBytes: number;
  /** Reads from storage in flight. */
  readonly parallelReads: number;
  /** Bytes of packs held at once while restoring or verifying, and as many of what is opened from them. */
  readonly readAheadBytes: number;
  /** The merged index, in memory; Infinity without a ceiling. */
  readonly indexBytes: number;
  /** Entries of this session that are not committed yet, in memory; a commit empties them. Infinity without a ceiling. */
  readonly pendingIndexBytes: number;
}

/** What will be done: files are backed up, contents are moved, one kind of pack at a time, or nothing is written. */
export type Work = "backup" | "maintenance" | "reading";

/** What is there before a repository is open: the program, its heap, and what the allocator holds on to. */
export const RUNTIME_BYTES: number = 120 * 1024 * 1024;
/** The same of one thread. */
const WORKER_RUNTIME_BYTES: number = 32 * 1024 * 1024;
/** The least for the index, a quarter of it for entries that are not committed. */
export const MIN_INDEX_BYTES: number = 32 * 1024 * 1024;

/** More makes index blobs no better. */
const MAX_PENDING_INDEX_BYTES = 32 * 1024 * 1024;
const MIB = 1024 * 1024;
/** Packs that a writer fills, one for data and one for metadata. */
const PACKS_BESIDE_UPLOADS = 2;

type Rung = Pick<
  MemoryPlan,
  "jobsPerWorker" | "packUploads" | "contentCacheBytes" | "parallelReads" | "readAheadBytes"
> & { readonly maxWorkers: number };

/** From what is fastest to what is least; the speed of a network matters more than a thread, and goes last. */
const RUNGS: readonly [Rung, ...Rung[]] = [
  {
    maxWorkers: Number.POSITIVE_INFINITY,
    jobsPerWorker: JOBS_PER_WORKER,
    packUploads: MAX_PACK_UPLOADS,
    contentCacheBytes: CONTENT_CACHE_BYTES,
    parallelReads: MAX_PARALLEL_READS,
    readAheadBytes: READ_AHEAD_BYTES,
  },
  {
    maxWorkers: Number.POSITIVE_INFINITY,
    jobsPerWorker: JOBS_PER_WORKER,
    packUploads: PACK_UPLOADS,
    contentCacheBytes: CONTENT_CACHE_BYTES,
    parallelReads: MAX_PARALLEL_READS,
    readAheadBytes: READ_AHEAD_BYTES,
  },
  {
    maxWorkers: 4,
    jobsPerWorker: 2,
    packUploads: 3,
    contentCacheBytes: 32 * MIB,
    parallelReads: 8,
    readAheadBytes: 32 * MIB,
  },
  {
    maxWorkers: 2,
    jobsPerWorker: 1,
    packUploads: 2,
    contentCacheBytes: 16 * MIB,
    parallelReads: 4,
    readAheadBytes: 32 * MIB,
  },
  {
    maxWorkers: 1,
    jobsPerWorker: 1,
    packUploads: 1,
    contentCacheBytes: 8 * MIB,
    parallelReads: 4,
    readAheadBytes: 16 * MIB,
  },
  {
    maxWorkers: 0,
    jobsPerWorker: 1,
    packUploads: 1,
    contentCacheBytes: 4 * MIB,
    parallelReads: 2,
    readAheadBytes: 16 * MIB,
  },
];

/** The index gets at least this part of what the runtime leaves, as long as other parts can be smaller. */
const INDEX_FRACTION: Readonly<Record<Work, number>> = {
  backup: 0.25,
  maintenance: 0.5,
  reading: 0.5,
};

/**
 * `packSizeBytes` is the repository's own, which a writer must hold several times. Throws `invalid-argument` with the
 * least that would do when the ceiling is below it: before anything is read or written.
 */
export function planMemory(options: {
  readonly limitBytes?: number | undefined;
  readonly workers: number;
  readonly packSizeBytes: number;
  /** Default `backup`, the most. */
  readonly work?: Work | undefined;
}): MemoryPlan {
  const { limitBytes, workers, packSizeBytes, work = "backup" } = options;
  if (limitBytes === undefined) {
    const index = {
      indexBytes: Number.POSITIVE_INFINITY,
      pendingIndexBytes: Number.POSITIVE_INFINITY,
    };
    return { limitBytes, ...planOfRung(RUNGS[0], workers), ...index };
  }
  const wanted = Math.max(MIN_INDEX_BYTES, (limitBytes - RUNTIME_BYTES) * INDEX_FRACTION[work]);
  let left = 0;
  for (const rung of RUNGS) {
    const plan = planOfRung(rung, workers);
    const needed = RUNTIME_BYTES + fixedBytes(plan, packSizeBytes, work);
    left = limitBytes - needed;
    const isLast = rung === RUNGS.at(-1);
    if (left >= wanted || (isLast && left >= MIN_INDEX_BYTES)) {
      // More than the rung needs goes to the index, which has a use for all of it.
      const pendingShare = work === "backup" ? 1 / 4 : 1 / 8; // the others commit every so many entries
      const pendingIndexBytes = Math.min(left * pendingShare, MAX_PENDING_INDEX_BYTES);
      return { limitBytes, ...plan, indexBytes: left - pendingIndexBytes, pendingIndexBytes };
    }
  }
  const least = Math.ceil((limitBytes - left + MIN_INDEX_BYTES) / MIB);
  throw new VarveError(
    "invalid-argument",
    `a ceiling of ${Math.floor(limitBytes / MIB)} MiB of memory is too low for this repository: it takes ${least} MiB`,
  );
}

/** The plan of an open repository that has no ceiling. */
export function unboundedMemory(workers = 0): MemoryPlan {
  return planMemory({ workers, packSizeBytes: 0 });
}

/** What a plan may hold beside the runtime and the index: a backup and a restore do not run at the same time. */
export function fixedBytes(
  plan: Omit<MemoryPlan, "limitBytes" | "indexBytes" | "pendingIndexBytes">,
  packSizeBytes: number,
  work: Work = "backup",
): number {
  const jobs = Math.max(1, plan.workers * plan.jobsPerWorker);
  const backup =
    // A batch is sealed while the one before is on its way.
    jobs * (READ_WINDOW_BYTES + 2 * SEALED_BATCH_BYTES) +
    (plan.packUploads + PACKS_BESIDE_UPLOADS) * packSizeBytes;
  const maintenance = (plan.packUploads + PACKS_BESIDE_UPLOADS - 1) * packSizeBytes;
  const restore = 2 * plan.readAheadBytes;
  const most = Math.max({ backup, maintenance, reading: 0 }[work], restore);
  return plan.workers * WORKER_RUNTIME_BYTES + plan.contentCacheBytes + most;
}

function planOfRung(
  { maxWorkers, ...rung }: Rung,
  workers: number,
): Omit<MemoryPlan, "limitBytes" | "indexBytes" | "pendingIndexBytes"> {
  return { ...rung, workers: Math.min(workers, maxWorkers) };
}
