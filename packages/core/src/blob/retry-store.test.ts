import { expect, test } from "vitest";
import type { Environment } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { createMemoryStore } from "./memory-store.ts";
import { passThrough } from "./pass-through.ts";
import { readOnlyStore } from "./read-only-store.ts";
import { retryStore } from "./retry-store.ts";
import { type BlobInfo, type BlobStore, parseBlobId } from "./store.ts";

const A = parseBlobId("a");
const BUSY = new VarveError("storage-failed", "busy", { retryable: true });
const BROKEN = new VarveError("storage-failed", "broken");

function recordingEnvironment(chance: number): { environment: Environment; sleeps: number[] } {
  const sleeps: number[] = [];
  let nowMs = 0;
  const environment: Environment = {
    nowMs: () => nowMs,
    sleep: async (ms, { signal } = {}) => {
      signal?.throwIfAborted();
      sleeps.push(ms);
      nowMs += ms;
    },
    randomBytes: (size) => new Uint8Array(size).fill(chance),
    log: () => {},
  };
  return { environment, sleeps };
}

/** A store whose `get` fails with `errors` in turn, then answers. */
function failing(errors: readonly Error[]): { store: BlobStore; calls: () => number } {
  let calls = 0;
  const store = passThrough(createMemoryStore());
  const get = async (): Promise<Uint8Array> => {
    const error = errors[calls];
    calls += 1;
    if (error !== undefined) {
      throw error;
    }
    return Uint8Array.of(7);
  };
  return { store: { ...store, get }, calls: () => calls };
}

test("a retryable error is tried again after waits that grow by half", async () => {
  const { environment, sleeps } = recordingEnvironment(255);
  const { store } = failing(Array.from({ length: 9 }, () => BUSY));
  expect(await retryStore(store, { environment }).get(A)).toEqual(Uint8Array.of(7));
  expect(sleeps.slice(0, 4)).toEqual([100, 150, 225, 337.5]);
  expect(sleeps).toHaveLength(9);
});

test("a draft that cannot be begun is tried again", async () => {
  const { environment, sleeps } = recordingEnvironment(255);
  const errors = [BUSY, BUSY];
  const begin = async (): Promise<never> => Promise.reject(errors.shift() ?? BROKEN);
  const inner: BlobStore = { ...passThrough(createMemoryStore()), draft: begin };
  await expect(retryStore(inner, { environment }).draft?.(A)).rejects.toBe(BROKEN);
  expect(sleeps).toEqual([100, 150]);
});

test("waits lie between half and all of the delay, and have a bound", async () => {
  const { environment, sleeps } = recordingEnvironment(0);
  const { store } = failing(Array.from({ length: 4 }, () => BUSY));
  await retryStore(store, { environment, maxDelayMs: 200 }).get(A);
  expect(sleeps).toEqual([50, 75, 100, 100]);
});

test("the last error is thrown when the attempts are used up", async () => {
  const { environment } = recordingEnvironment(0);
  const { store, calls } = failing([BUSY, BUSY, BUSY, BUSY]);
  await expect(retryStore(store, { environment, attempts: 3 }).get(A)).rejects.toBe(BUSY);
  expect(calls()).toBe(3);
});

test("what storage asks for is waited for, but not longer than a minute", async () => {
  const { environment, sleeps } = recordingEnvironment(255);
  const wait = (retryAfterMs: number): VarveError =>
    new VarveError("storage-failed", "slow down", { retryable: true, retryAfterMs });
  const { store } = failing([wait(3_000), wait(10), wait(86_400_000)]);
  await retryStore(store, { environment }).get(A);
  expect(sleeps).toEqual([3_000, 150, 60_000]);
});

test("no call is made again when it would be too late", async () => {
  const { environment, sleeps } = recordingEnvironment(255);
  const { store, calls } = failing(Array.from({ length: 9 }, () => BUSY));
  await expect(retryStore(store, { environment, maxElapsedMs: 500 }).get(A)).rejects.toBe(BUSY);
  expect(calls()).toBe(4);
  expect(sleeps).toEqual([100, 150, 225]);
});

test("an error that is not retryable is thrown at once", async () => {
  const { environment, sleeps } = recordingEnvironment(0);
  const { store } = failing([BROKEN]);
  await expect(retryStore(store, { environment }).get(A)).rejects.toBe(BROKEN);
  expect(sleeps).toEqual([]);
});

test("an abort ends the waiting with its reason", async () => {
  const { environment } = recordingEnvironment(0);
  const { store, calls } = failing([BUSY, BUSY]);
  const reason = new Error("stop");
  const signal = AbortSignal.abort(reason);
  await expect(retryStore(store, { environment }).get(A, { signal })).rejects.toBe(reason);
  expect(calls()).toBe(1);
});

/** A store of `size` blobs whose list fails after as many as `failures` say in turn. */
function listFailing(size: number, failures: readonly number[]): BlobStore {
  let calls = 0;
  return {
    ...passThrough(createMemoryStore()),
    async *list(): AsyncGenerator<BlobInfo> {
      const failsAt = failures[calls++];
      for (let index = 0; index < size; index++) {
        if (index === failsAt) {
          throw BUSY;
        }
        yield { id: parseBlobId(String(index)), size: 0, mtimeMs: 0 };
      }
    },
  };
}

async function listedIds(store: BlobStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of store.list("")) {
    ids.push(id);
  }
  return ids;
}

test("a list that fails starts again and gives nothing twice", async () => {
  const { environment } = recordingEnvironment(0);
  const ids = await listedIds(retryStore(listFailing(3, [0, 2, 1]), { environment }));
  expect(ids).toEqual(["0", "1", "2"]);
});

test("a list may fail as often as it gets on, and no more often than others without", async () => {
  const { environment } = recordingEnvironment(0);
  const progress = Array.from({ length: 30 }, (_, index) => index);
  const store = retryStore(listFailing(30, progress), { environment, attempts: 2 });
  expect(await listedIds(store)).toHaveLength(30);
  const stuck = retryStore(listFailing(3, [1, 1, 1, 1]), { environment, attempts: 3 });
  await expect(listedIds(stuck)).rejects.toBe(BUSY);
});

test("a read-only store reads and refuses to write", async () => {
  const inner = createMemoryStore();
  await inner.put(A, [Uint8Array.of(1)]);
  const store = readOnlyStore(inner);
  expect(await store.get(A)).toEqual(Uint8Array.of(1));
  expect((await store.stat(A)).size).toBe(1);
  expect(await listedIds(store)).toEqual(["a"]);
  const retention = { mode: "locked", untilMs: 0 } as const;
  for (const call of [store.put(A, []), store.delete(A), store.extendRetention(A, retention)]) {
    await expect(call).rejects.toMatchObject({ code: "read-only" });
  }
  expect(await inner.get(A)).toEqual(Uint8Array.of(1));
});
