import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { expect, test } from "vitest";
import { VarveError } from "../base/errors.ts";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { openCrypto } from "../crypto/registry.ts";
import { readFormat } from "../format/format-store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { SAFETY } from "./safety.ts";
import { dropCutoffMs, mayDeletePacks, mayRewrite } from "./due.ts";
import {
  lastSuccessMs,
  type MaintenanceSchedule,
  MAINTENANCE_BLOB,
  readSchedule,
  type TaskName,
  withRun,
  writeSchedule,
} from "./schedule.ts";

const HOUR_MS = 3_600_000;
const environment = seededEnvironment({ seed: 1 });
const crypto = await openCrypto({ hashes: [] });

async function openGolden(name: string, password: string) {
  const path = fileURLToPath(new URL(`../../test/golden/fixtures/${name}`, import.meta.url));
  const store = await openFileSystemStore(path, { readOnly: true });
  const format = await readFormat(store, { password, crypto });
  return { store, format, path };
}

test.each([
  ["v3-default", "small 1"],
  ["v1-hmac-pgzip", "small 3"],
])("the history that Kopia wrote is read and written back whole: %s", async (name, password) => {
  const golden = await openGolden(name, password);
  const schedule = await readSchedule({ ...golden, crypto });
  expect(schedule.nextFullMs).toBeGreaterThan(Date.UTC(2025, 0, 1));
  expect(lastSuccessMs(schedule, "snapshot-gc")).toBeGreaterThan(Date.UTC(2025, 0, 1));
  const store = createMemoryStore({ environment });
  await writeSchedule({ ...golden, store, crypto, environment }, schedule);
  expect(await readSchedule({ ...golden, store, crypto })).toEqual(schedule);
});

test("a damaged schedule is a new history that says so, whatever it holds", async () => {
  const golden = await openGolden("v3-default", "small 1");
  const sealed = readFileSync(`${golden.path}/kopia.maintenance.f`);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.uint8Array(),
        fc
          .nat(sealed.length - 1)
          .map((at) => sealed.map((byte, i) => (i === at ? byte ^ 1 : byte))),
      ),
      async (bytes) => {
        const store = createMemoryStore({ environment });
        await store.put(MAINTENANCE_BLOB, [new Uint8Array(bytes)]);
        const { runs, damage } = await readSchedule({ ...golden, store, crypto });
        expect([runs.size, damage?.code]).toEqual([0, "corrupt"]);
      },
    ),
    { seed: 1, numRuns: 100 },
  );
});

function history(
  ...runs: readonly (readonly [task: TaskName, startHours: number, success?: boolean])[]
): MaintenanceSchedule {
  let schedule: MaintenanceSchedule = { nextFullMs: 0, nextQuickMs: 0, runs: new Map() };
  for (const [task, start, success = true] of runs) {
    const startMs = start * HOUR_MS;
    schedule = withRun(schedule, task, { startMs, endMs: startMs + 60_000, success });
  }
  return schedule;
}

test("the history keeps fifty runs of each task, newest first", () => {
  const all = Array.from({ length: 60 }, (_, hour) => ["snapshot-gc", hour] as const);
  const starts = history(...all)
    .runs.get("snapshot-gc")
    ?.map(({ startMs }) => startMs / HOUR_MS);
  expect(starts).toEqual(Array.from({ length: 50 }, (_, index) => 59 - index));
});

test.each([
  ["none", history(), undefined],
  ["one", history(["snapshot-gc", 10]), undefined],
  ["two within four hours", history(["snapshot-gc", 10], ["snapshot-gc", 14]), undefined],
  ["two far enough apart", history(["snapshot-gc", 10], ["snapshot-gc", 15]), 9],
  [
    "the latest that is far enough counts",
    history(["snapshot-gc", 1], ["snapshot-gc", 8], ["snapshot-gc", 15]),
    7,
  ],
  ["failures do not count", history(["snapshot-gc", 10, false], ["snapshot-gc", 15]), undefined],
])("entries are dropped an hour before the first of two collections: %s", (_, schedule, hours) => {
  const cutoff = dropCutoffMs(schedule, { margins: SAFETY.full, nowMs: 100 * HOUR_MS });
  expect(cutoff).toBe(hours === undefined ? undefined : hours * HOUR_MS);
});

test.each([
  ["no rewrite", history(), true],
  [
    "a history that was lost",
    { ...history(), damage: new VarveError("corrupt", "it is damaged") },
    false,
  ],
  ["half an hour after a rewrite", history(["full-rewrite-contents", 99.5]), false],
  [
    "half an hour after a rewrite that failed",
    history(["full-rewrite-contents", 99.5, false]),
    false,
  ],
  ["in the very run", history(["full-rewrite-contents", 100.1]), false],
  ["two hours after", history(["full-rewrite-contents", 98]), true],
])("packs may be deleted: %s", (_, schedule, expected) => {
  const nowMs = 100 * HOUR_MS;
  expect(mayDeletePacks(schedule, { margins: SAFETY.full, nowMs })).toBe(expected);
  expect(mayDeletePacks(schedule, { margins: SAFETY.none, nowMs })).toBe(true);
});

test.each([
  ["none before", history(), true],
  ["its leftovers are there", history(["full-rewrite-contents", 1]), false],
  ["they are deleted", history(["full-rewrite-contents", 1], ["full-delete-blobs", 3]), true],
  ["a deletion before it", history(["full-delete-blobs", 0], ["full-rewrite-contents", 1]), false],
])("contents may be rewritten: %s", (_, schedule, expected) => {
  expect(mayRewrite(schedule, SAFETY.full)).toBe(expected);
  expect(mayRewrite(schedule, SAFETY.none)).toBe(true);
});
