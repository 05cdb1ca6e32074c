import { expect, test } from "vitest";
import type { Environment } from "../base/environment.ts";
import { simulatedClock } from "../../test/simulated-clock.ts";
import { type LimitedStore, limitStore, type StoreLimits } from "./limit-store.ts";
import { createMemoryStore } from "./memory-store.ts";
import { meteredStore } from "./meter.ts";
import { passThrough } from "./pass-through.ts";
import { readOnlyStore } from "./read-only-store.ts";
import { retryStore } from "./retry-store.ts";
import { type BlobDraft, type BlobStore, parseBlobId } from "./store.ts";

const MB = 1_000_000;
const A = parseBlobId("a");
const DRAFT: BlobDraft = {
  descriptor: -1,
  read: async () => new Uint8Array(),
  publish: async () => ({ id: A, size: 0, mtimeMs: 0 }),
  discard: async () => {},
};

/** When each call reached the store below, in ms since the start, and how much it moved. */
function limited(limits: StoreLimits): {
  store: LimitedStore;
  events: { atMs: number; bytes: number }[];
  sinceMs: () => number;
  environment: Environment;
} {
  const { environment, nowMs } = simulatedClock();
  const startMs = nowMs();
  const sinceMs = (): number => Math.round(nowMs() - startMs);
  const events: { atMs: number; bytes: number }[] = [];
  const memory = createMemoryStore();
  const inner: BlobStore = {
    ...passThrough(memory),
    put: (id, parts) => {
      events.push({ atMs: sinceMs(), bytes: parts[0]?.length ?? 0 });
      return memory.put(id, parts);
    },
    get: (id, options) => {
      events.push({ atMs: sinceMs(), bytes: options?.range?.length ?? 0 });
      return memory.get(id, options);
    },
    list: (prefix) => {
      events.push({ atMs: sinceMs(), bytes: 0 });
      return memory.list(prefix);
    },
  };
  return { store: limitStore(inner, { environment, limits }), events, sinceMs, environment };
}

async function listAll(store: BlobStore): Promise<void> {
  for await (const _ of store.list("")) {
    // counted below
  }
}

test("bytes sent are never ahead of the rate, however many puts come at once or after a pause", async () => {
  const { store, events, environment } = limited({ maxUploadSpeedBytesPerSecond: MB });
  const part = new Uint8Array(MB / 2);
  const putMany = (count: number): Promise<unknown> =>
    Promise.all(Array.from({ length: count }, () => store.put(A, [part])));
  await putMany(6);
  await environment.sleep(60_000); // nothing is saved up
  await putMany(4);
  let sent = 0;
  for (const { atMs, bytes } of events.slice(0, 6)) {
    sent += bytes;
    expect(sent).toBeLessThanOrEqual((MB * (atMs + 20)) / 1000);
  }
  const starts = events.slice(6).map(({ atMs }) => atMs);
  expect(starts[0]).toBeGreaterThanOrEqual(63_000 + 450);
  expect((starts[3] ?? 0) - (starts[0] ?? 0)).toBeGreaterThanOrEqual(1_500);
  expect(starts[3]).toBeLessThanOrEqual(63_000 + 2_050);
});

test("requests of each kind keep their distance", async () => {
  const { store, events } = limited({ readsPerSecond: 10, writesPerSecond: 4, listsPerSecond: 2 });
  await store.put(A, [Uint8Array.of(1)]);
  const gaps = async (work: () => Promise<unknown>): Promise<number[]> => {
    events.length = 0;
    await Promise.all([work(), work(), work(), work()]);
    return events.slice(1).map(({ atMs }, index) => atMs - (events[index]?.atMs ?? 0));
  };
  expect(await gaps(() => store.get(A))).toEqual([100, 100, 100]);
  expect(await gaps(() => store.put(A, []))).toEqual([250, 250, 250]);
  expect(await gaps(() => listAll(store))).toEqual([500, 500, 500]);
});

test("what was downloaded is paid for before it is handed out", async () => {
  const { store, sinceMs } = limited({ maxDownloadSpeedBytesPerSecond: MB });
  await store.put(A, [new Uint8Array(2 * MB)]);
  await store.get(A, { range: { offset: 0, length: MB } });
  expect(sinceMs()).toBeGreaterThanOrEqual(980);
  await store.get(A);
  expect(sinceMs()).toBeGreaterThanOrEqual(2_980);
  expect(sinceMs()).toBeLessThanOrEqual(3_050);
});

test("limits can be changed while calls wait for them", async () => {
  const { store, sinceMs, environment } = limited({ maxUploadSpeedBytesPerSecond: 1_000 });
  const slow = store.put(A, [new Uint8Array(MB)]); // would take 1000 s
  await environment.sleep(10_000);
  store.setLimits({ maxUploadSpeedBytesPerSecond: MB });
  await slow;
  expect(sinceMs()).toBeLessThan(11_200);
  store.setLimits({});
  const before = sinceMs();
  await store.put(A, [new Uint8Array(50 * MB)]);
  expect(sinceMs()).toBe(before);
});

test("no more calls are under way at once than allowed", async () => {
  const { environment } = simulatedClock();
  const memory = createMemoryStore();
  let under = 0;
  let most = 0;
  const inner: BlobStore = {
    ...passThrough(memory),
    stat: async () => {
      under += 1;
      most = Math.max(most, under);
      await environment.sleep(5);
      under -= 1;
      return { id: A, size: 0, mtimeMs: 0 };
    },
  };
  const store = limitStore(inner, { environment, limits: { concurrentReads: 3 } });
  await Promise.all(Array.from({ length: 10 }, () => store.stat(A)));
  expect(most).toBe(3);
});

test("an abort ends the waiting with its reason, and nothing is written", async () => {
  const { store, events } = limited({ maxUploadSpeedBytesPerSecond: 1 });
  const stop = new AbortController();
  const calls = [1, 2].map((size) => store.put(A, [new Uint8Array(size * MB)], stop));
  const reason = new Error("stop");
  stop.abort(reason);
  for (const call of calls) {
    await expect(call).rejects.toBe(reason);
  }
  expect(events).toEqual([]);
});

test("there are drafts while nothing that is written is limited, and those that were begun go on", async () => {
  const { environment } = simulatedClock();
  const inner: BlobStore = { ...passThrough(createMemoryStore()), draft: async () => DRAFT };
  const store = limitStore(retryStore(inner, { environment }), { environment });
  const limits: readonly StoreLimits[] = [
    { maxUploadSpeedBytesPerSecond: MB },
    { writesPerSecond: 1000 },
    { concurrentWrites: 4 },
  ];
  for (const limit of limits) {
    const { draft } = store;
    store.setLimits(limit);
    expect(store.draft).toBeUndefined();
    expect(await draft?.(A)).toBe(DRAFT);
    store.setLimits({});
    expect(await store.draft?.(A)).toBe(DRAFT);
  }
  store.setLimits({ maxDownloadSpeedBytesPerSecond: MB, concurrentReads: 1, listsPerSecond: 1 });
  expect(await store.draft?.(A)).toBe(DRAFT);
});

test("wrappers that must see each put have no drafts", () => {
  const inner: BlobStore = { ...passThrough(createMemoryStore()), draft: async () => DRAFT };
  const { environment } = simulatedClock();
  for (const store of [readOnlyStore(inner), meteredStore(inner), passThrough(inner)]) {
    expect(store.draft).toBeUndefined();
    expect(limitStore(retryStore(store, { environment }), { environment }).draft).toBeUndefined();
  }
});

test("a limit that is no limit is refused", () => {
  const { environment } = simulatedClock();
  for (const limit of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() =>
      limitStore(createMemoryStore(), { environment, limits: { readsPerSecond: limit } }),
    ).toThrow("the limit readsPerSecond");
  }
});
