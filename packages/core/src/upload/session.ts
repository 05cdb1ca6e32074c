import { onAbort } from "../base/abort.ts";
import type { ContentStats } from "../content/content-store.ts";
import type { LostContents } from "../index/content-index.ts";
import type { Repository } from "../repository/repository.ts";
import { Tally } from "./tally.ts";
import type { UploadError, UploadOptions, UploadProgress } from "./upload-options.ts";

const PROGRESS_INTERVAL_MS = 100;
// Kopia's own interval.
const FLUSH_INTERVAL_MS = 10 * 60 * 1000;

export type StopReason = "canceled" | "limit reached";

/**
 * What all parts of one upload share: how it may end, the work that goes on in the background, and what is told
 * about it. It ends early in one of two ways: `stop` leaves out what is not stored yet and saves the rest; `fail`
 * loses it all.
 */
export class UploadSession {
  readonly repository: Repository;
  readonly tally: Tally = new Tally();
  readonly #options: UploadOptions;
  readonly #lost = new AbortController();
  readonly #stopping = new AbortController();
  #stopReason: StopReason | undefined;
  readonly #background = new Set<Promise<void>>();
  readonly #statsBefore: ContentStats;
  readonly #limitBytes: number;
  #reservedBytes = 0;
  #flushedMs: number;
  #flushing = false;
  #lastProgressMs = Number.NEGATIVE_INFINITY;
  #phase: UploadProgress["phase"] = "files";
  currentPath = "";
  /** What was lost from storage when the upload began. */
  lost: LostContents = { contents: 0, missingPacks: 0, shortPacks: 0 };

  constructor(repository: Repository, options: UploadOptions) {
    this.repository = repository;
    this.#options = options;
    this.#flushedMs = repository.environment.nowMs();
    this.#limitBytes = options.uploadLimitBytes ?? Number.POSITIVE_INFINITY;
    this.#statsBefore = { ...repository.contents.stats };
  }

  /** Aborted when the upload is lost; every call below takes it. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Aborted when the upload is to end in good order. */
  get stopSignal(): AbortSignal {
    return this.#stopping.signal;
  }

  get stopReason(): StopReason | undefined {
    return this.#stopReason;
  }

  stop(reason: StopReason): void {
    this.#stopReason ??= reason;
    this.#stopping.abort();
  }

  fail(error: unknown): void {
    this.#lost.abort(error);
  }

  /** Runs `work` under the caller's two signals, and lets what it left in the background end before it returns or throws. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const { signal, stop } = this.#options;
    const forgetSignal = onAbort(signal, () => this.fail(signal?.reason));
    const forgetStop = onAbort(stop, () => this.stop("canceled"));
    try {
      signal?.throwIfAborted();
      if (stop?.aborted === true) {
        this.stop("canceled");
      }
      return await work();
    } catch (error) {
      this.fail(error);
      throw this.signal.reason; // the first failure is the one that says why
    } finally {
      await this.#backgroundEnd();
      forgetSignal();
      forgetStop();
    }
  }

  /** Lets `work` go on by itself; its failure loses the upload. Whoever starts work bounds how much there is. */
  track(work: Promise<void>): void {
    const tracked: Promise<void> = work
      .catch((error: unknown) => this.fail(error))
      .finally(() => this.#background.delete(tracked));
    this.#background.add(tracked);
  }

  /** Resolves when no work is left in the background; throws when the upload is lost. */
  async settled(): Promise<void> {
    await this.#backgroundEnd();
    this.signal.throwIfAborted();
  }

  addError(error: UploadError): void {
    this.tally.addError(error);
    if (this.#options.failFast === true && !error.ignored) {
      this.stop("canceled");
    }
  }

  /** Counts bytes read from the source. */
  countBytes(bytes: number): void {
    this.tally.bytesHashed += bytes;
    if (this.tally.bytesHashed > this.#limitBytes) {
      this.stop("limit reached");
    }
    this.flushIfDue();
    this.reportProgress();
  }

  /**
   * Commits packs from time to time, in the background: a session must not grow old (spec §3.5), what a crash leaves behind
   * is found again, and entries that are not committed take memory.
   */
  flushIfDue(): void {
    const { contents, environment, memory } = this.repository;
    const isDue =
      environment.nowMs() - this.#flushedMs >= FLUSH_INTERVAL_MS ||
      contents.pendingBytes >= memory.pendingIndexBytes;
    if (isDue && !this.#flushing) {
      this.#flushedMs = environment.nowMs();
      this.#flushing = true;
      const flushed = contents.flush({ signal: this.signal });
      this.track(
        flushed.finally(() => {
          this.#flushing = false;
        }),
      );
    }
  }

  /** True when a file of that size may still be read under the limit; else the upload ends with the files that were let in before. */
  reserveBytes(bytes: number): boolean {
    if (this.#reservedBytes + bytes > this.#limitBytes) {
      this.#stopReason ??= "limit reached";
      return false;
    }
    this.#reservedBytes += bytes;
    return true;
  }

  contentStats(): ContentStats {
    const now = this.repository.contents.stats;
    const before = this.#statsBefore;
    return {
      dedupedContents: now.dedupedContents - before.dedupedContents,
      newContents: now.newContents - before.newContents,
      newOriginalBytes: now.newOriginalBytes - before.newOriginalBytes,
      newPackedBytes: now.newPackedBytes - before.newPackedBytes,
      uploadedBlobs: now.uploadedBlobs - before.uploadedBlobs,
      uploadedBytes: now.uploadedBytes - before.uploadedBytes,
    };
  }

  countStoredAnew(): number {
    const { contents } = this.lost;
    return contents === 0 ? 0 : Math.max(0, contents - this.repository.contents.lost().contents);
  }

  enterPhase(phase: UploadProgress["phase"]): void {
    this.#phase = phase;
    this.reportProgress({ now: phase === "done" });
  }

  reportProgress({ now = false }: { now?: boolean } = {}): void {
    const { onProgress } = this.#options;
    const nowMs = this.repository.environment.nowMs();
    if (onProgress === undefined || (!now && nowMs - this.#lastProgressMs < PROGRESS_INTERVAL_MS)) {
      return;
    }
    this.#lastProgressMs = nowMs;
    const { tally } = this;
    onProgress({
      phase: this.#phase,
      filesDone: tally.filesDone,
      filesCached: tally.stats.cachedFiles,
      bytesHashed: tally.bytesHashed,
      bytesCached: tally.bytesCached,
      bytesUploaded: this.contentStats().uploadedBytes,
      errors: tally.stats.errorCount + tally.stats.ignoredErrorCount,
      currentPath: this.currentPath,
    });
  }

  async #backgroundEnd(): Promise<void> {
    while (this.#background.size > 0) {
      await Promise.all(this.#background);
    }
  }
}
