import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseBlobId } from "../blob/store.ts";
import {
  completeSet,
  epochMarkerId,
  parseEpochBlobName,
  rangePrefix,
  setSuffix,
  singlePrefix,
  uncompactedPrefix,
  watermarkId,
} from "./epoch-names.ts";

const nameOf = (id: string) => parseEpochBlobName(parseBlobId(id));

function setIn(ids: readonly string[]): string[] | undefined {
  return completeSet(ids.map((id) => ({ id: parseBlobId(id) })))?.map(({ id }) => id);
}

describe("names", () => {
  test("what is written is understood", () => {
    expect(nameOf(epochMarkerId(7))).toEqual({ kind: "marker", epoch: 7 });
    expect(nameOf(watermarkId(1700000000))).toEqual({ kind: "watermark", seconds: 1700000000 });
    const end = `00ff-${setSuffix("s0123456789abcdef147", 2)}`;
    expect(nameOf(uncompactedPrefix(0) + end)).toEqual({ kind: "uncompacted", epoch: 0 });
    expect(nameOf(singlePrefix(12) + end)).toEqual({ kind: "single", epoch: 12 });
    expect(nameOf(rangePrefix(3, 9) + end)).toEqual({ kind: "range", first: 3, last: 9 });
    expect(end).toBe("00ff-s0123456789abcdef147-c2");
  });
  test.each([
    "x",
    "xe",
    "xe-1",
    "xe01",
    "xe1_",
    "xe1x",
    "xe9999999999999999",
    "xw",
    "xwnever",
    "xn1",
    "xn_abc",
    "xn01_abc",
    "xs1-abc",
    "xr1_abc",
    "xr5_3_abc",
    "xr1_2",
    "xq1_abc",
    "n00ff",
    "kopia.repository",
  ])("%s means nothing", (id) => {
    expect(nameOf(id)).toBeUndefined();
  });
  test("any name gives non-negative safe integers or nothing", () => {
    const text = fc.stringMatching(/^x[ewnsr][0-9_-]{1,20}$/);
    fc.assert(
      fc.property(text, (id) => {
        for (const value of Object.values(nameOf(id) ?? {})) {
          expect(typeof value === "string" || (Number.isSafeInteger(value) && value >= 0)).toBe(
            true,
          );
        }
      }),
      { seed: 1, numRuns: 1000 },
    );
  });
});

describe("complete sets", () => {
  test.each([
    ["nothing", [], undefined],
    ["one of one", ["xs1_a-s1-c1"], ["xs1_a-s1-c1"]],
    ["one of two", ["xs1_a-s1-c2"], undefined],
    ["two of two, in any order", ["xs1_b-s1-c2", "xs1_a-s1-c2"], ["xs1_a-s1-c2", "xs1_b-s1-c2"]],
    ["two halves", ["xs1_a-s1-c2", "xs1_b-s2-c2"], undefined],
    ["a half, then a whole", ["xs1_a-s1-c2", "xs1_b-s2-c1"], ["xs1_b-s2-c1"]],
    ["two wholes", ["xs1_b-s2-c1", "xs1_a-s3-c1"], ["xs1_a-s3-c1"]],
    ["a name without a set", ["xs1_a"], ["xs1_a"]],
    ["a name with another session", ["xs1_a-t1-c2"], ["xs1_a-t1-c2"]],
    ["a name with no count", ["xs1_a-s1-cx"], ["xs1_a-s1-cx"]],
  ] as const)("%s", (_, ids, expected) => {
    expect(setIn(ids)).toEqual(expected);
  });
});
