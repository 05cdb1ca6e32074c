/**
 * The memory budget of an open repository: every queue, cache and fan-out takes its bound from here
 * (architecture, "Concurrency and memory"). Sizes are bytes, others are counts.
 */

/** How much of a file a worker looks at, at once: no less than the largest chunk (16 MiB for the 8M splitters). */
export const READ_WINDOW_BYTES: number = 16 * 1024 * 1024;
/** Sealed bytes a worker hands over in one message, unless a single content is larger. */
export const SEALED_BATCH_BYTES: number = 4 * 1024 * 1024;
/** The same where it writes them to storage itself, as it seals them: nothing but what is compressed waits in memory. */
export const PLACED_BATCH_BYTES: number = 8 * 1024 * 1024;
/** Batches that lie in memory which all threads share: as many as the packs hold that are open or on their way. */
export const SHARED_SLOTS: number = 48;
/** Packs on their way to storage at the same time, where storage does not say what pays; a writer waits while all are taken. */
export const PACK_UPLOADS: number = 4;
/** The same where storage says that more pay. */
export const MAX_PACK_UPLOADS: number = 8;
/** Small files that share one job, as long as they are short together. */
export const FILES_PER_JOB: number = 256;
/** How much files that share one job have together, the last one not counted: what a window of theirs comes to. */
export const BYTES_PER_JOB: number = 4 * 1024 * 1024;
/** Jobs that one executor thread holds, so that it never idles while the main thread answers. */
export const JOBS_PER_WORKER: number = 2;
/** Contents kept decoded for readers of objects and directories. */
export const CONTENT_CACHE_BYTES: number = 64 * 1024 * 1024;
/** Blobs read at once where each is held as a whole. */
export const PARALLEL_READS: number = 8;
/** Reads in flight while restoring or verifying: `adaptiveStore` lets as many through as storage answers well. */
export const MAX_PARALLEL_READS: number = 32;
/** Bytes of packs held at once while restoring or verifying, where storage does not say how many reads pay (`parallelReads`). */
export const READ_AHEAD_BYTES: number = 32 * 1024 * 1024;
/**
 * Written to a file at once. Linux takes pages for its cache as large as the call, and from 1 MiB on that has cost a virtual machine, which must
 * ask its host for such pages, 4 ms a MiB instead of 1.
 */
export const FILE_WRITE_BYTES: number = 512 * 1024;
