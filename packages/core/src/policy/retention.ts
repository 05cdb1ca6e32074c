import type { CallOptions } from "../base/environment.ts";
import { msToNs, nsToMs } from "../base/time.ts";
import type { ManifestId } from "../manifest/manifest-store.ts";
import type { SnapshotSource } from "../snapshot/snapshot-manifest.ts";
import {
  type ManifestsOf,
  type SavedSnapshot,
  compareStart,
  listSnapshots,
} from "../snapshot/snapshots.ts";
import type { Policy, RetentionPolicy } from "./policy.ts";

/**
 * Which snapshots of one source are kept, and why (behaviour §2.4). All calendar arithmetic is in UTC; Kopia takes weeks and
 * cutoffs in the zone of the process, so that two hosts disagree on what to delete.
 */

const HOUR_NS = 3_600_000_000_000n;
const YOUNG_INCOMPLETE_NS = 4n * HOUR_NS;
const INCOMPLETE_KEPT = 3;

type Unit = "latest" | "hourly" | "daily" | "weekly" | "monthly" | "annual";
const LIMITS: readonly (readonly [Unit, keyof RetentionPolicy])[] = [
  ["latest", "keepLatest"],
  ["hourly", "keepHourly"],
  ["daily", "keepDaily"],
  ["weekly", "keepWeekly"],
  ["monthly", "keepMonthly"],
  ["annual", "keepAnnual"],
];

/**
 * The reasons for keeping each snapshot of one source, in the order latest, hourly, daily, weekly, monthly, annual; an empty
 * list means that only a pin keeps it. With all limits 0 or unset everything is kept.
 */
export function retentionReasons(
  snapshots: readonly SavedSnapshot[],
  policy: RetentionPolicy,
): Map<ManifestId, string[]> {
  const newestFirst = [...snapshots].sort((a, b) => compareStart(b, a));
  const reasons = new Map<ManifestId, string[]>(newestFirst.map(({ id }) => [id, []]));
  const newestComplete = newestFirst.find(({ incomplete }) => incomplete === undefined);
  for (const [unit, limitName] of LIMITS) {
    const limit = unit === "latest" ? latestLimit(policy) : policy[limitName];
    if (typeof limit !== "number" || newestComplete === undefined) {
      continue;
    }
    const cutoffNs = cutoff(unit, newestComplete.startTimeNs, limit);
    const taken = new Set<string>();
    for (const [index, { id, incomplete, startTimeNs }] of newestFirst.entries()) {
      const bucket = unit === "latest" ? String(index) : bucketOf(unit, startTimeNs);
      if (
        incomplete === undefined &&
        taken.size < limit &&
        !taken.has(bucket) &&
        (cutoffNs === undefined || startTimeNs >= cutoffNs)
      ) {
        taken.add(bucket);
        reasons.get(id)?.push(`${unit}-${taken.size}`);
      }
    }
  }
  for (const id of keptIncomplete(newestFirst)) {
    reasons.get(id)?.push("incomplete");
  }
  return reasons;
}

/**
 * Deletes the manifests of a source's snapshots that have neither reason nor pin, and gives them; with `dryRun` only gives
 * them. Damaged manifests are left alone. Does not flush.
 */
export async function applyRetention(
  repository: ManifestsOf,
  options: CallOptions & {
    readonly source: SnapshotSource;
    /** The effective policy of the source now. */
    readonly policy: Policy;
    readonly dryRun?: boolean | undefined;
  },
): Promise<readonly SavedSnapshot[]> {
  const { snapshots } = await listSnapshots(repository, { source: options.source }, options);
  const reasons = retentionReasons(snapshots, options.policy.retention ?? {});
  const expired = snapshots.filter(
    ({ id, pins }) => pins.length === 0 && reasons.get(id)?.length === 0,
  );
  if (options.dryRun !== true) {
    for (const { id } of expired) {
      await repository.manifests.delete(id, options);
    }
  }
  return expired;
}

function latestLimit(policy: RetentionPolicy): number | undefined {
  const total = LIMITS.reduce((sum, [, name]) => sum + Number(policy[name] ?? 0), 0);
  return total === 0 ? Number.POSITIVE_INFINITY : policy.keepLatest;
}

/** The newest ones, down to the first complete snapshot, as long as they are young or among the first three. */
function keptIncomplete(newestFirst: readonly SavedSnapshot[]): readonly ManifestId[] {
  const newestNs = newestFirst[0]?.startTimeNs ?? 0n;
  const end = newestFirst.findIndex(
    ({ incomplete, startTimeNs }, index) =>
      incomplete === undefined ||
      (newestNs - startTimeNs >= YOUNG_INCOMPLETE_NS && index >= INCOMPLETE_KEPT),
  );
  return newestFirst.slice(0, end < 0 ? undefined : end).map(({ id }) => id);
}

/** The earliest start time that counts; nothing when there is no such limit. */
function cutoff(unit: Unit, newestNs: bigint, limit: number): bigint | undefined {
  switch (unit) {
    case "latest":
      return undefined;
    case "hourly":
      return newestNs - BigInt(Math.trunc(limit)) * HOUR_NS;
    case "daily":
      return earlier(newestNs, { days: limit });
    case "weekly":
      return earlier(newestNs, { days: limit * 7 });
    case "monthly":
      return earlier(newestNs, { months: limit });
    default:
      return earlier(newestNs, { months: limit * 12 });
  }
}

/** By the calendar; a day that its month lacks runs over into the next. Nothing when that is before all dates. */
function earlier(
  timeNs: bigint,
  by: { readonly months?: number; readonly days?: number },
): bigint | undefined {
  const date = new Date(nsToMs(timeNs));
  const moved = new Date(date);
  moved.setUTCFullYear(
    date.getUTCFullYear(),
    date.getUTCMonth() - (by.months ?? 0),
    date.getUTCDate() - (by.days ?? 0),
  );
  return Number.isNaN(moved.getTime())
    ? undefined
    : msToNs(moved.getTime()) + (timeNs - msToNs(date.getTime()));
}

function bucketOf(unit: Exclude<Unit, "latest">, timeNs: bigint): string {
  const date = new Date(nsToMs(timeNs));
  const text = date.toISOString();
  switch (unit) {
    case "hourly":
      return text.slice(0, 13);
    case "daily":
      return text.slice(0, 10);
    case "weekly":
      return isoWeek(date);
    case "monthly":
      return text.slice(0, 7);
    default:
      return text.slice(0, 4);
  }
}

/** A week belongs to the year of its Thursday: the Thursday names it. */
function isoWeek(date: Date): string {
  const thursday = new Date(date);
  thursday.setUTCDate(date.getUTCDate() + 3 - ((date.getUTCDay() + 6) % 7));
  return thursday.toISOString().slice(0, 10);
}
