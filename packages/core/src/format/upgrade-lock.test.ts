import { expect, test } from "vitest";
import { isLocked } from "./upgrade-lock.ts";

const lock = {
  ownerId: "o",
  creationTimeNs: 1_000_000_000_000_000_000n,
  advanceNoticeMs: 60_000,
  ioDrainTimeoutMs: 10_000,
  maxPermittedClockDriftMs: 5000,
  message: "",
};
const CREATED_MS = 1_000_000_000_000;

test("no lock does not lock", () => {
  expect(isLocked({ upgradeLock: undefined }, CREATED_MS)).toBe(false);
});

test("a lock with notice locks when only the time to drain is left", () => {
  const drainMs = 5000 + 2 * 10_000;
  const fromMs = CREATED_MS + 60_000 - drainMs;
  expect(isLocked({ upgradeLock: lock }, fromMs - 1)).toBe(false);
  expect(isLocked({ upgradeLock: lock }, fromMs)).toBe(true);
});

test("a lock whose notice is shorter than the drain locks at once, even before its time", () => {
  const upgradeLock = { ...lock, advanceNoticeMs: 24_999 };
  expect(isLocked({ upgradeLock }, 0)).toBe(true);
});
