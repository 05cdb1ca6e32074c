import { parentPort, workerData } from "node:worker_threads";
import { systemEnvironment } from "../base/environment.ts";
import { assert } from "../base/errors.ts";
import type { SealedContent } from "../content/content-store.ts";
import type { FileJob } from "./executor.ts";
import { type ExecutorParameters, openJobTools } from "./executor-parameters.ts";
import { openLocalFile } from "./file-reader.ts";
import { createWindow, type JobSink, type JobTools, processJob } from "./process-job.ts";
import {
  type FromWorker,
  packContents,
  type PackedContents,
  type ToWorker,
  toPlainError,
} from "./worker-protocol.ts";

/** The main program of an executor thread. It ends when the main thread terminates it. */

/** Sealed contents below this cross packed: transferring a buffer costs more than copying so few bytes. */
const SMALL_CONTENT_BYTES = 64 * 1024;

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
const environment = systemEnvironment();
// workerData is what createExecutor was given.
const tools: JobTools = await openJobTools(workerData as ExecutorParameters, {
  randomBytes: (size) => environment.randomBytes(size),
  openFile: openLocalFile,
});
port.on("message", (message: ToWorker) => {
  if (message.type === "run") {
    void runJob(message.jobId, message.job);
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
      onBytes: (bytes) => {
        running.unreportedBytes += bytes;
      },
    });
    post({ type: "done", jobId, bytes: takeBytes(running), outcomes });
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
      post({ type: "claim", jobId, bytes: takeBytes(running), ids });
      const claimed = await answer();
      assert(claimed.type === "claimed", "a claim is answered by claimed");
      return claimed.isNew;
    },
    async append(sealed) {
      const { small, large, buffers } = makeTransferable(sealed);
      post({ type: "append", jobId, bytes: takeBytes(running), small, large }, buffers);
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

/** Contents in the form they cross in: a buffer that is shared (Node's pool) must not be transferred. */
function makeTransferable(sealed: readonly SealedContent[]): {
  small: PackedContents;
  large: readonly SealedContent[];
  buffers: readonly ArrayBuffer[];
} {
  const isSmall = (content: SealedContent): boolean => content.sealed.length < SMALL_CONTENT_BYTES;
  const small = packContents(sealed.filter(isSmall));
  const buffers = [small.bytes.buffer as ArrayBuffer]; // concatBytes allocates it
  const large = sealed
    .filter((content) => !isSmall(content))
    .map((content) => {
      const { buffer, byteLength } = content.sealed;
      const owns = buffer instanceof ArrayBuffer && buffer.byteLength === byteLength;
      const bytes = owns ? content.sealed : content.sealed.slice();
      buffers.push(bytes.buffer as ArrayBuffer); // checked, or made by slice
      return { ...content, sealed: bytes };
    });
  return { small, large, buffers };
}
