import { parentPort, workerData } from "node:worker_threads";
import { SEALED_BATCH_BYTES } from "../base/budget.ts";
import { systemEnvironment } from "../base/environment.ts";
import { assert } from "../base/errors.ts";
import type { FileJob } from "./executor.ts";
import { type ExecutorParameters, openJobTools } from "./executor-parameters.ts";
import { openLocalFile } from "./file-reader.ts";
import { createWindow, type JobSink, type JobTools, processJob } from "./process-job.ts";
import {
  type FromWorker,
  packIds,
  packOutcomes,
  type ToWorker,
  toPlainError,
  unpackJob,
} from "./worker-protocol.ts";

/** The main program of an executor thread. It ends when the main thread terminates it. */

/** Batches below this are as long as they need to be and are not reused. */
const SMALL_BATCH_BYTES = 1024 * 1024;
/** Long enough for a full batch, or a single content of the usual splitters, and what sealing adds. */
const REUSED_BATCH_BYTES = SEALED_BATCH_BYTES + 64 * 1024;
/** Buffers kept for reuse; what is given back beyond is left to the collector. */
const MAX_SPARE_BUFFERS = 2;

type Answer = Extract<ToWorker, { type: "claimed" | "appended" }>;

interface RunningJob {
  readonly abort: AbortController;
  readonly stop: AbortController;
  /** Whoever waits for the answer of the main thread. */
  waiting: { resolve: (answer: Answer) => void; reject: (reason: unknown) => void } | undefined;
  unreportedBytes: number;
}

assert(parentPort !== null, "worker-entry runs in a worker thread");
const port = parentPort;
const jobs = new Map<number, RunningJob>();
const spareWindows: Uint8Array[] = [];
const spareBuffers: ArrayBuffer[] = [];
const environment = systemEnvironment();
// workerData is what createExecutor was given.
const tools: JobTools = await openJobTools(workerData as ExecutorParameters, {
  randomBytes: (size) => environment.randomBytes(size),
  openFile: openLocalFile,
});
port.on("message", (message: ToWorker) => {
  if (message.type === "run") {
    void runJob(message.jobId, unpackJob(message.job));
    return;
  }
  if (message.type === "released") {
    takeBack(message.buffer);
    return;
  }
  const job = jobs.get(message.jobId);
  if (message.type === "stop") {
    job?.stop.abort();
  } else if (message.type === "abort") {
    const reason = new Error("job aborted");
    job?.abort.abort(reason);
    job?.waiting?.reject(reason);
  } else {
    job?.waiting?.resolve(message);
  }
});

async function runJob(jobId: number, job: FileJob): Promise<void> {
  const running: RunningJob = {
    abort: new AbortController(),
    stop: new AbortController(),
    waiting: undefined,
    unreportedBytes: 0,
  };
  jobs.set(jobId, running);
  const window = spareWindows.pop() ?? createWindow();
  try {
    const { outcomes } = await processJob(job, tools, sinkOf(jobId, running), {
      signal: running.abort.signal,
      stop: running.stop.signal,
      window,
      allocate,
      onBytes: (bytes) => {
        running.unreportedBytes += bytes;
      },
    });
    post({ type: "done", jobId, bytes: takeBytes(running), outcomes: packOutcomes(outcomes) });
  } catch (error) {
    post({ type: "failed", jobId, bytes: takeBytes(running), error: toPlainError(error) });
  }
  spareWindows.push(window);
  jobs.delete(jobId);
}

function sinkOf(jobId: number, running: RunningJob): JobSink {
  const answer = (): Promise<Answer> =>
    new Promise((resolve, reject) => {
      running.waiting = { resolve, reject };
    });
  return {
    async claim(ids) {
      post({ type: "claim", jobId, bytes: takeBytes(running), ids: packIds(ids) });
      const claimed = await answer();
      assert(claimed.type === "claimed", "a claim is answered by claimed");
      return claimed.isNew;
    },
    async append({ ids: claimed, numbers, bytes: { buffer, length } }) {
      assert(buffer instanceof ArrayBuffer, "a batch lies in memory of its own");
      const ids = packIds(claimed);
      const bytes = takeBytes(running);
      post({ type: "append", jobId, bytes, ids, numbers, buffer, length }, [buffer]);
      await answer();
    },
  };
}

function takeBytes(running: RunningJob): number {
  const bytes = running.unreportedBytes;
  running.unreportedBytes = 0;
  return bytes;
}

function post(message: FromWorker, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

/** Fresh pages for each batch would cost as much time as encrypting it, and wait for the collector of two threads. */
function allocate(size: number): Uint8Array {
  if (size < SMALL_BATCH_BYTES) {
    return new Uint8Array(size);
  }
  const fits = spareBuffers.findIndex((buffer) => buffer.byteLength >= size);
  const [spare] = fits < 0 ? [] : spareBuffers.splice(fits, 1);
  return new Uint8Array(spare ?? new ArrayBuffer(Math.max(size, REUSED_BATCH_BYTES)));
}

function takeBack(buffer: ArrayBuffer): void {
  if (buffer.byteLength >= REUSED_BATCH_BYTES && spareBuffers.length < MAX_SPARE_BUFFERS) {
    spareBuffers.push(buffer);
  }
}
