import type { Environment } from "../base/environment.ts";
import type { SealedBatch } from "../content/sealed-batch.ts";
import type { ContentSink, Executor, FileJob, FileResult, RunOptions } from "./executor.ts";
import { type ExecutorParameters, openJobTools } from "./executor-parameters.ts";
import { openLocalFile } from "./file-reader.ts";
import { createWindow, type JobTools, processJob } from "./process-job.ts";

/** Runs jobs on the calling thread, one at a time, and lets the event loop turn before each claim and each batch. */
export async function openInlineExecutor(options: {
  parameters: ExecutorParameters;
  environment: Environment;
}): Promise<Executor> {
  const { parameters, environment } = options;
  const tools = await openJobTools(parameters, {
    randomBytes: (size) => environment.randomBytes(size),
    openFile: openLocalFile,
  });
  return new InlineExecutor(tools, environment);
}

class InlineExecutor implements Executor {
  readonly parallelJobs = 1;
  readonly #tools: JobTools;
  readonly #environment: Environment;
  /** Kept for the next job, so that a job does not cost an allocation of its size. */
  #spareWindow: Uint8Array | undefined;

  constructor(tools: JobTools, environment: Environment) {
    this.#tools = tools;
    this.#environment = environment;
  }

  async run(job: FileJob, sink: ContentSink, options: RunOptions = {}): Promise<FileResult> {
    const { signal, stop } = options;
    const window = this.#spareWindow ?? createWindow();
    this.#spareWindow = undefined;
    const yielding = {
      claim: async (ids: Parameters<ContentSink["claim"]>[0]) => {
        await this.#environment.sleep(0, { signal });
        return sink.claim(ids);
      },
      append: async (batch: SealedBatch) => {
        await this.#environment.sleep(0, { signal });
        await sink.append(batch, { signal });
      },
    };
    const onBytes = options.onBytes ?? (() => {});
    const result = await processJob(job, this.#tools, yielding, { signal, stop, window, onBytes });
    this.#spareWindow = window;
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#spareWindow = undefined;
  }
}
