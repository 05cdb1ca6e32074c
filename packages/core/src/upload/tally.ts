import type { SnapshotStats } from "../snapshot/snapshot-manifest.ts";
import type { SkippedCounts, UploadError } from "./upload-options.ts";

const MAX_ERRORS_KEPT = 1000;

type Counts<T> = { -readonly [name in keyof T]: number };

/** What an upload has counted so far. `stats` have Kopia's meanings: `fileCount` is without cached files, `totalSize` with them. */
export class Tally {
  readonly stats: Counts<SnapshotStats> = {
    totalSize: 0,
    excludedTotalSize: 0,
    fileCount: 0,
    cachedFiles: 0,
    nonCachedFiles: 0,
    dirCount: 0,
    excludedFileCount: 0,
    excludedDirCount: 0,
    ignoredErrorCount: 0,
    errorCount: 0,
  };
  readonly skipped: Counts<SkippedCounts> = {
    special: 0,
    tooLarge: 0,
    otherFileSystem: 0,
    cacheDirectories: 0,
  };
  readonly errors: UploadError[] = [];
  filesDone = 0;
  bytesHashed = 0;
  bytesCached = 0;
  expired = 0;
  checkpoints = 0;

  addError(error: UploadError): void {
    if (error.ignored) {
      this.stats.ignoredErrorCount++;
    } else {
      this.stats.errorCount++;
    }
    if (this.errors.length < MAX_ERRORS_KEPT) {
      this.errors.push(error);
    }
  }

  addCached(sizeBytes: number, entries = 1): void {
    this.stats.cachedFiles += entries;
    this.stats.totalSize += sizeBytes;
    this.bytesCached += sizeBytes;
  }

  addStored(sizeBytes: number): void {
    this.stats.fileCount++;
    this.stats.totalSize += sizeBytes;
    this.filesDone++;
  }
}
