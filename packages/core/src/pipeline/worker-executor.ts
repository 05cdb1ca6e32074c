import { Worker } from "node:worker_threads";
import { onAbort } from "../base/abort.ts";
import { Semaphore } from "../base/concurrency.ts";
import { assert, errorMessage, VarveError } from "../base/errors.ts";
import type { PackRange } from "../content/bulk-reader.ts";
import type { BatchPlace } from "../content/drafted-pack.ts";
import type { BatchLayout, SealedBatch } from "../content/sealed-batch.ts";
import type { ContentSink, Executor, FileJob, FileResult, RunOptions } from "./executor.ts";
import type { ExecutorParameters } from "./executor-parameters.ts";
import { SharedSlots } from "./shared-slots.ts";
import {
  type FromWorker,
  fromPlainError,
  packJob,
  packRange,
  type ToWorker,
  unpackIds,
  unpackOutcomes,
  type WorkerData,
} from "./worker-protocol.ts";

/** A range takes a few milliseconds: so many may wait before another thread is worth its start. */
const RANGES_PER_THREAD = 4;
// A thread holds a few jobs; what they hold is not on the heap.
const HEAP_LIMITS = { maxYoungGenerationSizeMb: 4 };

/**
 * Runs jobs on threads that read the files themselves: only ids and sealed bytes cross. A thread is started when
 * the others have as much as they can hold, so that a small backup pays for one. A thread that dies takes its jobs with it.
 */
export function createWorkerExecutor(options: {
  parameters: ExecutorParameters;
  workers: number;
  jobsPerWorker: number;
  workerUrl: URL;
}): Executor {
  return new WorkerExecutor(options);
}

class WorkerExecutor implements Executor {
  readonly parallelJobs: number;
  readonly #workers: number;
  readonly #jobsPerWorker: number;
  readonly #startThread: () => ExecutorThread;
  readonly #slots: Semaphore;
  readonly #threads: ExecutorThread[] = [];

  constructor(options: Parameters<typeof createWorkerExecutor>[0]) {
    this.#workers = options.workers;
    this.#jobsPerWorker = options.jobsPerWorker;
    this.parallelJobs = options.workers * options.jobsPerWorker;
    this.#slots = new Semaphore(this.parallelJobs);
    const slots = new SharedSlots();
    this.#startThread = () => new ExecutorThread(options.workerUrl, options.parameters, slots);
  }

  async run(job: FileJob, sink: ContentSink, options: RunOptions = {}): Promise<FileResult> {
    await this.#slots.acquire(1, { signal: options.signal });
    try {
      // To start a thread costs as much as several jobs of small files do.
      const most = job.files.length > 1 ? this.#jobsPerWorker : 1;
      return await this.#threadWith(most).run(job, sink, options);
    } finally {
      this.#slots.release(1);
    }
  }

  openRange(range: PackRange, packed: Uint8Array): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#threadWith(RANGES_PER_THREAD).open(range, packed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.dispose()));
  }

  /** The one with the least to do; another one when all have as much as `most`. */
  #threadWith(most: number): ExecutorThread {
    let least = this.#threads[0];
    for (const thread of this.#threads) {
      least = least === undefined || thread.load < least.load ? thread : least;
    }
    if (least === undefined || (least.load >= most && this.#threads.length < this.#workers)) {
      least = this.#startThread();
      this.#threads.push(least);
    }
    return least;
  }
}

interface RunningJob {
  readonly sink: ContentSink;
  readonly options: RunOptions;
  settled: boolean;
  readonly resolve: (result: FileResult) => void;
  readonly reject: (error: unknown) => void;
}

interface OpeningRange {
  resolve(contents: readonly (Uint8Array | undefined)[]): void;
  reject(error: unknown): void;
}

class ExecutorThread {
  readonly #worker: Worker;
  readonly #slots: SharedSlots;
  /** Until the worker has said its last word on them, even when their promise is settled. */
  readonly #jobs = new Map<number, RunningJob>();
  /** That jobs have been given and not written yet. */
  readonly #places = new Map<number, BatchPlace>();
  /** That are being opened. */
  readonly #ranges = new Map<number, OpeningRange>();
  #nextJobId = 0;
  #death: VarveError | undefined;
  /** It runs no more, and writes nowhere. */
  #isGone = false;

  constructor(workerUrl: URL, parameters: ExecutorParameters, slots: SharedSlots) {
    this.#slots = slots;
    const workerData: WorkerData = { parameters, slots: slots.memory };
    this.#worker = new Worker(workerUrl, { workerData, resourceLimits: HEAP_LIMITS });
    this.#worker.on("message", (message: FromWorker) => this.#onMessage(message));
    this.#worker.on("messageerror", (error) => this.#die(errorMessage(error)));
    this.#worker.on("error", (error) => this.#die(errorMessage(error)));
    this.#worker.on("exit", (code) => {
      this.#die(`exit code ${code}`);
      this.#isGone = true;
      for (const place of this.#places.values()) {
        place.lost(this.#death);
      }
    });
  }

  get load(): number {
    return this.#jobs.size + this.#ranges.size;
  }

  open(range: PackRange, packed: Uint8Array): Promise<readonly (Uint8Array | undefined)[]> {
    return new Promise((resolve, reject) => {
      if (this.#death !== undefined) {
        throw this.#death;
      }
      const jobId = this.#nextJobId++;
      this.#ranges.set(jobId, { resolve, reject });
      this.#post({ type: "open", jobId, range: packRange(range), packed });
    });
  }

  run(job: FileJob, sink: ContentSink, options: RunOptions): Promise<FileResult> {
    const { signal, stop } = options;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#death !== undefined) {
        throw this.#death;
      }
      const jobId = this.#nextJobId++;
      const postStop = (): void => this.#post({ type: "stop", jobId });
      const settle = (action: () => void): void => {
        forgetSignal();
        forgetStop();
        running.settled = true;
        action();
      };
      const running: RunningJob = {
        sink,
        options,
        settled: false,
        resolve: (result) => settle(() => resolve(result)),
        reject: (error) => settle(() => reject(error)),
      };
      this.#jobs.set(jobId, running);
      const hasPlaces = sink.place !== undefined;
      this.#post({ type: "run", jobId, job: packJob(job), hasPlaces });
      const forgetSignal = onAbort(signal, () => this.#fail(jobId, signal?.reason));
      const forgetStop = onAbort(stop, postStop);
      if (stop?.aborted === true) {
        postStop();
      }
    });
  }

  async dispose(): Promise<void> {
    this.#die("disposed");
    await this.#worker.terminate();
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message, []);
  }

  #onMessage(message: FromWorker): void {
    if (message.type === "opened") {
      this.#ranges.get(message.jobId)?.resolve(message.contents);
      this.#ranges.delete(message.jobId);
      return;
    }
    const running = this.#jobs.get(message.jobId);
    if (message.type === "done" || message.type === "failed") {
      this.#jobs.delete(message.jobId);
    }
    this.#settlePlace(message);
    if (running === undefined || running.settled) {
      // After an abort nothing more is claimed or appended.
      if (message.type === "append" && "slot" in message.sealed) {
        this.#slots.giveBack(message.sealed.slot);
      } else if (message.type === "place") {
        this.#post({ type: "refused", jobId: message.jobId });
      }
      return;
    }
    try {
      if (message.bytes > 0) {
        running.options.onBytes?.(message.bytes);
      }
      this.#answer(message, running);
    } catch (error) {
      this.#fail(message.jobId, error);
    }
  }

  #answer(message: Exclude<FromWorker, { type: "opened" }>, running: RunningJob): void {
    const { jobId } = message;
    switch (message.type) {
      case "claim":
        this.#post({ type: "claimed", jobId, isNew: running.sink.claim(unpackIds(message.ids)) });
        break;
      case "append": {
        const { ids, numbers, sealed } = message;
        const batch = { ids: unpackIds(ids), numbers, ...this.#sealedBytes(sealed) };
        running.sink.append(batch, { signal: running.options.signal }).then(
          () => this.#post({ type: "appended", jobId }),
          (error: unknown) => this.#fail(jobId, error),
        );
        break;
      }
      case "place":
        void this.#place({ ids: unpackIds(message.ids), numbers: message.numbers }, jobId, running);
        break;
      case "written":
        if (!message.hadRoom) {
          void this.#waitForRoom(jobId, running);
        }
        break;
      case "done":
        running.resolve({ outcomes: unpackOutcomes(message.outcomes) });
        break;
      case "failed":
        running.reject(fromPlainError(message.error));
        break;
    }
  }

  /** A place that was given is filled even when nobody waits for the job any longer. */
  async #place(layout: BatchLayout, jobId: number, running: RunningJob): Promise<void> {
    try {
      const place = await running.sink.place?.(layout);
      assert(place !== undefined, "a job asks for places where there are some");
      this.#places.set(jobId, place);
      const { descriptor, position, hasRoom } = place;
      this.#post({ type: "placed", jobId, descriptor, position, hasRoom });
      if (this.#isGone) {
        place.lost(this.#death);
      }
    } catch (error) {
      this.#post({ type: "refused", jobId });
      this.#fail(jobId, error);
    }
  }

  async #waitForRoom(jobId: number, { sink, options }: RunningJob): Promise<void> {
    try {
      await sink.room?.({ signal: options.signal });
      this.#post({ type: "appended", jobId });
    } catch (error) {
      this.#fail(jobId, error);
    }
  }

  #settlePlace(message: FromWorker): void {
    const place = this.#places.get(message.jobId);
    if (place !== undefined && message.type === "written") {
      place.written();
      this.#places.delete(message.jobId);
    } else if (place !== undefined && message.type === "failed") {
      place.lost(fromPlainError(message.error));
      this.#places.delete(message.jobId);
    }
  }

  #sealedBytes(
    sealed: Extract<FromWorker, { type: "append" }>["sealed"],
  ): Pick<SealedBatch, "bytes" | "release"> {
    if (!("slot" in sealed)) {
      return { bytes: sealed };
    }
    const { slot, length } = sealed;
    const bytes = this.#slots.bytesOf(slot).subarray(0, length);
    return { bytes, release: () => this.#slots.giveBack(slot) };
  }

  /** The promise is rejected at once; the worker stops at its next batch. */
  #fail(jobId: number, error: unknown): void {
    const running = this.#jobs.get(jobId);
    if (running !== undefined && !running.settled) {
      this.#post({ type: "abort", jobId });
      running.reject(error);
    }
  }

  #die(how: string): void {
    this.#death ??= new VarveError("source-failed", `executor thread ended: ${how}`);
    for (const running of this.#jobs.values()) {
      if (!running.settled) {
        running.reject(this.#death);
      }
    }
    this.#jobs.clear();
    for (const range of this.#ranges.values()) {
      range.reject(this.#death);
    }
    this.#ranges.clear();
  }
}
