import * as fc from "fast-check";
import { expect, test } from "vitest";
import { assert } from "../base/errors.ts";
import { BUZHASH, buzhash, createBuzhashSplitter } from "./buzhash.ts";
import { HASH_WINDOW_BYTES } from "./dynamic.ts";
import { GEAR } from "./fastcdc.ts";
import { GEAR_TABLE } from "./gear-table.ts";
import { openScanKernel } from "./scan-kernel.ts";

const LENGTH = 150 * 1024;
const KINDS: readonly ((index: number) => number)[] = [
  (index) => Math.imul(index + 1, 0x9e3779b1) >>> 24,
  (index) => (index % 4096 < 64 ? 45 : index % 251),
  () => 0,
];
const windows = KINDS.map((byte) => new Uint8Array(LENGTH).map((_, index) => byte(index)));

/** Ranges of all lengths up to several blocks, and masks that hit after a few bytes, after blocks, never. */
const scans = fc.record({
  window: fc.constantFrom(...windows),
  first: fc.integer({ min: HASH_WINDOW_BYTES, max: 1000 }),
  length: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: LENGTH - 1000 })),
  mask: fc.constantFrom(0, 0xf, 0xfff, 0x3ffff, -1),
});

test("BUZHASH hits where the hash of the 64 bytes before has no bit of the mask", () => {
  const scan = openScanKernel(BUZHASH);
  assert(scan !== undefined, "Node has WebAssembly");
  fc.assert(
    fc.property(scans, ({ window, first, length, mask }) => {
      const hit = scan(window, first, first + length, mask, buzhash(window, first));
      expect(hit).toBe(firstEnd(first, length, (end) => (buzhash(window, end) & mask) === 0));
    }),
    { seed: 1, numRuns: 50 },
  );
});

test("gear goes on from the hash that it is given", () => {
  const scan = openScanKernel(GEAR);
  assert(scan !== undefined, "Node has WebAssembly");
  fc.assert(
    fc.property(scans, fc.integer(), ({ window, first, length, mask }, start) => {
      let hash = start;
      const expected = firstEnd(first, length, (end) => {
        hash = (hash >>> 1) + (GEAR_TABLE[window[end - 1] ?? 0] ?? 0);
        return (hash & mask) === 0;
      });
      expect(scan(window, first, first + length, mask, start)).toBe(expected);
    }),
    { seed: 1, numRuns: 50 },
  );
});

test("BUZHASH cuts the same without WebAssembly", () => {
  for (const window of windows) {
    const inJavaScript = createBuzhashSplitter("", 64 * 1024, undefined).cuts(window, true);
    const splitter = createBuzhashSplitter("", 64 * 1024, openScanKernel(BUZHASH));
    expect(splitter.cuts(window, true)).toEqual(inJavaScript);
  }
});

/** The first end behind `first` that is a hit, -1 for none among `length`. */
function firstEnd(first: number, length: number, isHit: (end: number) => boolean): number {
  for (let end = first + 1; end <= first + length; end++) {
    if (isHit(end)) {
      return end;
    }
  }
  return -1;
}
