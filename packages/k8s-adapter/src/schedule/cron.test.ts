import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCron } from "./cron.ts";

/** The next times, in order, after a time; the instants are worked out by hand from Go's cron library's rules. */
const TABLE: readonly (readonly [string, string, readonly string[]])[] = [
  ["0 7 * * *", "2026-01-01T07:00:00Z", ["2026-01-02T07:00:00Z", "2026-01-03T07:00:00Z"]],
  ["*/10 * * * *", "2026-01-01T23:45:10Z", ["2026-01-01T23:50:00Z", "2026-01-02T00:00:00Z"]],
  ["30 4 31 * *", "2026-01-31T05:00:00Z", ["2026-03-31T04:30:00Z", "2026-05-31T04:30:00Z"]],
  ["0 0 30 2 *", "2026-01-01T00:00:00Z", []],
  ["0 12 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"]],
  // Both days restricted: either will do. 2026-06-01 is a Monday.
  ["0 0 13 * FRI", "2026-06-06T00:00:00Z", ["2026-06-12T00:00:00Z", "2026-06-13T00:00:00Z"]],
  ["0 0 ? * 0", "2026-06-01T00:00:00Z", ["2026-06-07T00:00:00Z", "2026-06-14T00:00:00Z"]],
  ["0 0 1 * ?", "2026-06-01T00:00:00Z", ["2026-07-01T00:00:00Z"]],
  // A star with a step is a restriction, a step of one is none.
  ["0 0 */10 * MON", "2026-06-01T00:00:00Z", ["2026-06-08T00:00:00Z", "2026-06-11T00:00:00Z"]],
  ["0 0 */1 * MON", "2026-06-01T00:00:00Z", ["2026-06-08T00:00:00Z", "2026-06-15T00:00:00Z"]],
  ["5/20 3 * * *", "2026-06-01T00:00:00Z", ["2026-06-01T03:05:00Z", "2026-06-01T03:25:00Z"]],
  ["0 0 1 jan-Mar,DEC *", "2026-02-02T00:00:00Z", ["2026-03-01T00:00:00Z", "2026-12-01T00:00:00Z"]],
  ["0 22 * * mon-fri", "2026-06-05T22:00:00Z", ["2026-06-08T22:00:00Z"]],
  ["@yearly", "2026-06-01T00:00:00Z", ["2027-01-01T00:00:00Z"]],
  ["@monthly", "2026-06-01T00:00:00Z", ["2026-07-01T00:00:00Z"]],
  ["@weekly", "2026-06-01T00:00:00Z", ["2026-06-07T00:00:00Z"]],
  ["@daily", "2026-12-31T00:00:01Z", ["2027-01-01T00:00:00Z"]],
  ["@hourly", "2026-06-01T00:59:59Z", ["2026-06-01T01:00:00Z"]],
  ["@every 1h30m", "2026-06-01T00:00:07.900Z", ["2026-06-01T01:30:07Z", "2026-06-01T03:00:07Z"]],
  ["@every 100ms", "2026-06-01T00:00:00Z", ["2026-06-01T00:00:01Z"]],
  ["TZ=Europe/Berlin 0 7 * * *", "2026-06-01T06:00:00Z", ["2026-06-02T05:00:00Z"]],
  ["CRON_TZ=Asia/Tokyo 0 6 * * *", "2026-06-01T00:00:00Z", ["2026-06-01T21:00:00Z"]],
  // Clocks go forward on 29 March 2026 and back on 25 October: a time in the gap comes right after it, one of two comes once.
  [
    "CRON_TZ=Europe/Berlin 30 2 * * *",
    "2026-03-28T12:00:00Z",
    ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"],
  ],
  [
    "CRON_TZ=Europe/Berlin 30 2 * * *",
    "2026-10-24T12:00:00Z",
    ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
  ],
  [
    "CRON_TZ=Europe/Berlin 0 7 * * *",
    "2026-03-28T12:00:00Z",
    ["2026-03-29T05:00:00Z", "2026-03-30T05:00:00Z"],
  ],
];

describe("claim 31: next run times", () => {
  for (const [expression, after, expected] of TABLE) {
    test(`${expression} after ${after}`, () => {
      const cron = parseCron(expression);
      const times: string[] = [];
      let timeMs: number | undefined = Date.parse(after);
      for (let count = 0; count < Math.max(1, expected.length); count++) {
        timeMs = cron.next(timeMs);
        if (timeMs === undefined) {
          break;
        }
        times.push(new Date(timeMs).toISOString().replace(".000Z", "Z"));
      }
      expect(times).toEqual(expected);
    });
  }
});

describe("claim 31: a bad expression is refused", () => {
  for (const expression of [
    "",
    "* * * *",
    "* * * * * *",
    "0 0 * * 7",
    "60 * * * *",
    "0 24 * * *",
    "0 0 0 * *",
    "0 0 32 * *",
    "0 0 * 13 *",
    "0 0 * FEBR *",
    "*/0 * * * *",
    "5-1 * * * *",
    "0 0 L * *",
    "0 0 * * MON#1",
    "0 0 15W * *",
    "1,,2 * * * *",
    "-1 * * * *",
    "@reboot",
    "@every",
    "@every often",
    "@every -5m",
    "TZ=Nowhere/Land 0 7 * * *",
    "TZ=UTC",
    "0 7 * * * # every day",
  ]) {
    test(JSON.stringify(expression), () => {
      expect(() => parseCron(expression)).toThrow(/^invalid schedule: /);
    });
  }
});

test("any text is a schedule or refused, and the next time is later", () => {
  const piece = fc.constantFrom(
    "*",
    "?",
    "0",
    "1-5",
    "*/7",
    "MON",
    "29",
    "5/2",
    "TZ=UTC",
    "@",
    ",",
    "99999999999",
  );
  const text = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.array(piece, { maxLength: 8 }).map((all) => all.join(" ")),
  );
  fc.assert(
    fc.property(text, fc.integer({ min: 0, max: 4e12 }), (expression, afterMs) => {
      let nextMs: number | undefined;
      try {
        nextMs = parseCron(expression).next(afterMs);
      } catch (error) {
        expect(error).toMatchObject({ code: "invalid-argument" });
      }
      expect(nextMs ?? afterMs + 1).toBeGreaterThan(afterMs);
    }),
    { seed: 1, numRuns: 300 },
  );
});
