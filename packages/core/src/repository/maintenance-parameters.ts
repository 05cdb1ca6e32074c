import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { JsonRecord } from "../base/json.ts";
import { nsToMs } from "../base/time.ts";
import type { Labels } from "../manifest/manifest-store.ts";
import type { ClientIdentity, Repository } from "./repository.ts";

/** Who maintains a repository and how often: the manifest of type `maintenance` (spec §8.3). */

/** One of the two cycles. */
export interface CycleParameters {
  readonly enabled: boolean;
  /** Milliseconds. */
  readonly intervalMs: number;
}

export interface LogRetention {
  readonly maxTotalSizeBytes: number;
  readonly maxCount: number;
  readonly maxAgeMs: number;
}

export interface MaintenanceParameters {
  /** `user@host`; nobody else runs maintenance unless forced. */
  readonly owner: string;
  readonly quick: CycleParameters;
  readonly full: CycleParameters;
  readonly logRetention: LogRetention;
  readonly extendObjectLocks: boolean;
  /** 0 leaves it to the client. */
  readonly listParallelism: number;
}

/** Parameters as a repository has them. */
export interface StoredMaintenance extends MaintenanceParameters {
  /** Milliseconds since the Unix epoch. */
  readonly setMs: number;
}

type ManifestsOf = Pick<Repository, "manifests">;

/** Labels of the manifest. */
export const MAINTENANCE_LABELS: Labels = { type: "maintenance" };
const NS_PER_MS = 1_000_000;
const HOUR_MS = 3_600_000;

/** Kopia's defaults (spec §8.3). */
export function defaultMaintenance(owner: string): MaintenanceParameters {
  return {
    owner,
    quick: { enabled: true, intervalMs: HOUR_MS },
    full: { enabled: true, intervalMs: 24 * HOUR_MS },
    logRetention: { maxTotalSizeBytes: 2 ** 30, maxCount: 10_000, maxAgeMs: 720 * HOUR_MS },
    extendObjectLocks: false,
    listParallelism: 0,
  };
}

/** `user@host`, as the owner is written. */
export function clientName({ username, hostname }: ClientIdentity): string {
  return `${username}@${hostname}`;
}

/** `undefined` when nobody has set any. Throws `corrupt`. */
export async function getMaintenance(
  repository: ManifestsOf,
  options: CallOptions = {},
): Promise<StoredMaintenance | undefined> {
  const latest = (await repository.manifests.find(MAINTENANCE_LABELS, options)).at(-1);
  if (latest === undefined) {
    return undefined;
  }
  const { payload } = await repository.manifests.get(latest.id, options);
  return { ...parametersFromJson(payload), setMs: nsToMs(latest.modifiedNs) };
}

/** Replaces the parameters, pending until `flush`. Throws `invalid-argument` for what Kopia would not take. */
export async function setMaintenance(
  repository: ManifestsOf,
  parameters: MaintenanceParameters,
  options: CallOptions = {},
): Promise<void> {
  if (!/^[^@]+@[^@]+$/.test(parameters.owner)) {
    throw new VarveError("invalid-argument", `not user@host: ${JSON.stringify(parameters.owner)}`);
  }
  const old = await repository.manifests.find(MAINTENANCE_LABELS, options);
  await repository.manifests.put(MAINTENANCE_LABELS, parametersToJson(parameters), options);
  for (const { id } of old) {
    await repository.manifests.delete(id, options);
  }
}

/** The payload of the manifest. */
export function parametersToJson(parameters: MaintenanceParameters): object {
  const { owner, quick, full, logRetention, extendObjectLocks, listParallelism } = parameters;
  const cycle = ({ enabled, intervalMs }: CycleParameters): object => ({
    enabled,
    interval: intervalMs * NS_PER_MS,
  });
  return {
    owner,
    quick: cycle(quick),
    full: cycle(full),
    logRetention: {
      maxTotalSize: logRetention.maxTotalSizeBytes,
      maxCount: logRetention.maxCount,
      maxAge: logRetention.maxAgeMs * NS_PER_MS,
    },
    extendObjectLocks,
    listParallelism,
  };
}

function parametersFromJson(payload: unknown): MaintenanceParameters {
  const record = new JsonRecord(payload, "maintenance parameters");
  const logs = record.record("logRetention");
  const { logRetention } = defaultMaintenance("");
  return {
    owner: record.string("owner") ?? "",
    quick: cycleFromJson(record.record("quick")),
    full: cycleFromJson(record.record("full")),
    logRetention: {
      maxTotalSizeBytes: logs?.integer("maxTotalSize") ?? logRetention.maxTotalSizeBytes,
      maxCount: logs?.integer("maxCount") ?? logRetention.maxCount,
      maxAgeMs: duration(logs, "maxAge") ?? logRetention.maxAgeMs,
    },
    extendObjectLocks: record.boolean("extendObjectLocks") ?? false,
    listParallelism: record.integer("listParallelism") ?? 0,
  };
}

function cycleFromJson(record: JsonRecord | undefined): CycleParameters {
  return {
    enabled: record?.boolean("enabled") ?? false,
    intervalMs: duration(record, "interval") ?? 0,
  };
}

/** Go's durations are nanoseconds; years of them are beyond what a double holds exactly, which does no harm. */
function duration(record: JsonRecord | undefined, key: string): number | undefined {
  const value = record?.raw(key);
  if (value === undefined) {
    return undefined;
  }
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new VarveError("corrupt", `maintenance parameters: ${key} is not a duration`);
  }
  return value / NS_PER_MS;
}
