import { expect, test } from "vitest";
import { simulate } from "./scenario.ts";

const SEEDS = Number(process.env["VARVE_SIMULATION_SEEDS"] ?? 20);
const FIRST_SEED = Number(process.env["VARVE_SIMULATION_FIRST_SEED"] ?? 1);

test("the same seed is the same history", async () => {
  await simulate(1); // loads what is loaded when it is first used
  const first = await simulate(2);
  expect(await simulate(2)).toEqual(first);
  expect((await simulate(3)).trace).not.toBe(first.trace);
});

test(`whatever happens, no acknowledged snapshot is lost: ${SEEDS} histories`, async () => {
  const totals = { acknowledged: 0, deleted: 0, crashes: 0, collected: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const { violations, acknowledged, deleted, crashes, collected } = await simulate(seed);
    expect(violations, `seed ${seed}`).toEqual([]);
    totals.acknowledged += acknowledged;
    totals.deleted += deleted;
    totals.crashes += crashes;
    totals.collected += collected;
  }
  // Histories in which nothing happens would prove nothing.
  for (const total of Object.values(totals)) {
    expect(total).toBeGreaterThan(SEEDS / 2);
  }
});
