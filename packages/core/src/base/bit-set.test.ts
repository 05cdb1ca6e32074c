import * as fc from "fast-check";
import { expect, test } from "vitest";
import { BitSet } from "./bit-set.ts";

test("is a set of numbers, in ascending order", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3000)), fc.array(fc.nat(100_000)), (added, others) => {
      const set = new BitSet();
      const reference = new Set<number>();
      for (const number of added) {
        expect(set.add(number)).toBe(!reference.has(number));
        reference.add(number);
      }
      expect([...set]).toEqual([...reference].toSorted((a, b) => a - b));
      expect(set.size).toBe(reference.size);
      for (const number of others) {
        expect(set.has(number)).toBe(reference.has(number));
      }
    }),
    { seed: 1, numRuns: 200 },
  );
});
