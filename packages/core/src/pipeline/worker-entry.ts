import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { FILE_WRITE_BYTES } from "../base/budget.ts";
import { systemEnvironment } from "../base/environment.ts";
import { assert } from "../base/errors.ts";
import { fileSystemError } from "../blob/filesystem-errors.ts";
import { decodeContent } from "../content/decode-content.ts";
import type { FileJob } from "./executor.ts";
import { openJobTools } from "./executor-parameters.ts";
import { openLocalFile } from "./file-reader.ts";
import { createWindow, type JobSink, type JobTools, processJob } from "./process-job.ts";
import { SharedSlots } from "./shared-slots.ts";
import {
  type FromWorker,
  type PackedRange,
  packIds,
  packOutcomes,
  type ToWorker,
  toPlainError,
  unpackJob,
  unpackRange,
  type WorkerData,
} from "./worker-protocol.ts";

/** The main program of an executor thread. It ends when the main thread terminates it. */

/** Shorter batches travel by themselves: a slot would be mostly empty. */
const SMALL_BATCH_BYTES = 1024 * 1024;

type Answer = Extract<ToWorker, { type: "claimed" | "appended" | "placed" }>;

interface RunningJob {
  readonly abort: AbortController;
  readonly stop: AbortController;
  /** Whoever waits for the answer of the main thread. */
  waiting:
    | {
        readonly resolve: (answer: Answer) => void;
        readonly reject: (reason: unknown) => void;
        /** It comes even when the job is aborted. */
        readonly isCertain: boolean;
      }
    | undefined;
  unreportedBytes: number;
  /** Slots that are being filled. */
  readonly slots: Set<number>;
}

assert(parentPort !== null, "worker-entry runs in a worker thread");
const port = parentPort;
const jobs = new Map<number, RunningJob>();
const spareWindows: Uint8Array[] = [];
const environment = systemEnvironment();
const { parameters, slots: memory } = workerData as WorkerData; // what the executor gave
const slots = new SharedSlots(memory);
const tools: JobTools = await openJobTools(parameters, {
  randomBytes: (size) => environment.randomBytes(size),
  openFile: openLocalFile,
});
port.on("message", (message: ToWorker) => {
  if (message.type === "run") {
    void runJob(message, unpackJob(message.job));
    return;
  }
  if (message.type === "open") {
    const contents = openContents(message.range, message.packed);
    const own = new Set(contents.map((plain) => plain?.buffer));
    own.delete(message.packed.buffer);
    const transfer = [...own].filter((buffer) => buffer instanceof ArrayBuffer);
    post({ type: "opened", jobId: message.jobId, bytes: 0, contents }, transfer);
    return;
  }
  const job = jobs.get(message.jobId);
  if (message.type === "stop") {
    job?.stop.abort();
  } else if (message.type === "abort") {
    const reason = new Error("job aborted");
    job?.abort.abort(reason);
    if (job?.waiting?.isCertain === false) {
      job.waiting.reject(reason);
    }
  } else if (message.type === "refused") {
    job?.waiting?.reject(new Error("no place"));
  } else {
    job?.waiting?.resolve(message);
  }
});

async function runJob(
  { jobId, hasPlaces }: Extract<ToWorker, { type: "run" }>,
  job: FileJob,
): Promise<void> {
  const running: RunningJob = {
    abort: new AbortController(),
    stop: new AbortController(),
    waiting: undefined,
    unreportedBytes: 0,
    slots: new Set(),
  };
  jobs.set(jobId, running);
  const window = spareWindows.pop() ?? createWindow();
  try {
    const sink = { ...sinkOf(jobId, running), ...(hasPlaces ? placesOf(jobId, running) : {}) };
    const { outcomes } = await processJob(job, tools, sink, {
      signal: running.abort.signal,
      stop: running.stop.signal,
      window,
      allocate: (size) => allocate(running, size),
      onBytes: (bytes) => {
        running.unreportedBytes += bytes;
      },
    });
    post({ type: "done", jobId, bytes: takeBytes(running), outcomes: packOutcomes(outcomes) });
  } catch (error) {
    post({ type: "failed", jobId, bytes: takeBytes(running), error: toPlainError(error) });
  }
  for (const slot of running.slots) {
    slots.giveBack(slot);
  }
  spareWindows.push(window);
  jobs.delete(jobId);
}

function answerFor(running: RunningJob, { isCertain = false } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (running.abort.signal.aborted && !isCertain) {
      throw running.abort.signal.reason; // nobody answers any longer
    }
    running.waiting = { resolve, reject, isCertain };
  });
}

function sinkOf(jobId: number, running: RunningJob): JobSink {
  const answer = (): Promise<Answer> => answerFor(running);
  return {
    async claim(ids) {
      post({ type: "claim", jobId, bytes: takeBytes(running), ids: packIds(ids) });
      const claimed = await answer();
      assert(claimed.type === "claimed", "a claim is answered by claimed");
      return claimed.isNew;
    },
    async append({ ids: claimed, numbers, bytes: sealed }) {
      const ids = packIds(claimed);
      const bytes = takeBytes(running);
      const slot = slots.slotOf(sealed);
      if (slot === undefined) {
        const { buffer } = sealed;
        assert(buffer instanceof ArrayBuffer, "a batch lies in a slot or in memory of its own");
        post({ type: "append", jobId, bytes, ids, numbers, sealed }, [buffer]);
      } else {
        running.slots.delete(slot);
        const { length } = sealed;
        post({ type: "append", jobId, bytes, ids, numbers, sealed: { slot, length } });
      }
      await answer();
    },
  };
}

function placesOf(jobId: number, running: RunningJob): Pick<JobSink, "place"> {
  return {
    async place({ ids, numbers }) {
      const bytes = takeBytes(running);
      post({ type: "place", jobId, bytes, ids: packIds(ids), numbers });
      const placed = await answerFor(running, { isCertain: true });
      assert(placed.type === "placed", "a place is answered by placed");
      const { descriptor, hasRoom } = placed;
      let { position } = placed;
      return {
        write(sealed) {
          writeAt(descriptor, sealed, position);
          position += sealed.length;
        },
        async finish() {
          post({ type: "written", jobId, bytes: 0, hadRoom: hasRoom });
          await (hasRoom ? undefined : answerFor(running));
        },
      };
    },
  };
}

function writeAt(descriptor: number, bytes: Uint8Array, position: number): void {
  try {
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(bytes.length - done, FILE_WRITE_BYTES);
      done += writeSync(descriptor, bytes, done, length, position + done);
    }
  } catch (error) {
    throw fileSystemError(error, "write to a pack");
  }
}

/** What is opened in its place stays in shared memory; only what was compressed goes to the other thread, with its memory. */
function openContents(range: PackedRange, packed: Uint8Array): (Uint8Array | undefined)[] {
  return unpackRange(range).map((info) => {
    const start = info.packOffset - range.offset;
    const bytes = packed.subarray(start, start + info.packedLength);
    try {
      const plain = decodeContent(info, bytes, { ...tools, inPlace: true });
      // A view would bring all the memory along that it is a part of.
      const { buffer } = plain;
      return buffer === packed.buffer || buffer.byteLength === plain.length ? plain : plain.slice();
    } catch {
      return undefined;
    }
  });
}

function takeBytes(running: RunningJob): number {
  const bytes = running.unreportedBytes;
  running.unreportedBytes = 0;
  return bytes;
}

function post(message: FromWorker, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function allocate(running: RunningJob, size: number): Uint8Array {
  const slot = size < SMALL_BATCH_BYTES ? undefined : slots.take(size);
  if (slot === undefined) {
    return new Uint8Array(size);
  }
  running.slots.add(slot);
  return slots.bytesOf(slot);
}
