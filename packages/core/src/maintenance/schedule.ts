import type { CallOptions, Environment } from "../base/environment.ts";
import type { VarveError } from "../base/errors.ts";
import { encodeJson, JsonRecord, parseJson } from "../base/json.ts";
import { formatTimeNs, msToNs, nsToMs, parseTimeNs } from "../base/time.ts";
import { damageOf } from "../blob/damaged-blob.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import { type BlobId, type BlobInfo, type BlobStore, parseBlobId } from "../blob/store.ts";
import { NONCE_SIZE } from "../crypto/aead.ts";
import { deriveMaintenanceKeys } from "../crypto/derived-keys.ts";
import type { Crypto } from "../crypto/registry.ts";
import type { JsonObject, RepositoryFormat } from "../format/format.ts";

/**
 * When maintenance runs next and what it did: the blob `kopia.maintenance` (spec §8.3). Kopia's own rules read the
 * history, so it is kept as it was found and only added to.
 */

export const MAINTENANCE_BLOB: BlobId = parseBlobId("kopia.maintenance");

/** Kopia's names of the tasks. */
export type TaskName =
  | "snapshot-gc"
  | "quick-rewrite-contents"
  | "full-rewrite-contents"
  | "full-drop-deleted-content"
  | "quick-delete-blobs"
  | "full-delete-blobs"
  | "index-compaction"
  | "extend-blob-retention-time"
  | "cleanup-logs"
  | "advance-epoch"
  | "compact-single-epoch"
  | "generate-epoch-range-index"
  | "cleanup-epoch-markers"
  | "delete-superseded-epoch-indexes";

/** Neither our rules nor Kopia's look at when these were: each record would cost a round trip. */
export const RECORDED_LATER: ReadonlySet<TaskName> = new Set<TaskName>([
  "compact-single-epoch",
  "advance-epoch",
  "generate-epoch-range-index",
  "cleanup-epoch-markers",
  "delete-superseded-epoch-indexes",
  "cleanup-logs",
]);

export interface TaskRun {
  readonly startMs: number;
  readonly endMs: number;
  readonly success: boolean;
  readonly error?: string | undefined;
  /** As it was read: members that varve does not know are written again. */
  readonly stored?: JsonObject | undefined;
}

export interface MaintenanceSchedule {
  /** Milliseconds since the Unix epoch; 0 means at once. */
  readonly nextFullMs: number;
  readonly nextQuickMs: number;
  /** By task, newest first. */
  readonly runs: ReadonlyMap<string, readonly TaskRun[]>;
  /** Why the blob could not be read: then this is a new history, and what was done lately is not known. */
  readonly damage?: VarveError | undefined;
}

const MAX_RUNS_PER_TASK = 50;
const EMPTY: MaintenanceSchedule = { nextFullMs: 0, nextQuickMs: 0, runs: new Map() };
const WHAT = "maintenance schedule";

/** The history with one more run of a task. */
export function withRun(
  schedule: MaintenanceSchedule,
  task: TaskName,
  run: TaskRun,
): MaintenanceSchedule {
  const runs = new Map(schedule.runs);
  runs.set(task, [run, ...(runs.get(task) ?? [])].slice(0, MAX_RUNS_PER_TASK));
  return { ...schedule, runs };
}

/** End of the latest successful run of any of the tasks. */
export function lastSuccessMs(
  schedule: MaintenanceSchedule,
  ...tasks: readonly TaskName[]
): number | undefined {
  const ends = tasks.flatMap((task) =>
    (schedule.runs.get(task) ?? []).filter(({ success }) => success).map(({ endMs }) => endMs),
  );
  return ends.length === 0 ? undefined : Math.max(...ends);
}

export interface ScheduleDeps {
  readonly store: BlobStore;
  readonly format: RepositoryFormat;
  readonly crypto: Crypto;
  readonly environment: Environment;
}

/** An empty schedule when maintenance has never run, and when the blob is damaged. */
export async function readSchedule(
  deps: Omit<ScheduleDeps, "environment">,
  { signal }: CallOptions = {},
): Promise<MaintenanceSchedule> {
  const sealed = await getIfPresent(deps.store, MAINTENANCE_BLOB, { signal });
  if (sealed === undefined) {
    return EMPTY;
  }
  const keys = deriveMaintenanceKeys(deps.crypto, deps.format);
  try {
    return scheduleFromJson(parseJson(deps.crypto.openAesGcm({ ...keys, sealed }), WHAT));
  } catch (error) {
    const damage = damageOf(error);
    if (damage === undefined) {
      throw error;
    }
    return { ...EMPTY, damage };
  }
}

/** Replaces the blob; the result carries storage's time. */
export async function writeSchedule(
  { store, format, crypto, environment }: ScheduleDeps,
  schedule: MaintenanceSchedule,
  { signal }: CallOptions = {},
): Promise<BlobInfo> {
  const nonce = environment.randomBytes(NONCE_SIZE);
  const keys = deriveMaintenanceKeys(crypto, format);
  const plain = encodeJson(scheduleToJson(schedule));
  return await store.put(MAINTENANCE_BLOB, [crypto.sealAesGcm({ ...keys, nonce, plain })], {
    signal,
  });
}

function scheduleToJson(schedule: MaintenanceSchedule): object {
  const runs = Array.from(schedule.runs, ([task, list]) => [task, list.map(runToJson)]);
  return {
    nextFullMaintenance: timeText(schedule.nextFullMs),
    nextQuickMaintenance: timeText(schedule.nextQuickMs),
    runs: Object.fromEntries(runs),
  };
}

function runToJson({ startMs, endMs, success, error, stored }: TaskRun): object {
  return stored ?? { start: timeText(startMs), end: timeText(endMs), success, error };
}

function scheduleFromJson(json: unknown): MaintenanceSchedule {
  const record = new JsonRecord(json, WHAT);
  const runs = new Map<string, readonly TaskRun[]>();
  const lists = record.record("runs");
  for (const task of lists?.keys() ?? []) {
    runs.set(task, lists?.records(task)?.map(runFromJson) ?? []);
  }
  return {
    nextFullMs: timeOf(record, "nextFullMaintenance"),
    nextQuickMs: timeOf(record, "nextQuickMaintenance"),
    runs,
  };
}

function runFromJson(record: JsonRecord): TaskRun {
  return {
    startMs: timeOf(record, "start"),
    endMs: timeOf(record, "end"),
    success: record.boolean("success") ?? false,
    error: record.string("error"),
    stored: Object.fromEntries(record.keys().map((key) => [key, record.raw(key)])),
  };
}

function timeText(ms: number): string {
  return formatTimeNs(msToNs(ms));
}

/** Go's zero time, the year 1, is 0 like absence. */
function timeOf(record: JsonRecord, key: string): number {
  const text = record.string(key);
  return text === undefined ? 0 : Math.max(0, nsToMs(parseTimeNs(text)));
}
