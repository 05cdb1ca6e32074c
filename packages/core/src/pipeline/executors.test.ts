import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { READ_WINDOW_BYTES } from "../base/budget.ts";
import { systemEnvironment } from "../base/environment.ts";
import { parseBlobId } from "../blob/store.ts";
import type { PackRange } from "../content/bulk-reader.ts";
import type { SealedContent } from "../content/content-store.ts";
import { contentsOf, type SealedBatch } from "../content/sealed-batch.ts";
import type { ContentId } from "../index/content-id.ts";
import { createExecutor } from "./create-executor.ts";
import type { ContentSink, Executor, FileJob, FileToRead } from "./executor.ts";
import { type ExecutorParameters, openJobTools } from "./executor-parameters.ts";
import { openLocalFile } from "./file-reader.ts";
import { ivOfHash } from "../format/sealer.ts";
import { contentHash } from "../index/content-id.ts";

const PARAMETERS: ExecutorParameters = {
  hash: "BLAKE2B-256-128",
  encryption: "AES256-GCM-HMAC-SHA256",
  secret: new Uint8Array(32).fill(1),
  masterKey: new Uint8Array(32).fill(2),
  ecc: undefined,
  indexVersion: 2,
};
// Workers cannot load TypeScript: they run what the build made.
const WORKER_URL = new URL("../../dist/pipeline/worker-entry.js", import.meta.url);
const environment = systemEnvironment();

const directory = mkdtempSync(join(tmpdir(), "varve-executor-"));
afterAll(() => rmSync(directory, { recursive: true }));

class MemorySink implements ContentSink {
  readonly stored = new Map<ContentId, SealedContent>();
  readonly #claimed = new Set<ContentId>();
  /** Called before each append. */
  onAppend: () => Promise<void> = async () => {};

  claim(ids: readonly ContentId[]): boolean[] {
    return ids.map((id) => !this.#claimed.has(id) && this.#claimed.add(id) !== undefined);
  }

  async append(batch: SealedBatch): Promise<void> {
    await this.onAppend();
    for (const content of contentsOf(batch)) {
      this.stored.set(content.id, content);
    }
  }

  abandon(ids: readonly ContentId[]): void {
    for (const id of ids) {
      this.#claimed.delete(id);
    }
  }

  get unsettled(): readonly ContentId[] {
    return [...this.#claimed].filter((id) => !this.stored.has(id));
  }
}

function executorWith(workers: number, workerUrl: URL = WORKER_URL): Executor {
  return createExecutor({ parameters: PARAMETERS, workers, environment, workerUrl });
}

function file(name: string, data: Uint8Array | string): FileToRead {
  const path = join(directory, name);
  writeFileSync(path, data);
  return { path, offset: 0, splitter: "DYNAMIC-128K-BUZHASH", compressor: "zstd-fastest" };
}

function noise(length: number, seed: number): Uint8Array {
  const data = new Uint8Array(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    data[index] = state >>> 24;
  }
  return data;
}

describe.each([
  ["inline", 0],
  ["worker", 2],
])("the %s executor", (_, workers) => {
  let executor: Executor;
  beforeAll(() => {
    executor = executorWith(workers);
  });
  afterAll(() => executor[Symbol.asyncDispose]());

  test("stores what it read, small contents and large ones alike", async () => {
    const tools = await openJobTools(PARAMETERS, { ...environment, openFile: openLocalFile });
    const sink = new MemorySink();
    const data = [noise(3_000_000, 1), noise(100, 2), noise(70_000, 3), new Uint8Array(0)];
    const files = data.map((bytes, index) => file(`whole-${index}`, bytes));
    let bytes = 0;
    const { outcomes } = await executor.run({ files }, sink, {
      onBytes: (count) => {
        bytes += count;
      },
    });
    expect(bytes).toBe(3_070_100);
    for (const [index, outcome] of outcomes.entries()) {
      const plain = ("pieces" in outcome ? outcome.pieces : []).map(({ object }) => {
        const id = object as ContentId; // no piece is compressed at object level here
        const sealed = sink.stored.get(id)?.sealed ?? new Uint8Array(0);
        return tools.sealer.open(sealed, ivOfHash(contentHash(id)));
      });
      expect(Buffer.concat(plain).equals(data[index] ?? new Uint8Array(0))).toBe(true);
    }
  });

  test("the event loop turns at least once for each window of a large file", async () => {
    const windows = 3;
    const { path } = file("windows", noise(windows * READ_WINDOW_BYTES, 4));
    const fast = { path, offset: 0, splitter: "FASTCDC-1M", compressor: "none" };
    let turns = 0;
    let isRunning = true;
    const count = (): void => {
      turns += 1;
      if (isRunning) {
        setImmediate(count);
      }
    };
    setImmediate(count);
    await executor.run({ files: [fast] }, new MemorySink());
    isRunning = false;
    expect(turns).toBeGreaterThanOrEqual(windows);
  });

  test("200 jobs at once under one signal, and one to stop by, warn of no leak", async () => {
    const warnings: Error[] = [];
    const note = (warning: Error): unknown => warnings.push(warning);
    process.on("warning", note);
    const under = { signal: new AbortController().signal, stop: new AbortController().signal };
    const jobs = Array.from({ length: 200 }, (_, index) => ({ files: [file("one", `${index}`)] }));
    const sink = new MemorySink();
    const results = await Promise.all(jobs.map((job) => executor.run(job, sink, under)));
    process.off("warning", note);
    expect(results.flatMap(({ outcomes }) => outcomes)).toHaveLength(200);
    expect(warnings).toEqual([]);
  });

  test("an abort rejects with its reason and nothing is appended after it", async () => {
    const sink = new MemorySink();
    const abort = new AbortController();
    let appends = 0;
    sink.onAppend = async () => {
      appends++;
      abort.abort(new Error("enough"));
    };
    const files = [file("long", noise(40_000_000, 4))];
    await expect(executor.run({ files }, sink, { signal: abort.signal })).rejects.toThrow("enough");
    const again = new MemorySink();
    await executor.run({ files: [file("after", "x")] }, again);
    expect(appends).toBe(1);
    expect(sink.unsettled).toEqual([]);
    expect(again.stored.size).toBe(1);
  });

  test("a sink that fails fails the job with its error", async () => {
    const sink = new MemorySink();
    sink.onAppend = () => Promise.reject(new Error("storage is full"));
    const job = executor.run({ files: [file("full", "y")] }, sink);
    await expect(job).rejects.toThrow("storage is full");
  });

  test("stop leaves nothing claimed that is not appended", async () => {
    const sink = new MemorySink();
    const stop = new AbortController();
    sink.onAppend = async () => stop.abort();
    const files = [file("stop-1", noise(40_000_000, 5)), file("stop-2", "z")];
    const { outcomes } = await executor.run({ files }, sink, { stop: stop.signal });
    expect(outcomes).toEqual([{ stopped: true }, { stopped: true }]);
    expect(sink.stored.size).toBeGreaterThan(0);
    expect(sink.unsettled).toEqual([]);
  });

  test("neither a link nor a FIFO that took a file's place is read", async () => {
    const odd = mkdtempSync(join(directory, "odd-"));
    const target = file("secret", "secret");
    symlinkSync(String(target.path), join(odd, "link"));
    execFileSync("mkfifo", [join(odd, "fifo")]);
    const files = ["link", "fifo", "gone"].map((name) => ({ ...target, path: join(odd, name) }));
    const { outcomes } = await executor.run({ files }, new MemorySink());
    expect(outcomes).toMatchObject([
      { failed: { code: "source-failed" } },
      {
        failed: { code: "source-failed", message: expect.stringContaining("no longer a regular") },
      },
      { failed: { code: "source-failed", message: expect.stringContaining("ENOENT") } },
    ]);
  });

  test("a path that is not UTF-8 is opened by its bytes", async () => {
    const plain = file("bytes", "w");
    const path = Buffer.concat([Buffer.from(join(directory, "b")), Buffer.from([0xff])]);
    writeFileSync(path, "w");
    const sink = new MemorySink();
    const files = [plain, { ...plain, path: new Uint8Array(path) }];
    const { outcomes } = await executor.run({ files }, sink);
    expect(outcomes[1]).toEqual(outcomes[0]);
  });
});

describe("inline and worker executors", () => {
  test("give the same pieces and contents for any files, in any distribution over jobs", async () => {
    await using inline = executorWith(0);
    await using threaded = executorWith(2);
    const sizes = fc.array(fc.nat({ max: 600_000 }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(
        sizes,
        fc.nat(),
        fc.integer({ min: 1, max: 5 }),
        async (lengths, seed, size) => {
          const files = lengths.map((length, index) =>
            file(`p${index}`, noise(length, seed + (index % 3))),
          );
          const jobs: FileJob[] = [];
          for (let start = 0; start < files.length; start += size) {
            jobs.push({ files: files.slice(start, start + size) });
          }
          const one = new MemorySink();
          const many = new MemorySink();
          const { outcomes } = await inline.run({ files }, one);
          const results = await Promise.all(jobs.map((job) => threaded.run(job, many)));
          expect(results.flatMap((result) => result.outcomes)).toEqual(outcomes);
          expect([...many.stored.keys()].sort()).toEqual([...one.stored.keys()].sort());
          expect(many.unsettled).toEqual([]);
        },
      ),
      { seed: 1, numRuns: 15 },
    );
  });

  test("start nothing before their first job and take none after disposal", async () => {
    const executor = executorWith(1, new URL("file:///nowhere/worker-entry.js"));
    await executor[Symbol.asyncDispose]();
    const job = executor.run({ files: [] }, new MemorySink());
    await expect(job).rejects.toThrow("disposed");
  });

  test("keep as many jobs in flight as they say", () => {
    expect(executorWith(0).parallelJobs).toBe(1);
    expect(executorWith(3).parallelJobs).toBe(6);
  });
});

describe("a range that threads open", () => {
  test("gives each content, compressed or not, and nothing for one that is damaged", async () => {
    await using executor = executorWith(2);
    const sink = new MemorySink();
    const data = [noise(300_000, 1), new Uint8Array(100_000).fill(7), noise(5_000, 2)];
    const files = data.map((bytes, index) => ({
      ...file(`range-${index}`, bytes),
      splitter: "FIXED-512K",
    }));
    await executor.run({ files }, sink);
    const contents = [...sink.stored.values()];
    const { range, packed } = packOf(contents);
    const opened = await executor.openRange?.(range, packed);
    expect(opened?.map((bytes) => Buffer.from(bytes ?? []))).toEqual(
      data.map((bytes) => Buffer.from(bytes)),
    );
    const again = packOf(contents);
    again.packed.fill(1, -1);
    const damaged = await executor.openRange?.(again.range, again.packed);
    expect(damaged?.map((bytes) => bytes?.length)).toEqual([300_000, 100_000, undefined]);
  });

  test("is refused by a thread that dies, and by none where there are none", async () => {
    await using executor = executorWith(1, workerOf("process.exit(3)"));
    const { range, packed } = packOf([]);
    await expect(executor.openRange?.(range, packed)).rejects.toThrow("executor thread ended");
    await using inline = executorWith(0);
    expect(inline.openRange).toBeUndefined();
  });
});

/** Contents one after the other, somewhere in a pack. */
function packOf(contents: readonly SealedContent[]): { range: PackRange; packed: Uint8Array } {
  const offset = 1001;
  const packBlobId = parseBlobId("p0123");
  const length = contents.reduce((sum, { sealed }) => sum + sealed.length, 0);
  const packed = new Uint8Array(new SharedArrayBuffer(length));
  let end = 0;
  const infos = contents.map(({ sealed, ...content }) => {
    packed.set(sealed, end);
    end += sealed.length;
    const packOffset = offset + end - sealed.length;
    const place = { packBlobId, packOffset, packedLength: sealed.length };
    return { ...content, ...place, timestampSeconds: 1, deleted: false, formatVersion: 3 };
  });
  return { range: { packBlobId, offset, length, infos }, packed };
}

describe("a thread that dies", () => {
  test.each([
    ["while it starts", 'throw new Error("no such module")', "no such module"],
    [
      "during a job",
      'import { parentPort } from "node:worker_threads"; parentPort.on("message", () => process.exit(3))',
      "exit code 3",
    ],
  ])("%s fails its jobs and all later ones", async (_, text, message) => {
    await using executor = executorWith(1, workerOf(text));
    const job: FileJob = { files: [file("doomed", "x")] };
    const both = await Promise.allSettled([
      executor.run(job, new MemorySink()),
      executor.run(job, new MemorySink()),
    ]);
    for (const result of both) {
      expect(result).toMatchObject({
        status: "rejected",
        reason: { code: "source-failed", message: expect.stringContaining(message) },
      });
    }
    await expect(executor.run(job, new MemorySink())).rejects.toThrow(message);
  });

  test("disposal fails jobs in flight", async () => {
    const executor = executorWith(
      1,
      workerOf('import "node:worker_threads"; setInterval(() => {}, 1000)'),
    );
    const job = executor.run({ files: [file("pending", "x")] }, new MemorySink());
    const rejected = expect(job).rejects.toThrow("disposed");
    await executor[Symbol.asyncDispose]();
    await rejected;
  });
});

function workerOf(text: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(text)}`);
}
