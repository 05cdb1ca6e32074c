import type { CallOptions } from "../base/environment.ts";
import type { ErrorCode } from "../base/errors.ts";
import type { ContentStats } from "../content/content-store.ts";
import type { LostContents } from "../index/content-index.ts";
import type { PolicyTree } from "../policy/policy-tree.ts";
import type { Snapshot, SnapshotSource, SnapshotStats } from "../snapshot/snapshot-manifest.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import type { ActionRunner } from "./actions.ts";

export interface UploadOptions extends CallOptions {
  readonly source: SnapshotSource;
  /** What is backed up: a directory or a file. */
  readonly root: SourceEntry;
  /** Left out: what the repository holds for `source`. */
  readonly policy?: PolicyTree | undefined;
  /** Whose trees are walked alongside to find unchanged files. Left out: as behaviour §1.2 finds them. */
  readonly previous?: readonly Snapshot[] | undefined;
  readonly description?: string | undefined;
  readonly tags?: Snapshot["tags"] | undefined;
  readonly bareTags?: Snapshot["bareTags"] | undefined;
  readonly pins?: readonly string[] | undefined;
  /** Recorded instead of the real times; one alone moves the other, so that the duration stays. */
  readonly startTimeNs?: bigint | undefined;
  readonly endTimeNs?: bigint | undefined;
  /** Chance, 0 to 100, with which an unchanged file is read all the same. */
  readonly forceHashPercent?: number | undefined;
  /** Jobs of files in flight; the executor's own number is the limit. Left out: `maxParallelFileReads` of the policy. */
  readonly parallel?: number | undefined;
  /**
   * Compares the index with a listing of the packs first, so that data whose pack is gone is not taken for stored but stored anew
   * from the source. Costs a listing of all packs (on an object store one request a thousand packs). Default true.
   */
  readonly checkPacks?: boolean | undefined;
  /**
   * An upload was killed, and this one is in its stead: what it had stored and not committed is adopted, unless that was 12 hours ago,
   * and not stored again. Costs a listing of all packs, and a read for each that no index names. Default false.
   */
  readonly resumes?: boolean | undefined;
  /** At most, and left out, 45 minutes. */
  readonly checkpointIntervalMs?: number | undefined;
  /** The snapshot ends as `limit reached` before the file that would bring the bytes read above this. */
  readonly uploadLimitBytes?: number | undefined;
  /** The first error that the policy does not ignore ends the snapshot as `canceled`. */
  readonly failFast?: boolean | undefined;
  /** Ends the upload in good order: what is stored so far is saved as a `canceled` snapshot. `signal` saves nothing. */
  readonly stop?: AbortSignal | undefined;
  /** Runs the commands that policies ask for before and after. Left out, none is run, and a warning says so. */
  readonly actions?: ActionRunner | undefined;
  /** At most ten times a second, and once at the end. */
  readonly onProgress?: ((progress: UploadProgress) => void) | undefined;
}

export interface UploadProgress {
  readonly phase: "files" | "checkpoint" | "saving" | "done";
  /** Files read and stored, symlinks included. */
  readonly filesDone: number;
  /** Files found unchanged, symlinks included. */
  readonly filesCached: number;
  readonly bytesHashed: number;
  readonly bytesCached: number;
  /** What storage has received, overhead included. */
  readonly bytesUploaded: number;
  readonly errors: number;
  /** Relative to the root; the latest that work was begun on. */
  readonly currentPath: string;
}

/** One entry that is missing from the snapshot, and why. */
export interface UploadError {
  /** Relative to the root. */
  readonly path: string;
  readonly code: ErrorCode;
  readonly message: string;
  /** The policy says that it does not make the snapshot a failure. */
  readonly ignored: boolean;
}

/** What was left out without an error, as the policy asks. Ignore rules are in the snapshot's `excluded…` counts. */
export interface SkippedCounts {
  /** Devices, FIFOs, sockets. */
  readonly special: number;
  /** Above the policy's `maxFileSize`. */
  readonly tooLarge: number;
  /** On another file system, with the policy's `oneFileSystem`. */
  readonly otherFileSystem: number;
  /** Stored as empty directories because of their `CACHEDIR.TAG`. */
  readonly cacheDirectories: number;
}

export interface UploadReport {
  /** With its id when it was saved. */
  readonly snapshot: Snapshot;
  /** False when the policy ignores identical snapshots and this is one. */
  readonly saved: boolean;
  /** The first thousand; the counts are in `stats`. */
  readonly errors: readonly UploadError[];
  readonly stats: SnapshotStats;
  /** What this upload added to the counts of the content store. */
  readonly contentStats: ContentStats;
  /** What was missing in storage when the upload began; zeros when `checkPacks` is false. Other snapshots may need the rest. */
  readonly lost: LostContents & { /** Contents. */ readonly storedAnew: number };
  readonly skipped: SkippedCounts;
  /** Snapshots that retention deleted, this one's checkpoints among them. */
  readonly expired: number;
  readonly checkpoints: number;
}
