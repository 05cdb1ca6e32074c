import { expect, test } from "vitest";
import { durationMs, formatDuration, formatTime, parseDuration, parseTime } from "./duration.ts";

test("durations are read as Go reads them", () => {
  const cases: [string, number | undefined][] = [
    ["720h0m0s", 2_592_000_000],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    ["250ms", 250],
    ["0", 0],
    ["0s", 0],
    ["-5m", -300_000],
    ["10", undefined],
    ["", undefined],
    ["1d", undefined],
    ["h", undefined],
  ];
  for (const [text, ms] of cases) {
    expect(parseDuration(text), text).toBe(ms);
  }
});

test("they are written as Go writes them", () => {
  const cases = ["720h0m0s", "10m0s", "1m30s", "1.5s", "250ms", "0s", "-5m0s"];
  expect(cases.map((text) => formatDuration(parseDuration(text) ?? Number.NaN))).toEqual(cases);
});

test("zero, nothing and nonsense mean the default", () => {
  expect([undefined, null, "0s", "x"].map((text) => durationMs(text, 7))).toEqual([7, 7, 7, 7]);
  expect(durationMs("2s", 7)).toBe(2000);
});

test("times are whole seconds in UTC", () => {
  expect(formatTime(Date.UTC(2026, 0, 2, 3, 4, 5, 999))).toBe("2026-01-02T03:04:05Z");
  expect(parseTime("2026-01-02T03:04:05Z")).toBe(Date.UTC(2026, 0, 2, 3, 4, 5));
  expect([undefined, null, "soon"].map(parseTime)).toEqual([undefined, undefined, undefined]);
});
