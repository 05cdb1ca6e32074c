import { BYTES_PER_JOB, FILES_PER_JOB } from "../base/budget.ts";
import { Semaphore } from "../base/concurrency.ts";
import { assert } from "../base/errors.ts";
import type { FileOutcome, FileToRead } from "../pipeline/executor.ts";
import type { UploadSession } from "./session.ts";

export interface QueuedFile {
  readonly file: FileToRead;
  /** Called once, unless the upload is lost. */
  readonly settle: (outcome: FileOutcome) => void;
}

/**
 * Gathers files of any directory into jobs and keeps a bounded number of jobs in flight: small files share one, a
 * long file has its own. Waiting for a free job is what holds the walk back.
 */
export class FileQueue {
  readonly #session: UploadSession;
  readonly #slots: Semaphore;
  #batch: QueuedFile[] = [];
  #batchBytes = 0;

  constructor(session: UploadSession, options: { parallelJobs: number }) {
    this.#session = session;
    this.#slots = new Semaphore(options.parallelJobs);
  }

  async add(queued: QueuedFile, sizeBytes: number): Promise<void> {
    if (sizeBytes >= BYTES_PER_JOB) {
      await this.#start([queued]);
      return;
    }
    this.#batch.push(queued);
    this.#batchBytes += sizeBytes;
    if (this.#batch.length >= FILES_PER_JOB || this.#batchBytes >= BYTES_PER_JOB) {
      await this.startBatch();
    }
  }

  /** Starts what is gathered; whoever waits for files that were added calls this first. */
  async startBatch(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    if (batch.length > 0) {
      await this.#start(batch);
    }
  }

  async #start(batch: readonly QueuedFile[]): Promise<void> {
    const { signal } = this.#session;
    await this.#slots.acquire(1, { signal });
    this.#session.track(this.#run(batch).finally(() => this.#slots.release(1)));
  }

  async #run(batch: readonly QueuedFile[]): Promise<void> {
    const { repository, signal, stopSignal: stop } = this.#session;
    const onBytes = (bytes: number): void => this.#session.countBytes(bytes);
    const job = { files: batch.map((queued) => queued.file) };
    const { outcomes } = stop.aborted
      ? { outcomes: batch.map(() => ({ stopped: true }) as const) }
      : await repository.executor.run(job, repository.contents, { signal, stop, onBytes });
    for (const [index, queued] of batch.entries()) {
      const outcome = outcomes[index];
      assert(outcome !== undefined, "a job gives one outcome for each file");
      queued.settle(outcome);
    }
  }
}
