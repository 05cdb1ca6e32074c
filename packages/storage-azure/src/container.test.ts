import fc from "fast-check";
import { expect, test } from "vitest";
import { mtimeMetadata, mtimeOf } from "./container.ts";

test("a time in metadata is nanoseconds, whatever the case of its name", () => {
  expect(mtimeMetadata(1_700_000_000_123)).toEqual({ Kopiamtime: "1700000000123000000" });
  expect(mtimeMetadata(undefined)).toEqual({});
  expect(mtimeOf({ kopiamtime: "1700000000123456789" })).toBe(1_700_000_000_123);
  expect(mtimeOf({ other: "1", KOPIAMTIME: "-1000000" })).toBe(-1);
});

test("metadata that holds no time is passed over", () => {
  for (const value of ["", "x", "1.5", "1e9", " 1", "9".repeat(20)]) {
    expect(mtimeOf({ Kopiamtime: value })).toBeUndefined();
  }
  expect(mtimeOf(undefined)).toBeUndefined();
});

test("every time that is written is read back, and any text gives a time or none", () => {
  const times = fc.integer({ min: -8_640_000_000_000, max: 8_640_000_000_000 });
  fc.assert(
    fc.property(times, (mtimeMs) => mtimeOf(mtimeMetadata(mtimeMs)) === mtimeMs),
    { seed: 1, numRuns: 200 },
  );
  fc.assert(
    fc.property(fc.string(), (value) => {
      const mtimeMs = mtimeOf({ kopiamtime: value });
      expect(mtimeMs === undefined || Number.isSafeInteger(mtimeMs)).toBe(true);
    }),
    { seed: 1, numRuns: 200 },
  );
});
