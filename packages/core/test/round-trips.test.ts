import { createCipheriv } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { Environment } from "../src/base/environment.ts";
import { adaptiveStore } from "../src/blob/adaptive-store.ts";
import { createMemoryStore } from "../src/blob/memory-store.ts";
import { passThrough } from "../src/blob/pass-through.ts";
import type { BlobInfo, BlobStore } from "../src/blob/store.ts";
import { runMaintenance } from "../src/maintenance/run.ts";
import { localTarget } from "../src/restore/local-target.ts";
import { restore } from "../src/restore/restore.ts";
import { memorySource } from "../src/source/memory-source.ts";
import { seededEnvironment } from "../src/testing/seeded-environment.ts";
import { upload } from "../src/upload/upload.ts";
import { simulatedClock } from "./simulated-clock.ts";
import { fillWithRepository, openTestRepository, SOURCE, testPolicy } from "./upload-fixture.ts";

/**
 * How many round trips to storage wait for one another, on a clock that only storage moves: what a latency costs beside the
 * work itself, whatever machine this runs on.
 */

type Node = Parameters<typeof memorySource>[1];

const LATENCY_MS = 50;
const MIB = 1024 * 1024;
const folder = mkdtempSync(join(tmpdir(), "varve-round-trips-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function noise(size: number, seed: number): Uint8Array {
  const cipher = createCipheriv(
    "aes-128-ctr",
    Buffer.alloc(16, "noise"),
    Buffer.alloc(16, String(seed)),
  );
  return cipher.update(new Uint8Array(size));
}

/** `seedOf`: files of the same seed are the same. */
function smallFiles(count: number, size: number, seedOf = (index: number): number => index): Node {
  const directories = Array.from({ length: count / 100 }, (_, directory) => [
    `directory-${directory}`,
    {
      children: Object.fromEntries(
        Array.from({ length: 100 }, (_, file) => [
          `file-${file}`,
          { data: noise(size, seedOf(directory * 100 + file)) },
        ]),
      ),
    },
  ]);
  return { children: Object.fromEntries(directories) };
}

/** `store`, every request to which takes a round trip. */
function distant(store: BlobStore, environment: Environment): BlobStore {
  const after = async <T>(work: () => Promise<T>): Promise<T> => {
    await environment.sleep(LATENCY_MS);
    return await work();
  };
  return {
    ...passThrough(store),
    listsInOrder: true,
    get: (id, options) => after(() => store.get(id, options)),
    put: (id, parts, options) => after(() => store.put(id, parts, options)),
    stat: (id, options) => after(() => store.stat(id, options)),
    delete: (id, options) => after(() => store.delete(id, options)),
    list: async function* list(prefix, options) {
      await environment.sleep(LATENCY_MS);
      const found: BlobInfo[] = [];
      for await (const info of store.list(prefix, options)) {
        found.push(info);
      }
      yield* found.sort((a, b) => (a.id < b.id ? -1 : 1));
    },
  };
}

interface RoundTrips {
  readonly backup: number;
  /** The first one, which finds nothing to do. */
  readonly maintenance: number;
  readonly restore: number;
  /** Reads of packs of data while restoring, and the bytes that came. */
  readonly dataReads: number;
  readonly dataBytes: number;
}

async function roundTrips(data: Node): Promise<RoundTrips> {
  const { environment: clock, nowMs } = simulatedClock();
  const chance = seededEnvironment({ seed: 1 });
  const environment = { ...clock, randomBytes: (size: number) => chance.randomBytes(size) };
  const memory = createMemoryStore({ environment });
  await fillWithRepository(memory);
  const since = async (work: () => Promise<void>): Promise<number> => {
    const startMs = nowMs();
    await work();
    return (nowMs() - startMs) / LATENCY_MS;
  };
  let dataReads = 0;
  let dataBytes = 0;
  const counted: BlobStore = {
    ...passThrough(memory),
    get: async (id, options) => {
      const bytes = await memory.get(id, options);
      if (id.startsWith("p")) {
        dataReads++;
        dataBytes += bytes.length;
      }
      return bytes;
    },
  };
  const open = (): BlobStore => adaptiveStore(distant(counted, environment), { environment });
  let root: Awaited<ReturnType<typeof upload>>["snapshot"]["root"] | undefined;
  const backup = await since(async () => {
    await using repository = await openTestRepository(open(), environment);
    const source = { source: SOURCE, root: memorySource("data", data), policy: testPolicy() };
    ({
      snapshot: { root },
    } = await upload(repository, source));
  });
  const maintenance = await since(async () => {
    await using repository = await openTestRepository(open(), environment);
    const { tasks } = await runMaintenance(repository, { mode: "full", force: true });
    expect(tasks.length).toBeGreaterThan(8);
  });
  dataReads = 0;
  dataBytes = 0;
  const restored = await since(async () => {
    await using repository = await openTestRepository(open(), environment);
    const target = mkdtempSync(join(folder, "target-"));
    expect(
      (await restore(repository, { root: root ?? expect.fail(), target: localTarget(target) }))
        .failures,
    ).toEqual([]);
    expect(readdirSync(target)).not.toEqual([]);
  });
  return { backup, maintenance, restore: restored, dataReads, dataBytes };
}

test("a long file: eight reads at once, and few round trips beside them", async () => {
  const found = await roundTrips({ children: { file: { data: noise(32 * MIB, 1) } } });
  expect(found.backup).toBeLessThanOrEqual(8);
  expect(found.maintenance).toBeLessThanOrEqual(17);
  expect(found.restore).toBeLessThanOrEqual(7);
});

test("many small files: a thousand are read with as few round trips as one", async () => {
  const found = await roundTrips(smallFiles(1_100, 2_000));
  expect(found.backup).toBeLessThanOrEqual(8);
  expect(found.maintenance).toBeLessThanOrEqual(17);
  expect(found.restore).toBeLessThanOrEqual(5);
});

test("files that are copies of others: their bytes are fetched once, wherever in the tree they lie", async () => {
  const earlier = (index: number): number => (index * 7_919) % (index - 1);
  const seedOf = (index: number): number =>
    index % 4 === 3 ? 4 * Math.floor(earlier(index) / 4) : index;
  const found = await roundTrips(smallFiles(2_400, 4_000, seedOf));
  const needed = 1_800 * 4_000;
  expect(found.dataBytes).toBeGreaterThan(0.98 * needed);
  expect(found.dataBytes).toBeLessThan(1.05 * needed);
  expect(found.dataReads).toBeLessThanOrEqual(6);
  expect(found.restore).toBeLessThanOrEqual(6);
});
