import type {
  MaintenanceParameters,
  StoredMaintenance,
} from "../repository/maintenance-parameters.ts";
import type { SafetyMargins } from "./safety.ts";
import { lastSuccessMs, type MaintenanceSchedule, type TaskName } from "./schedule.ts";

/** Which steps of full maintenance may run now, by what earlier runs have left in the history (behaviour §4.3, §4.4). */

/**
 * The schedule where none was written yet: each cycle is due for the first time an interval after the parameters were set. Kopia runs a full
 * cycle behind the first backup, which has left nothing to clean up. A history that was lost is due at once.
 */
export function withFirstTimes(
  schedule: MaintenanceSchedule,
  { setMs, quick, full }: StoredMaintenance,
): MaintenanceSchedule {
  const isNew = schedule.runs.size === 0 && schedule.nextFullMs === 0;
  return isNew && schedule.damage === undefined
    ? { ...schedule, nextFullMs: setMs + full.intervalMs, nextQuickMs: setMs + quick.intervalMs }
    : schedule;
}

/** What is due by the times in the schedule. */
export function dueMode(
  schedule: MaintenanceSchedule,
  { quick, full }: MaintenanceParameters,
  nowMs: number,
): "none" | "quick" | "full" {
  if (full.enabled && nowMs >= schedule.nextFullMs) {
    return "full";
  }
  return quick.enabled && nowMs >= schedule.nextQuickMs ? "quick" : "none";
}

/** A rewrite doubles what it moves, so there is none before the last one's leftovers are gone. */
export function mayRewrite(schedule: MaintenanceSchedule, margins: SafetyMargins): boolean {
  const rewrittenMs = lastSuccessMs(schedule, ...REWRITES);
  if (rewrittenMs === undefined || margins.minRewriteToDeletionMs === 0) {
    return true;
  }
  const deletedMs = lastSuccessMs(schedule, "quick-delete-blobs", "full-delete-blobs");
  return deletedMs !== undefined && deletedMs > rewrittenMs;
}

/** A client with an index from before the rewrite must have had the time to refresh it. */
export function mayDeletePacks(
  schedule: MaintenanceSchedule,
  { margins, nowMs }: { margins: SafetyMargins; nowMs: number },
): boolean {
  const rewrittenMs = lastEndMs(schedule, REWRITES);
  const delayMs = margins.minRewriteToDeletionMs;
  if (schedule.damage !== undefined && delayMs > 0) {
    return false; // a rewrite may have ended a moment ago; the next run knows that none has since
  }
  return rewrittenMs === undefined || delayMs === 0 || nowMs - rewrittenMs >= delayMs;
}

/**
 * Entries that were marked deleted at this time or before may be dropped: a collection since then, hours later, has had the
 * chance to unmark them. `undefined` while there are no two such collections.
 */
export function dropCutoffMs(
  schedule: MaintenanceSchedule,
  { margins, nowMs }: { margins: SafetyMargins; nowMs: number },
): number | undefined {
  if (!margins.requireTwoCollections) {
    return nowMs + SECOND_MS; // what was marked a moment ago may carry the next second
  }
  const [newest, ...earlier] = (schedule.runs.get("snapshot-gc") ?? [])
    .filter(({ success }) => success)
    .toSorted((a, b) => b.startMs - a.startMs);
  const first = earlier.find(
    ({ endMs }) => newest !== undefined && newest.startMs - endMs > margins.minBetweenCollectionsMs,
  );
  return first === undefined ? undefined : first.startMs - margins.dropMarginMs;
}

const SECOND_MS = 1000;

const REWRITES: readonly TaskName[] = ["quick-rewrite-contents", "full-rewrite-contents"];

/** A run that failed may have moved contents, too. */
function lastEndMs(schedule: MaintenanceSchedule, tasks: readonly TaskName[]): number | undefined {
  const ends = tasks.flatMap((task) => (schedule.runs.get(task) ?? []).map(({ endMs }) => endMs));
  return ends.length === 0 ? undefined : Math.max(...ends);
}
