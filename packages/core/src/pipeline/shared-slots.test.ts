import { expect, test } from "vitest";
import { SEALED_BATCH_BYTES, SHARED_SLOTS } from "../base/budget.ts";
import { SharedSlots } from "./shared-slots.ts";

test("two threads that see the same memory never have the same slot, and get none when all are taken", () => {
  const here = new SharedSlots();
  const there = new SharedSlots(here.memory);
  const taken = Array.from({ length: SHARED_SLOTS }, (_, index) =>
    (index % 2 === 0 ? here : there).take(SEALED_BATCH_BYTES),
  );
  expect(new Set(taken)).toEqual(new Set(Array.from({ length: SHARED_SLOTS }, (_, slot) => slot)));
  expect(here.take(1)).toBeUndefined();
  expect(there.take(1)).toBeUndefined();
  there.giveBack(7);
  there.giveBack(5);
  expect(here.take(1)).toBe(5);
});

test("slots do not overlap, and tell which they are", () => {
  const slots = new SharedSlots();
  slots.bytesOf(3).fill(3);
  slots.bytesOf(5).fill(5);
  slots.bytesOf(4).fill(4);
  expect(new Set(slots.bytesOf(3))).toEqual(new Set([3]));
  expect(new Set(slots.bytesOf(5))).toEqual(new Set([5]));
  expect(slots.slotOf(slots.bytesOf(4).subarray(0, 10))).toBe(4);
  expect(slots.slotOf(new Uint8Array(10))).toBeUndefined();
});

test("a batch that is longer than a slot gets none", () => {
  const slots = new SharedSlots();
  expect(slots.take(slots.bytesOf(0).length)).toBe(0);
  expect(slots.take(slots.bytesOf(0).length + 1)).toBeUndefined();
});
