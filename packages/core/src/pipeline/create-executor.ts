import { JOBS_PER_WORKER } from "../base/budget.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import type { MemoryPlan } from "../base/memory-plan.ts";
import { assert } from "../base/errors.ts";
import type { ContentOpener } from "../content/bulk-reader.ts";
import type { BatchLayout, SealedBatch } from "../content/sealed-batch.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentSink, Executor, FileJob, FileResult, RunOptions } from "./executor.ts";
import type { ExecutorParameters } from "./executor-parameters.ts";

export interface CreateExecutorOptions {
  readonly parameters: ExecutorParameters;
  /** Threads; 0 runs the jobs on the calling thread. */
  readonly workers: number;
  /** Default: that of a repository without a ceiling. */
  readonly jobsPerWorker?: MemoryPlan["jobsPerWorker"] | undefined;
  readonly environment: Environment;
  /** The compiled `worker-entry`, when it does not lie beside this module. */
  readonly workerUrl?: URL | undefined;
}

/**
 * An executor that starts nothing before its first job. File system and threads are loaded then, too, so that a
 * host without them (a browser that restores) can hold one.
 */
export function createExecutor(options: CreateExecutorOptions): Executor {
  return new LazyExecutor(options);
}

class LazyExecutor implements Executor {
  readonly parallelJobs: number;
  readonly openRange: ContentOpener["openRange"];
  readonly #options: CreateExecutorOptions;
  #started: Promise<Executor> | undefined;
  #disposed = false;

  constructor(options: CreateExecutorOptions) {
    this.#options = options;
    this.parallelJobs = Math.max(1, options.workers * (options.jobsPerWorker ?? JOBS_PER_WORKER));
    if (options.workers > 0) {
      this.openRange = async (range, packed) =>
        (await (await this.#start()).openRange?.(range, packed)) ?? [];
    }
  }

  async run(job: FileJob, sink: ContentSink, options?: RunOptions): Promise<FileResult> {
    const executor = await this.#start();
    const claims = new JobClaims(sink);
    try {
      return await executor.run(job, claims, options);
    } catch (error) {
      claims.abandonOpen(error);
      throw error;
    }
  }

  #start(): Promise<Executor> {
    assert(!this.#disposed, "no job is run on a disposed executor");
    this.#started ??= start(this.#options);
    return this.#started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    const started = await this.#started?.catch(() => undefined);
    await started?.[Symbol.asyncDispose]();
  }
}

async function start(options: CreateExecutorOptions): Promise<Executor> {
  const { parameters, workers, jobsPerWorker = JOBS_PER_WORKER, environment } = options;
  if (workers === 0) {
    const { openInlineExecutor } = await import("./inline-executor.ts");
    return openInlineExecutor({ parameters, environment });
  }
  const { createWorkerExecutor } = await import("./worker-executor.ts");
  const workerUrl = options.workerUrl ?? new URL("./worker-entry.js", import.meta.url);
  return createWorkerExecutor({ parameters, workers, jobsPerWorker, workerUrl });
}

/** The sink of one job, which remembers what it has claimed and not appended. */
class JobClaims implements ContentSink {
  readonly #sink: ContentSink;
  readonly #open = new Set<ContentId>();
  /** For the whole job, whatever becomes of the sink's meanwhile. */
  readonly place: ContentSink["place"];

  constructor(sink: ContentSink) {
    this.#sink = sink;
    const { place } = sink;
    this.place =
      place &&
      ((layout) => {
        this.#close(layout);
        return place(layout);
      });
  }

  claim(ids: readonly ContentId[]): boolean[] {
    const isNew = this.#sink.claim(ids);
    for (const [index, id] of ids.entries()) {
      if (isNew[index] === true) {
        this.#open.add(id);
      }
    }
    return isNew;
  }

  append(batch: SealedBatch, options?: CallOptions): Promise<void> {
    this.#close(batch);
    return this.#sink.append(batch, options);
  }

  async room(options?: CallOptions): Promise<void> {
    await this.#sink.room?.(options);
  }

  abandon(ids: readonly ContentId[], cause: unknown): void {
    this.#sink.abandon(ids, cause);
  }

  #close({ ids }: BatchLayout): void {
    for (const id of ids) {
      this.#open.delete(id);
    }
  }

  abandonOpen(cause: unknown): void {
    if (this.#open.size > 0) {
      this.abandon([...this.#open], cause);
    }
  }
}
