import { VarveError, errorMessage } from "../base/errors.ts";
import { type EntryPath, type RestoreFailure, pathText } from "./target.ts";

/** What a restore has done so far. */
export interface RestoreCounts {
  /** Complete ones. */
  readonly files: number;
  readonly directories: number;
  readonly symlinks: number;
  /** Of files and directories that a shallow restore leaves out. */
  readonly placeholders: number;
  /** Bytes of file data written. */
  readonly bytes: number;
  /** Left alone, because they were there already. */
  readonly skipped: number;
  /** Removed from the target, because the snapshot does not have them. */
  readonly deleted: number;
  /** Entries that are not as they were; exact. */
  readonly failed: number;
}

export interface RestoreReport extends RestoreCounts {
  /** The first {@link MAX_FAILURES} of them, in no order. */
  readonly failures: readonly RestoreFailure[];
}

export const MAX_FAILURES = 1000;

/** Counts while the restore goes on. */
export class ReportBuilder {
  files = 0;
  directories = 0;
  symlinks = 0;
  placeholders = 0;
  bytes = 0;
  skipped = 0;
  deleted = 0;
  failed = 0;
  readonly failures: RestoreFailure[] = [];
  #first: { error: unknown } | undefined;
  readonly #stopAtFirst: boolean;
  readonly #onProgress: ((counts: RestoreCounts) => void) | undefined;

  constructor(options: {
    stopAtFirst: boolean;
    onProgress: ((counts: RestoreCounts) => void) | undefined;
  }) {
    this.#stopAtFirst = options.stopAtFirst;
    this.#onProgress = options.onProgress;
  }

  /** Never throws, so that it may be called anywhere; see `throwIfStopped`. */
  fail(path: EntryPath, error: unknown): void {
    this.failed += 1;
    if (this.failures.length < MAX_FAILURES) {
      const code = error instanceof VarveError ? error.code : "target-failed";
      this.failures.push({ path: pathText(path), code, message: errorMessage(error) });
    }
    this.progress();
    this.#first ??= { error };
  }

  /** Throws the first failure when the restore is to stop at it. */
  throwIfStopped(): void {
    if (this.#stopAtFirst && this.#first !== undefined) {
      throw this.#first.error;
    }
  }

  progress(): void {
    this.#onProgress?.(this.counts());
  }

  counts(): RestoreCounts {
    const { files, directories, symlinks, placeholders, bytes, skipped, deleted, failed } = this;
    return { files, directories, symlinks, placeholders, bytes, skipped, deleted, failed };
  }
}
