import { expect, test } from "vitest";
import type { Phase } from "./result.ts";
import { NOTHING, type Sample, Tally } from "./tally.ts";
import { TimeLeft } from "./time-left.ts";

function sample(phase: Phase, seconds: number, storedBytes?: number): Sample {
  return { phase, measured: { seconds, peakBytes: 100 }, storedBytes };
}

const varve = { dataset: "image", tool: "varve" };

test("a tally goes on from what an earlier one has written", () => {
  const first = new Tally(NOTHING);
  first.add(varve, [sample("first", 3, 50), sample("restore", 7)]);
  // As a result file gives it back.
  const second = new Tally(JSON.parse(JSON.stringify(first.comparison())));
  expect(second.runsOf("image", "varve")).toBe(1);
  expect(second.runsOf("image", "kopia")).toBe(0);
  second.add(varve, [sample("first", 1, 50), sample("restore", 5)]);
  const [cell, restored] = second.comparison().measurements;
  expect(cell?.seconds).toEqual({ median: 2, min: 1, max: 3, runs: [3, 1] });
  expect(cell?.storedBytes?.runs).toEqual([50, 50]);
  expect(restored).not.toHaveProperty("storedBytes");
});

test("a failure is told until the tool succeeds", () => {
  const tally = new Tally(NOTHING);
  tally.fail({ ...varve, message: "no space" });
  tally.fail({ ...varve, message: "no space yet" });
  expect(tally.comparison().failures).toEqual([{ ...varve, message: "no space yet" }]);
  tally.add(varve, [sample("first", 1, 1)]);
  expect(tally.comparison().failures).toEqual([]);
});

test("the time left is that of the turns of each dataset so far", () => {
  const time = new TimeLeft(
    new Map([
      ["image", 3],
      ["unknown", 1],
    ]),
  );
  time.passed("image", 200);
  time.passed("image", 100);
  expect(time.text()).toContain("2 turns left, about 4 minutes");
});
