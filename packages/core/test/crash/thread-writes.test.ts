import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { READ_WINDOW_BYTES } from "../../src/base/budget.ts";
import { openFileSystemStore } from "../../src/blob/filesystem-store.ts";
import { limitStore } from "../../src/blob/limit-store.ts";
import { passThrough } from "../../src/blob/pass-through.ts";
import type { BlobStore } from "../../src/blob/store.ts";
import { createExecutor } from "../../src/pipeline/create-executor.ts";
import type { ContentSink, Executor } from "../../src/pipeline/executor.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { localSource } from "../../src/source/local-source.ts";
import { seededEnvironment } from "../../src/testing/seeded-environment.ts";
import { upload } from "../../src/upload/upload.ts";
import type { UploadReport } from "../../src/upload/upload-options.ts";
import { verify } from "../../src/verify/verify.ts";
import { openDescriptors } from "../open-descriptors.ts";
import {
  fillWithRepository,
  openTestRepository,
  SOURCE,
  testFormat,
  testPolicy,
} from "../upload-fixture.ts";

/** Backups into a folder, where threads write to the packs, that end at any moment: of a place, of a job, of a thread. */

// Workers cannot load TypeScript: they run what the build made.
const WORKER_URL = new URL("../../dist/pipeline/worker-entry.js", import.meta.url);
const environment = seededEnvironment({ seed: 5 });

const folder = mkdtempSync(join(tmpdir(), "varve-threads-"));
const source = join(folder, "source");
mkdirSync(source);
writeFileSync(join(source, "long"), environment.randomBytes(9_000_000));
for (let index = 0; index < 20; index++) {
  writeFileSync(join(source, `short-${index}`), environment.randomBytes(5_000));
}
afterAll(() => rmSync(folder, { recursive: true }));

let root: string;
let store: BlobStore;
beforeEach(useNewStore);

async function useNewStore(): Promise<void> {
  root = mkdtempSync(join(folder, "store-"));
  store = await openFileSystemStore(root, { create: true });
  await fillWithRepository(store);
}

let threads: Executor;
beforeAll(async () => {
  threads = await threadsOf(WORKER_URL);
});
afterAll(() => threads[Symbol.asyncDispose]());

async function threadsOf(workerUrl: URL, workers = 2): Promise<Executor> {
  return createExecutor({ parameters: await testFormat(), workers, environment, workerUrl });
}

/** `executor` that calls `step` whenever a job asks for something, and again when it has been given a place. */
function stepping(executor: Executor, step: () => void): Executor {
  const sinkOf = (sink: ContentSink): ContentSink => ({
    claim: (ids) => {
      step();
      return sink.claim(ids);
    },
    append: (batch, options) => sink.append(batch, options),
    get place() {
      const { place } = sink;
      const stepped: ContentSink["place"] = async (layout) => {
        step();
        const given = await place?.(layout);
        step();
        return given ?? expect.fail("there are places");
      };
      return place && stepped;
    },
    room: async (options) => {
      step();
      await sink.room?.(options);
    },
    abandon: (ids, cause) => sink.abandon(ids, cause),
  });
  return {
    parallelJobs: executor.parallelJobs,
    run: (job, sink, options) => executor.run(job, sinkOf(sink), options),
    [Symbol.asyncDispose]: async () => {},
  };
}

async function open(executor: Executor, below: BlobStore = store): Promise<Repository> {
  return await openTestRepository(below, environment, { executor, maxPackSize: 3_000_000 });
}

async function backUp(repository: Repository, signal?: AbortSignal): Promise<UploadReport> {
  const root = await localSource(source);
  return await upload(repository, { source: SOURCE, root, policy: testPolicy(), signal });
}

function expectNothingLeft(): void {
  const names = readdirSync(root, { recursive: true, encoding: "utf8" });
  expect(names.filter((name) => name.includes(".tmp."))).toEqual([]);
  expect(openDescriptors(root)).toBe(0);
}

/** The same threads and the same repository must still work. */
async function expectBackupWorks(executor: Executor): Promise<void> {
  const repository = await open(executor);
  expect((await backUp(repository)).errors).toEqual([]);
  await repository[Symbol.asyncDispose]();
  expectNothingLeft();
  expect(openDescriptors(source)).toBe(0); // no job hangs on in a thread
  await using reopened = await open(executor);
  const report = await verify(reopened);
  expect(report).toMatchObject({ damaged: [], files: 21 });
  expect(report.contentsRead).toBeGreaterThan(20);
}

async function countSteps(): Promise<number> {
  let steps = 0;
  await using repository = await open(stepping(threads, () => steps++));
  await backUp(repository);
  await useNewStore();
  return steps;
}

describe("a backup through threads into a folder", () => {
  test.each(["is aborted", "loses its repository"])(
    "that %s at any step leaves nothing, and the next one works",
    async (how) => {
      const steps = await countSteps();
      expect(steps).toBeGreaterThan(6); // a claim and two steps of a place for either job
      for (let last = 1; last <= steps; last++) {
        const stop = new AbortController();
        let closing: PromiseLike<void> | undefined;
        let step = 0;
        const repository = await open(
          stepping(threads, () => {
            if (++step === last) {
              if (how === "is aborted") {
                stop.abort(new Error("enough"));
              } else {
                closing = repository[Symbol.asyncDispose]();
              }
            }
          }),
        );
        const backup = backUp(repository, stop.signal);
        await expect(backup).rejects.toThrow(how === "is aborted" ? "enough" : "closed");
        await closing;
        await repository[Symbol.asyncDispose]();
        expectNothingLeft();
      }
      await expectBackupWorks(threads);
    },
  );
});

test("a job that is aborted while it waits for its place lets go of its file, and of the thread", async () => {
  const directory = mkdtempSync(join(folder, "sparse-"));
  const path = join(directory, "file");
  writeFileSync(path, "");
  truncateSync(path, READ_WINDOW_BYTES + 1); // a job goes on with it after its first window
  const job = { files: [{ path, offset: 0, splitter: "FIXED-4M", compressor: "none" }] };
  await using executor = await threadsOf(WORKER_URL, 1);
  const stop = new AbortController();
  let steps = 0;
  const atPlace = stepping(executor, () => (++steps === 3 ? stop.abort(new Error("enough")) : {}));
  await using repository = await open(atPlace);
  const { contents } = repository;
  await expect(atPlace.run(job, contents, { signal: stop.signal })).rejects.toThrow("enough");
  await new Promise((resolve) => setImmediate(resolve)); // it has its place, too late
  await expect.poll(() => openDescriptors(directory)).toBe(0);
  await contents.flush();
});

/** Speaks as a thread does, and ends as `end` says. */
function threadThat(end: string): URL {
  const text = `import { parentPort } from "node:worker_threads";
    const ids = "00112233445566778899aabbccddeeff";
    const post = (jobId, message) => parentPort.postMessage({ ...message, jobId, bytes: 0, ids });
    parentPort.on("message", ({ type, jobId, isNew }) => {
      if (type === "run") post(jobId, { type: "claim" });
      if (type === "claimed" && isNew[0]) post(jobId, { type: "place", numbers: Uint32Array.of(99, 50, 0) });
      ${end}
    });`;
  return new URL(`data:text/javascript,${encodeURIComponent(text)}`);
}

test.each([
  ["with a place that is not written", 'if (type === "placed") process.exit(3);'],
  ["before it has its place", 'if (type === "claimed") process.exit(3);'],
  ["by an error", 'if (type === "placed") throw new Error("exit code 3");'],
])("a thread that dies %s fails the backup, which leaves nothing", async (_, end) => {
  await using dying = await threadsOf(threadThat(end));
  const repository = await open(dying);
  await expect(backUp(repository)).rejects.toMatchObject({
    code: "source-failed",
    message: expect.stringMatching(/executor thread ended: .*exit code 3/),
  });
  await expect(repository.flush()).rejects.toThrow("executor thread ended");
  await repository[Symbol.asyncDispose]();
  expectNothingLeft();
  await expectBackupWorks(threads);
});

test.each([2, 3])(
  "threads that are disposed of at step %i of a backup fail it, and it leaves nothing",
  async (last) => {
    const executor = await threadsOf(WORKER_URL);
    let step = 0;
    const end = (): unknown => (++step === last ? executor[Symbol.asyncDispose]() : undefined);
    const repository = await open(stepping(executor, end));
    await expect(backUp(repository)).rejects.toThrow("disposed");
    await repository[Symbol.asyncDispose]();
    expectNothingLeft();
  },
);

test("a disk that is full when a thread writes fails the backup as such, which leaves nothing", async () => {
  const full = openSync("/dev/full", "w");
  const fullStore: BlobStore = {
    ...passThrough(store),
    draft: async (id) => {
      const draft = (await store.draft?.(id)) ?? Promise.reject(new Error("a folder has drafts"));
      return { ...(await draft), descriptor: full };
    },
  };
  const repository = await open(threads, fullStore);
  await expect(backUp(repository)).rejects.toMatchObject({ code: "storage-full" });
  await expect(repository.flush()).rejects.toMatchObject({ code: "storage-full" });
  await repository[Symbol.asyncDispose]();
  closeSync(full);
  expectNothingLeft();
  await expectBackupWorks(threads);
});

test("limits that are set while jobs have places do not disturb them", async () => {
  const limited = limitStore(store, { environment });
  const set = (): void => limited.setLimits({ concurrentWrites: 1 });
  await using repository = await open(stepping(threads, set), limited);
  expect((await backUp(repository)).errors).toEqual([]);
  expect((await backUp(repository)).errors).toEqual([]);
  await expectBackupWorks(threads);
});
