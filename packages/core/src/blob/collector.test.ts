import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isVarveError } from "../base/errors.ts";
import { Collector } from "./collector.ts";

const WHAT = "get p1";

test("parts of any length come to lie one after another, in private and in shared memory at any place", () => {
  const parts = fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 12 });
  fc.assert(
    fc.property(
      parts,
      fc.nat({ max: 40 }),
      fc.boolean(),
      fc.nat({ max: 9 }),
      (some, times, isShared, at) => {
        // Long ones go by way of a stage of 16 KiB.
        const all = some.map((part) => Buffer.alloc(part.length * (1 + 40 * times), part));
        const whole = Buffer.concat(all);
        const memory = isShared
          ? new Uint8Array(new SharedArrayBuffer(whole.length + at + 3))
          : new Uint8Array(whole.length + at + 3);
        const into = memory.subarray(at, at + whole.length);
        const collector = new Collector({ what: WHAT, length: whole.length, into });
        for (const part of all) {
          collector.add(part);
        }
        const bytes = collector.bytes();
        expect(Buffer.compare(bytes, whole)).toBe(0);
        expect([bytes.buffer === memory.buffer, bytes.byteOffset]).toEqual([true, at]);
        expect(memory.subarray(0, at).every((byte) => byte === 0)).toBe(true);
        expect(memory.subarray(at + whole.length).every((byte) => byte === 0)).toBe(true);
      },
    ),
    { seed: 1, numRuns: 200 },
  );
});

test("memory that is too short is left alone, and so is memory where no length is told", () => {
  const into = new Uint8Array(2);
  for (const length of [3, undefined]) {
    const collector = new Collector({ what: WHAT, length, into });
    collector.add(Uint8Array.of(1, 2));
    collector.add(Uint8Array.of(3));
    expect([...collector.bytes()]).toEqual([1, 2, 3]);
  }
  expect([...into]).toEqual([0, 0]);
});

test("a length that is told takes no memory before the bytes come when it is beyond belief", () => {
  const collector = new Collector({ what: WHAT, length: 2 ** 50 });
  collector.add(Uint8Array.of(1));
  expect(() => collector.bytes()).toThrow(`${WHAT}: 1 bytes of ${2 ** 50}`);
});

test("more or fewer bytes than were told may be other ones the next time", () => {
  const more = new Collector({ what: WHAT, length: 1 });
  const fewer = new Collector({ what: WHAT, length: 1 });
  for (const wrong of [() => more.add(Uint8Array.of(1, 2)), () => fewer.bytes()]) {
    expect(wrong).toThrow(
      expect.toSatisfy((error) => isVarveError(error, "storage-failed") && error.retryable),
    );
  }
});
