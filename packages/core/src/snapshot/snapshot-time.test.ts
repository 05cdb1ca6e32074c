import { describe, expect, test } from "vitest";
import { formatTimeNs } from "../base/time.ts";
import { parseSnapshotTime } from "./snapshot-time.ts";

const nowMs = Date.UTC(2024, 2, 15, 13, 30, 0);

function limit(text: string): string {
  const choice = parseSnapshotTime(text, nowMs);
  return typeof choice === "string" ? choice : formatTimeNs(choice.beforeNs);
}

describe("parseSnapshotTime", () => {
  test.each([
    ["", "latest"],
    ["latest", "latest"],
    ["oldest", "oldest"],
    ["yesterday", "2024-03-15T00:00:00Z"],
    ["last-month", "2024-03-01T00:00:00Z"],
    ["last-year", "2024-01-01T00:00:00Z"],
    ["ago", "2024-03-16T00:00:00Z"],
    ["1d-ago", "2024-03-15T00:00:00Z"],
    ["2mo-ago", "2024-01-16T00:00:00Z"],
    ["1y-2mo-3d-ago", "2023-01-13T00:00:00Z"],
    ["1year-1months-ago", "2023-02-16T00:00:00Z"],
    ["2023", "2024-01-01T00:00:00Z"],
    ["2023-2", "2023-03-01T00:00:00Z"],
    ["2023-12", "2024-01-01T00:00:00Z"],
    ["2023-02-28", "2023-03-01T00:00:00Z"],
    ["2023-02-03T04", "2023-02-03T05:00:00Z"],
    ["2023-02-03 04:05", "2023-02-03T04:06:00Z"],
    ["2023-02-03T04:05:06", "2023-02-03T04:05:07Z"],
    ["2023-02-03T04:05:06Z", "2023-02-03T04:05:07Z"],
    ["2023-02-03T04:05:06+02:00", "2023-02-03T02:05:07Z"],
    ["2023-02-03 04:05:06-0130", "2023-02-03T05:35:07Z"],
    ["2023-02-03 04:05:06 UTC", "2023-02-03T04:05:07Z"],
    ["2023-02-03 04:05:06.789 UTC", "2023-02-03T04:05:06.79Z"],
  ])("%j means before %s", (text, expected) => {
    expect(limit(text)).toBe(expected);
  });

  test.each(["tomorrow", "2023-13", "2023-02-32", "24:00", "2023-02-03T24", "2023Z", "1d-2mo-ago"])(
    "%j means nothing",
    (text) => {
      expect(() => limit(text)).toThrow(expect.objectContaining({ code: "invalid-argument" }));
    },
  );
});
