import type { ManifestId } from "../manifest/manifest-store.ts";
import type { DirectoryEntry } from "./entry.ts";

/** Who and what was backed up: `user@host:/path`. */
export interface SnapshotSource {
  readonly host: string;
  readonly userName: string;
  /** Absolute and clean; `/` separators. */
  readonly path: string;
}

/** Counts of one upload, with Kopia's meanings (behaviour §8). */
export interface SnapshotStats {
  readonly totalSize: number;
  readonly excludedTotalSize: number;
  readonly fileCount: number;
  readonly cachedFiles: number;
  readonly nonCachedFiles: number;
  readonly dirCount: number;
  readonly excludedFileCount: number;
  readonly excludedDirCount: number;
  readonly ignoredErrorCount: number;
  readonly errorCount: number;
}

/** A snapshot manifest (spec §6.3). */
export interface Snapshot {
  /** Left out until it is saved. */
  readonly id?: ManifestId | undefined;
  readonly source: SnapshotSource;
  readonly description: string;
  readonly startTimeNs: bigint;
  readonly endTimeNs: bigint;
  readonly stats: SnapshotStats;
  /** `checkpoint`, `canceled`, `limit reached`; left out for a complete snapshot. */
  readonly incomplete?: string | undefined;
  readonly root: DirectoryEntry;
  /** Without the `tag:` prefix that Kopia's CLI stores them with. */
  readonly tags: Readonly<Record<string, string>>;
  /** Tags that are stored without that prefix, as Velero's are. */
  readonly bareTags?: Readonly<Record<string, string>> | undefined;
  /** Sorted, unique. */
  readonly pins: readonly string[];
}
