import { JsonRecord, parseJson } from "../base/json.ts";
import { VarveError } from "../base/errors.ts";
import { NO_USAGE, type RequestKind, type Usage } from "../blob/meter.ts";
import { amountOf, parsePrices, type PlanLimits, type Prices } from "./prices.ts";
import type { Safety } from "./safety.ts";
import type { TaskName } from "./schedule.ts";

/** What a run of maintenance would do now, and what it would take: plain JSON, to be kept and given to `runMaintenance`. */
export interface MaintenancePlan {
  /** Version of this form. */
  readonly plan: 1;
  /** The repository's unique id in hexadecimal. */
  readonly repository: string;
  /** Milliseconds since the Unix epoch. */
  readonly plannedMs: number;
  /** `none`: nothing is due. */
  readonly mode: "none" | "quick" | "full" | "emergency";
  readonly safety: Safety;
  /**
   * In their order; the first is what it takes to open the repository and to begin, the last to record what is not recorded yet. An
   * emergency deletes before anything is written, and then some of its steps come a second time.
   */
  readonly steps: readonly PlanStep[];
  readonly total: PlanFigures;
  /** What a run with this plan may use: the total, and a little for what differs by chance. */
  readonly limits: PlanLimits;
  readonly prices: Prices;
  readonly timing: PlanTiming;
  /** What making the plan has taken. It has written nothing. */
  readonly spent: Usage;
}

export interface PlanFigures extends Usage {
  /** Of blobs that are deleted. */
  readonly bytesFreed: number;
  readonly estimatedMs: number;
  /** In the currency of the prices. */
  readonly cost: number;
}

export interface PlanStep extends PlanFigures {
  readonly step: TaskName | "open" | "close";
  /** Why it will be left out. */
  readonly skipped?: string | undefined;
}

/**
 * What times are computed from: of each step the work of this machine as the rehearsal took it, a latency for every request, shared
 * by those that were under way at once, and the bytes by the bandwidth.
 */
export interface PlanTiming {
  readonly latencyMs: number;
  readonly bytesPerSecond: number;
  /** Requests that it was measured on; 0 where it was given or assumed. */
  readonly latencySamples: number;
  readonly bandwidthSamples: number;
}

const WHAT = "maintenance plan";

/** Throws `corrupt`. */
export function parseMaintenancePlan(bytes: Uint8Array): MaintenancePlan {
  const record = new JsonRecord(parseJson(bytes, WHAT), WHAT);
  const version = record.requireInteger("plan");
  if (version !== 1) {
    throw new VarveError("corrupt", `${WHAT}: version ${version} is not known`);
  }
  const limits = record.requireRecord("limits");
  const timing = record.requireRecord("timing");
  return {
    plan: version,
    repository: record.requireString("repository"),
    plannedMs: record.requireInteger("plannedMs"),
    mode: oneOf(record, "mode", ["none", "quick", "full", "emergency"]),
    safety: oneOf(record, "safety", ["full", "none"]),
    steps: (record.records("steps") ?? []).map((step) => ({
      // Compared with names of steps only.
      step: step.requireString("step") as PlanStep["step"],
      skipped: step.string("skipped"),
      ...figuresFrom(step),
    })),
    total: figuresFrom(record.requireRecord("total")),
    limits: {
      requests: requireAmount(limits, "requests"),
      bytesRead: requireAmount(limits, "bytesRead"),
      bytesWritten: requireAmount(limits, "bytesWritten"),
      cost: requireAmount(limits, "cost"),
    },
    prices: parsePrices(record.raw("prices")),
    timing: {
      latencyMs: requireAmount(timing, "latencyMs"),
      bytesPerSecond: requireAmount(timing, "bytesPerSecond"),
      latencySamples: requireAmount(timing, "latencySamples"),
      bandwidthSamples: requireAmount(timing, "bandwidthSamples"),
    },
    spent: usageFrom(record.requireRecord("spent")),
  };
}

function figuresFrom(record: JsonRecord): PlanFigures {
  return {
    ...usageFrom(record),
    bytesFreed: requireAmount(record, "bytesFreed"),
    estimatedMs: requireAmount(record, "estimatedMs"),
    cost: requireAmount(record, "cost"),
  };
}

function usageFrom(record: JsonRecord): Usage {
  const requests = record.requireRecord("requests");
  const counts = (Object.keys(NO_USAGE.requests) as RequestKind[]).map((kind) => [
    kind,
    requireAmount(requests, kind),
  ]); // the keys of a constant of that type
  return {
    requests: { ...NO_USAGE.requests, ...Object.fromEntries(counts) },
    bytesRead: requireAmount(record, "bytesRead"),
    bytesWritten: requireAmount(record, "bytesWritten"),
  };
}

function requireAmount(record: JsonRecord, key: string): number {
  const value = amountOf(record, key);
  if (value === undefined) {
    throw new VarveError("corrupt", `${record.what}: ${JSON.stringify(key)} is missing`);
  }
  return value;
}

function oneOf<T extends string>(record: JsonRecord, key: string, known: readonly T[]): T {
  const text = record.requireString(key);
  const found = known.find((value) => value === text);
  if (found === undefined) {
    throw new VarveError("corrupt", `${WHAT}: ${key} ${JSON.stringify(text)} is not known`);
  }
  return found;
}
