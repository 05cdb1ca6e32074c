import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseTimeNs } from "../base/time.ts";
import { type ManifestId, parseManifestId } from "../manifest/manifest-store.ts";
import { parseObjectId } from "../object/object-id.ts";
import type { SavedSnapshot } from "../snapshot/snapshots.ts";
import { DEFAULT_POLICY } from "./default-policy.ts";
import { retentionReasons } from "./retention.ts";

function snapshot(time: string, more: Partial<SavedSnapshot> = {}): SavedSnapshot {
  const startTimeNs = parseTimeNs(time);
  return {
    id: parseManifestId(time),
    source: { host: "h", userName: "u", path: "/p" },
    description: "",
    startTimeNs,
    endTimeNs: startTimeNs,
    stats: {
      totalSize: 0,
      excludedTotalSize: 0,
      fileCount: 0,
      cachedFiles: 0,
      nonCachedFiles: 0,
      dirCount: 0,
      excludedFileCount: 0,
      excludedDirCount: 0,
      ignoredErrorCount: 0,
      errorCount: 0,
    },
    root: {
      name: "p",
      type: "directory",
      mode: 0o755,
      sizeBytes: 0,
      mtimeNs: 0n,
      uid: 0,
      gid: 0,
      object: parseObjectId("kaa"),
    },
    tags: {},
    pins: [],
    ...more,
  };
}

function reasonsByTime(
  snapshots: readonly SavedSnapshot[],
  policy: Parameters<typeof retentionReasons>[1],
): Record<string, string> {
  return Object.fromEntries(
    [...retentionReasons(snapshots, policy)].map(([id, reasons]) => [id, reasons.join(",")]),
  );
}

describe("retentionReasons", () => {
  test("the table that stock Kopia gave in UTC", () => {
    const expected: Record<string, string> = {
      "2024-03-31T08:30:00Z": "latest-1,hourly-1,daily-1,weekly-1,monthly-1,annual-1",
      "2024-03-31T08:20:00Z": "latest-2",
      "2024-03-31T08:10:00Z": "",
      "2024-03-31T07:10:00Z": "hourly-2",
      "2024-03-31T06:50:00Z": "hourly-3",
      "2024-03-31T06:10:00Z": "",
      "2024-03-30T12:00:00Z": "daily-2",
      "2024-03-29T12:00:00Z": "daily-3",
      "2024-03-28T12:00:00Z": "",
      "2024-03-25T00:00:00Z": "",
      "2024-03-24T23:59:59Z": "weekly-2",
      "2024-03-10T12:00:00Z": "",
      "2024-02-15T12:00:00Z": "monthly-2",
      "2024-01-01T00:30:00Z": "monthly-3",
      "2023-12-31T12:00:00Z": "annual-2",
      "2022-06-01T12:00:00Z": "",
    };
    const policy = {
      keepLatest: 2,
      keepHourly: 3,
      keepDaily: 3,
      keepWeekly: 2,
      keepMonthly: 3,
      keepAnnual: 2,
    };
    const snapshots = Object.keys(expected).map((time) => snapshot(time));
    expect(reasonsByTime(snapshots, policy)).toEqual(expected);
    expect(reasonsByTime(snapshots.toReversed(), policy)).toEqual(expected);
  });

  test.each([
    [
      "all limits 0",
      { keepLatest: 0, keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0, keepAnnual: 0 },
    ],
    ["no limits", {}],
  ])("%s: everything is kept as latest", (_, policy) => {
    const snapshots = Array.from({ length: 30 }, (_, index) =>
      snapshot(`20${index + 10}-01-01T00:00:00Z`),
    );
    expect(Object.values(reasonsByTime(snapshots, policy)).sort()).toEqual(
      Array.from({ length: 30 }, (_, index) => `latest-${index + 1}`).sort(),
    );
  });

  test("a unit without limit gives no reasons while another has one", () => {
    expect(
      reasonsByTime([snapshot("2024-01-01T00:00:00Z"), snapshot("2024-01-02T00:00:00Z")], {
        keepAnnual: 1,
      }),
    ).toEqual({
      "2024-01-01T00:00:00Z": "",
      "2024-01-02T00:00:00Z": "annual-1",
    });
  });

  test("incomplete ones since the last complete: the newest three, and those younger than four hours", () => {
    const at = (time: string): SavedSnapshot =>
      snapshot(`2024-01-01T${time}:00Z`, { incomplete: "limit reached" });
    const times = ["02:00", "04:00", "06:00", "09:30", "10:00", "11:00", "12:00"];
    const snapshots = [
      snapshot("2023-12-31T23:00:00Z", { incomplete: "checkpoint" }),
      snapshot("2024-01-01T00:00:00Z"),
      ...times.map(at),
    ];
    const kept = Object.entries(reasonsByTime(snapshots, { keepLatest: 1 }))
      .filter(([, reasons]) => reasons !== "")
      .map(([time, reasons]) => `${time.slice(11, 16)} ${reasons}`)
      .sort();
    // Newest first the complete one is the eighth, so it is no latest by its place but by its count.
    expect(kept).toEqual([
      "00:00 latest-1",
      "09:30 incomplete",
      "10:00 incomplete",
      "11:00 incomplete",
      "12:00 incomplete",
    ]);
    expect(
      reasonsByTime([at("00:00"), at("05:00"), at("10:00"), at("20:00")], { keepLatest: 1 }),
    ).toMatchObject({
      "2024-01-01T00:00:00Z": "",
      "2024-01-01T05:00:00Z": "incomplete",
      "2024-01-01T20:00:00Z": "incomplete",
    });
  });

  test("months shorter than the day run over, as in Go", () => {
    // 31 March less one month is 31 February, that is 2 March in 2024: what lies before is too old.
    const snapshots = ["2024-03-31T00:00:00Z", "2024-02-29T23:00:00Z"].map((time) =>
      snapshot(time),
    );
    expect(reasonsByTime(snapshots, { keepMonthly: 1 })["2024-02-29T23:00:00Z"]).toBe("");
    const three = ["2024-03-31T00:00:00Z", "2024-03-01T00:00:00Z", "2024-02-20T00:00:00Z"].map(
      (time) => snapshot(time),
    );
    expect(reasonsByTime(three, { keepMonthly: 2 })["2024-02-20T00:00:00Z"]).toBe("monthly-2");
  });

  test("weeks are ISO weeks: the last days of a year may belong to the next", () => {
    const snapshots = ["2024-12-29T12:00:00Z", "2024-12-30T12:00:00Z", "2025-01-05T12:00:00Z"].map(
      (time) => snapshot(time),
    );
    expect(reasonsByTime(snapshots, { keepWeekly: 3 })).toEqual({
      "2024-12-29T12:00:00Z": "weekly-2",
      "2024-12-30T12:00:00Z": "",
      "2025-01-05T12:00:00Z": "weekly-1",
    });
  });

  test("limits beyond all dates are no limits", () => {
    const snapshots = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"].map((time) =>
      snapshot(time),
    );
    const reasons = reasonsByTime(snapshots, {
      keepDaily: Number.MAX_SAFE_INTEGER,
      keepHourly: Number.MAX_SAFE_INTEGER,
      keepAnnual: 1_000_000,
    });
    expect(reasons["0001-01-01T00:00:00Z"]).toBe("hourly-2,daily-2,annual-2");
  });

  test("the newest complete snapshot always has a reason, and every id an answer", () => {
    const times = fc.uniqueArray(fc.integer({ min: 0, max: 2_000_000_000 }), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(times, fc.array(fc.boolean(), { maxLength: 40 }), (seconds, incomplete) => {
        const snapshots = seconds.map((second, index) =>
          snapshot(
            new Date(second * 1000).toISOString(),
            incomplete[index] ? { incomplete: "checkpoint" } : {},
          ),
        );
        const reasons: ReadonlyMap<ManifestId, string[]> = retentionReasons(
          snapshots,
          DEFAULT_POLICY.retention ?? {},
        );
        expect(reasons.size).toBe(snapshots.length);
        const newest = snapshots
          .filter((one) => one.incomplete === undefined)
          .sort((a, b) => Number(b.startTimeNs - a.startTimeNs))[0];
        expect(newest === undefined || reasons.get(newest.id)?.[0] === "latest-1").toBe(true);
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});
