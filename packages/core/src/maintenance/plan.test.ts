import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHex } from "../base/bytes.ts";
import { meteredStore, requestCount, type Usage } from "../blob/meter.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import type { BlobStore } from "../blob/store.ts";
import type { Repository } from "../repository/repository.ts";
import { createRepository } from "../repository/create-repository.ts";
import { openRepository } from "../repository/open-repository.ts";
import { deleteSnapshot } from "../snapshot/snapshots.ts";
import { parseManifestId } from "../manifest/manifest-store.ts";
import {
  mulberry32,
  seededEnvironment,
  type SeededEnvironment,
} from "../testing/seeded-environment.ts";
import { upload } from "../upload/upload.ts";
import { verify } from "../verify/verify.ts";
import {
  createTestRepository,
  type TestRepository,
  openTestRepository,
  PASSWORD,
  SOURCE,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { type MaintenancePlan, parseMaintenancePlan } from "./plan-file.ts";
import { planMaintenance, type PlanOptions } from "./plan.ts";
import { costOf, limitPassed, type PlanLimits, S3_PRICES } from "./prices.ts";
import { type MaintenanceReport, runMaintenance } from "./run.ts";

/** Backups of their own packs, the first of which is deleted again. */
async function usedRepository({
  backups = 6,
  bytes = 20_000,
}: {
  backups?: number;
  bytes?: number;
} = {}): Promise<TestRepository> {
  const made = await createTestRepository();
  const first = await backUp(made.repository, 0, bytes);
  for (let round = 1; round < backups; round++) {
    made.environment.advance(1000);
    await backUp(made.repository, round, bytes);
  }
  await deleteSnapshot(made.repository, parseManifestId(first));
  await made.repository.flush();
  made.environment.advance(1000);
  return made;
}

async function backUp(repository: Repository, seed: number, bytes = 20_000): Promise<string> {
  const next = mulberry32(seed + 1);
  const data = Uint8Array.from({ length: bytes }, () => next() >>> 24);
  const root = tree({ [`file${seed}`]: { data, mtimeNs: 1n } });
  const { snapshot } = await upload(repository, { source: SOURCE, root, policy: testPolicy() });
  return snapshot.id ?? "";
}

async function listing(store: BlobStore): Promise<readonly string[]> {
  const lines: string[] = [];
  for await (const { id, size, mtimeMs } of store.list("")) {
    lines.push(`${id} ${size} ${mtimeMs} ${toHex(await store.get(id))}`);
  }
  return lines.sort();
}

async function plan(
  store: BlobStore,
  environment: SeededEnvironment,
  options: Partial<PlanOptions> = {},
): Promise<MaintenancePlan> {
  const { format } = await openTestRepository(store, environment);
  const made = await planMaintenance(store, {
    password: PASSWORD,
    format,
    environment,
    ...options,
  });
  return parseMaintenancePlan(new TextEncoder().encode(JSON.stringify(made)));
}

async function run(
  store: BlobStore,
  environment: SeededEnvironment,
  plan: MaintenancePlan,
): Promise<MaintenanceReport> {
  const metered = meteredStore(store);
  await using repository = await openTestRepository(metered, environment);
  return await runMaintenance(repository, { plan });
}

async function expectSound(store: BlobStore, environment: SeededEnvironment): Promise<void> {
  await using repository = await openTestRepository(store, environment);
  expect(await verify(repository)).toMatchObject({ damaged: [] });
}

function used(report: MaintenanceReport): Usage {
  expect(report.usage).toBeDefined();
  return report.usage as Usage; // just checked
}

describe.each([
  { mode: "full", safety: "none" },
  { mode: "full", safety: "full" },
  { mode: "quick", safety: "full" },
  { mode: "emergency", safety: "none" },
] as const)("a plan of $mode maintenance with safety $safety", ({ mode, safety }) => {
  test("is what the run then takes, and writes nothing", async () => {
    const { store, environment } = await usedRepository();
    const before = await listing(store);
    const planned = await plan(store, environment, { mode, safety });
    expect(await listing(store)).toEqual(before);
    expect(planned.spent.requests).toMatchObject({ put: 0, delete: 0 });
    const report = await run(store, environment, planned);
    expect(report).toMatchObject({ mode, stopped: undefined });
    const actual = used(report);
    expect(actual.requests).toEqual(planned.total.requests);
    expect(actual.bytesRead).toBe(planned.total.bytesRead);
    // Times in the history lose their zeros at the end.
    expect(Math.abs(actual.bytesWritten - planned.total.bytesWritten)).toBeLessThan(500);
    expect(requestCount(actual)).toBeLessThanOrEqual(planned.limits.requests);
    for (const [index, { task, usage, skipped, counts }] of report.tasks.entries()) {
      const step = planned.steps[index + 1]; // the first is for opening it
      expect(step).toMatchObject({ step: task, ...(skipped === undefined ? {} : { skipped }) });
      expect(step?.requests).toEqual(usage?.requests ?? step?.requests);
      expect(step?.bytesFreed ?? 0).toBeLessThanOrEqual(counts?.["bytes"] ?? 0);
    }
    await expectSound(store, environment);
  });
});

test("a plan of a repository without epochs is what the run then takes, too", async () => {
  const environment = seededEnvironment({ seed: 3 });
  const store = createMemoryStore({ environment });
  await createRepository(store, { password: PASSWORD, environment, version: 1 });
  const opening = { password: PASSWORD, environment };
  {
    await using repository = await openRepository(store, opening);
    const first = await backUp(repository, 0);
    for (let round = 1; round < 10; round++) {
      environment.advance(1000);
      await backUp(repository, round);
    }
    await deleteSnapshot(repository, parseManifestId(first));
    await repository.flush();
  }
  environment.advance(1000);
  const planned = await planMaintenance(store, { ...opening, mode: "full", safety: "none" });
  await using repository = await openRepository(meteredStore(store), opening);
  const report = await runMaintenance(repository, { plan: planned });
  expect(report.stopped).toBeUndefined();
  expect(used(report).requests).toEqual(planned.total.requests);
});

describe("a run with a plan", () => {
  test("stops before a step that would not come to its end, when another client has stored more", async () => {
    const { store, environment, repository } = await usedRepository();
    const planned = await plan(store, environment, { mode: "full", safety: "none" });
    for (let round = 10; round < 20; round++) {
      await backUp(repository, round);
      environment.advance(1000);
    }
    const report = await run(store, environment, planned);
    expect(report.stopped).toMatch(
      /^stopped (before|in) [a-z-]+: \d+ .* would be .*, and the plan allows \d+$/,
    );
    expect(limitPassed(used(report), planned.limits, planned.prices)).toBeUndefined();
    await expectSound(store, environment);
    const next = await plan(store, environment, { mode: "full", safety: "none" });
    expect(await run(store, environment, next)).toMatchObject({ stopped: undefined });
    await expectSound(store, environment);
  });

  test("never goes over a limit, wherever that ends it, and the next run goes on", async () => {
    const { store: original, environment } = await usedRepository({ bytes: 200_000 });
    const planned = await plan(original, environment, { mode: "full", safety: "none" });
    const whole = amounts(planned.total, planned);
    const [open] = planned.steps;
    const opening = amounts(open ?? planned.total, planned);
    const ends = new Set<string>();
    for (const limit of ["requests", "bytesRead", "bytesWritten", "cost"] as const) {
      for (const share of [0, 0.4, 0.7, 0.9]) {
        const store = await copyOf(original, environment);
        const most = opening[limit] + share * (whole[limit] - opening[limit]);
        const limits = { ...planned.limits, [limit]: most };
        // Without the figures of steps it goes as far as it can.
        const report = await run(store, environment, { ...planned, limits, steps: [] });
        expect(report.stopped).toBeDefined();
        ends.add(/ (?:before|in) ([a-z-]+)/.exec(report.stopped ?? "")?.[1] ?? "open");
        expect(limitPassed(used(report), limits, planned.prices)).toBeUndefined();
        await using repository = await openTestRepository(store, environment);
        expect(await verify(repository)).toMatchObject({ damaged: [] });
        const next = await runMaintenance(repository, { mode: "full", safety: "none" });
        expect(next.tasks.map(({ task }) => task)).toContain("cleanup-logs");
        await expectSound(store, environment);
      }
    }
    expect(ends.size).toBeGreaterThan(4);
  });

  test("is refused for another repository, and on a store that nobody counts on", async () => {
    const { store, environment, repository } = await usedRepository({ backups: 2 });
    const planned = await plan(store, environment, { mode: "full" });
    await expect(runMaintenance(repository, { plan: planned })).rejects.toMatchObject({
      code: "invalid-argument",
    });
    const other = { ...planned, repository: "00" };
    await expect(run(store, environment, other)).rejects.toMatchObject({
      code: "invalid-argument",
    });
  });
});

async function copyOf(original: BlobStore, environment: SeededEnvironment): Promise<BlobStore> {
  const copy = createMemoryStore({ environment });
  for await (const { id, mtimeMs } of original.list("")) {
    await copy.put(id, [await original.get(id)], { mtimeMs });
  }
  return copy;
}

function amounts(usage: Usage, { prices }: MaintenancePlan): PlanLimits {
  const { bytesRead, bytesWritten } = usage;
  return { requests: requestCount(usage), bytesRead, bytesWritten, cost: costOf(usage, prices) };
}

test("a plan of what is not due says so, and one of nothing does nothing", async () => {
  const { store, environment, repository } = await usedRepository({ backups: 2 });
  await runMaintenance(repository, { mode: "full" });
  const before = await listing(store);
  const planned = await plan(store, environment);
  expect(planned).toMatchObject({ mode: "none", total: { cost: 0 } });
  expect(await run(store, environment, planned)).toMatchObject({ mode: "none", tasks: [] });
  expect(await listing(store)).toEqual(before);
});

test("a plan reads none of the contents that would be moved, and says what it is worth", async () => {
  const { store, environment } = await usedRepository({ bytes: 200_000 });
  const planned = await plan(store, environment, {
    mode: "full",
    safety: "none",
    latencyMs: 100,
    bytesPerSecond: 1_000_000,
    prices: { ...S3_PRICES, currency: "EUR", putPer1000: 1000 },
  });
  expect(planned.total.bytesRead).toBeGreaterThan(1_000_000);
  expect(planned.spent.bytesRead).toBeLessThan(100_000);
  expect(planned.total.bytesFreed).toBeGreaterThan(1_200_000);
  expect(planned.total.cost).toBeGreaterThan(planned.total.requests.put);
  expect(planned.total.cost).toBeLessThan(planned.total.requests.put + 1);
  const { bytesRead, bytesWritten } = planned.total;
  expect(planned.total.estimatedMs).toBeGreaterThan((bytesRead + bytesWritten) / 1000);
  expect(planned.timing).toMatchObject({ latencyMs: 100, latencySamples: 0 });
});

test("a plan that was changed by hand is understood or refused", () => {
  const text = new TextEncoder().encode(JSON.stringify(EXAMPLE));
  expect(parseMaintenancePlan(text)).toEqual(EXAMPLE);
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.nat(255), (position, byte) => {
      const changed = text.slice();
      changed[position] = byte;
      try {
        parseMaintenancePlan(changed);
      } catch (error) {
        expect(error).toMatchObject({ code: "corrupt" });
      }
    }),
    { seed: 1, numRuns: 500 },
  );
});

const FIGURES = {
  requests: { list: 1, get: 2, head: 3, put: 4, delete: 5 },
  bytesRead: 6,
  bytesWritten: 7,
  bytesFreed: 8,
  estimatedMs: 9.5,
  cost: 0.25,
};
const EXAMPLE: MaintenancePlan = {
  plan: 1,
  repository: "ab",
  plannedMs: 1,
  mode: "full",
  safety: "none",
  steps: [
    { step: "open", skipped: undefined, ...FIGURES },
    { step: "snapshot-gc", skipped: "why", ...FIGURES },
  ],
  total: FIGURES,
  limits: { requests: 1, bytesRead: 2, bytesWritten: 3, cost: 4 },
  prices: S3_PRICES,
  timing: { latencyMs: 1.5, bytesPerSecond: 2, latencySamples: 3, bandwidthSamples: 4 },
  spent: { requests: FIGURES.requests, bytesRead: 1, bytesWritten: 0 },
};
