import { toHex } from "../base/bytes.ts";
import { systemEnvironment } from "../base/environment.ts";
import type { CacheSource } from "../blob/blob-cache.ts";
import { addUsage, meteredStore, NO_USAGE, requestCount, type Usage } from "../blob/meter.ts";
import type { BlobStore } from "../blob/store.ts";
import type { ScratchFile } from "../index/slabs.ts";
import { openRepository, type OpenRepositoryOptions } from "../repository/open-repository.ts";
import type { MaintenancePlan, PlanFigures, PlanStep, PlanTiming } from "./plan-file.ts";
import { costOf, type PlanLimits, type Prices, S3_PRICES } from "./prices.ts";
import { type Answers, RehearsalStore } from "./rehearsal-store.ts";
import { maintainRepository, type MaintenanceOptions } from "./run.ts";
import type { TaskName } from "./schedule.ts";
import type { TaskReport } from "./task-log.ts";

/**
 * A plan is the count of a rehearsal: maintenance itself, run on storage that remembers what is written and deleted instead of doing
 * it. So there is no second opinion on what would be done. It reads what maintenance reads to decide (listings, indexes,
 * directories), but none of the contents that would be moved, and writes nothing, not even to the cache.
 */

export interface PlanOptions
  extends OpenRepositoryOptions,
    Pick<MaintenanceOptions, "safety" | "force"> {
  /** As of `runMaintenance`. Default `auto`. */
  readonly mode?: MaintenanceOptions["mode"];
  /** Default: Amazon S3's. */
  readonly prices?: Prices | undefined;
  /** How long a request takes. Default: as measured while planning. */
  readonly latencyMs?: number | undefined;
  /** Default: as measured while planning, and 50 MB/s where nothing was large enough to tell. */
  readonly bytesPerSecond?: number | undefined;
}

/** What differs by chance: how contents that are read side by side fall into packs, how long a time is in JSON. */
const SPARE_SHARE = 0.01;
const SPARE_REQUESTS = 4;
const SPARE_BYTES = 256 * 1024;

/** Steps whose `bytes` are those of blobs that they delete. */
const FREEING: ReadonlySet<TaskName> = new Set([
  "quick-delete-blobs",
  "full-delete-blobs",
  "index-compaction",
  "cleanup-epoch-markers",
  "delete-superseded-epoch-indexes",
  "cleanup-logs",
]);

const ASSUMED_LATENCY_MS = 20;
const ASSUMED_BYTES_PER_SECOND = 50_000_000;

/**
 * What `runMaintenance` would do on a repository just opened. `store` stays the caller's. Throws as opening the repository and
 * `runMaintenance` do.
 */
export async function planMaintenance(
  store: BlobStore,
  options: PlanOptions,
): Promise<MaintenancePlan> {
  const { mode, safety = "full", force, prices = S3_PRICES, signal } = options;
  const environment = options.environment ?? systemEnvironment();
  const plannedMs = environment.nowMs();
  const real = meteredStore(store);
  using scratch = await scratchFile(options);
  const rehearsed = new RehearsalStore(real, { environment, scratch });
  const metered = meteredStore(rehearsed);
  const laps = new Laps(() => ({
    usage: metered.meter.used,
    mostAtOnce: metered.meter.takeMostAtOnce(),
    workedMs: environment.nowMs() - rehearsed.answers.waitedMs,
  }));
  await using repository = await openRepository(metered, {
    ...options,
    environment,
    readOnly: false,
    work: "maintenance",
    cache: options.cache && unchangedCache(options.cache),
  });
  const rehearsal = { store: rehearsed, onStep: (step: PlanStep["step"]) => laps.end(step) };
  const report = await maintainRepository(repository, { mode, safety, force, signal }, rehearsal);
  const timing = timingOf(rehearsed.answers, options);
  const steps = planSteps(report.tasks, (step) => figuresOf(laps.take(step), { timing, prices }));
  const total = steps.reduce<PlanFigures>(addFigures, NO_FIGURES);
  return {
    plan: 1,
    repository: toHex(repository.format.uniqueId),
    plannedMs,
    mode: report.mode,
    safety,
    steps,
    total,
    limits: limitsOf(total, prices),
    prices,
    timing,
    spent: real.meter.used,
  };
}

async function scratchFile(options: PlanOptions): Promise<ScratchFile | undefined> {
  if (options.maxMemoryBytes === undefined) {
    return undefined;
  }
  const { openScratchFile } = await import("../content/scratch-file.ts");
  return openScratchFile(options.scratchDirectory);
}

/** What is not there now is not there when the plan is run either. */
function unchangedCache(source: CacheSource): CacheSource {
  return {
    cacheOf: (repositoryId) => {
      const cache = source.cacheOf(repositoryId);
      return {
        get: (name, range) => cache.get(name, range),
        put: async () => {},
        drop: async () => {},
      };
    },
  };
}

interface Reading {
  readonly usage: Usage;
  readonly mostAtOnce: number;
  /** Time that no request was waited for. */
  readonly workedMs: number;
}

const NO_READING: Reading = { usage: NO_USAGE, mostAtOnce: 0, workedMs: 0 };

/** What lies between the ends of two steps. */
class Laps {
  readonly #read: () => Reading;
  readonly #laps: { readonly step: PlanStep["step"]; readonly reading: Reading }[] = [];
  #last: Reading;

  constructor(read: () => Reading) {
    this.#read = read;
    this.#last = read();
  }

  end(step: PlanStep["step"]): void {
    const now = this.#read();
    const opened = step === "open" ? this.take(step) : NO_READING;
    const reading = {
      usage: addUsage(opened.usage, addUsage(now.usage, this.#last.usage, -1)),
      mostAtOnce: Math.max(opened.mostAtOnce, now.mostAtOnce),
      workedMs: opened.workedMs + now.workedMs - this.#last.workedMs,
    };
    this.#laps.push({ step, reading });
    this.#last = now;
  }

  /** Each once: an emergency has some steps twice. */
  take(step: PlanStep["step"]): Reading {
    const index = this.#laps.findIndex((lap) => lap.step === step);
    const [lap] = index < 0 ? [] : this.#laps.splice(index, 1);
    return lap?.reading ?? NO_READING;
  }
}

function planSteps(
  tasks: readonly TaskReport[],
  figures: (step: PlanStep["step"]) => PlanFigures,
): readonly PlanStep[] {
  const steps = tasks.map(({ task, skipped, counts }) => ({
    step: task,
    ...(skipped === undefined ? {} : { skipped }),
    ...(skipped === undefined ? figures(task) : NO_FIGURES),
    bytesFreed: FREEING.has(task) ? (counts?.["bytes"] ?? 0) : 0,
  }));
  return [{ step: "open", ...figures("open") }, ...steps, { step: "close", ...figures("close") }];
}

function timingOf({ small, large }: Answers, options: PlanOptions): PlanTiming {
  const latencySamples = options.latencyMs === undefined ? small.count : 0;
  const latencyMs =
    options.latencyMs ?? (small.count === 0 ? ASSUMED_LATENCY_MS : small.ms / small.count);
  const transferMs = large.ms - large.count * latencyMs;
  const isMeasured = options.bytesPerSecond === undefined && transferMs > 0;
  return {
    latencyMs,
    latencySamples,
    bandwidthSamples: isMeasured ? large.count : 0,
    bytesPerSecond:
      options.bytesPerSecond ??
      (isMeasured ? (large.bytes / transferMs) * 1000 : ASSUMED_BYTES_PER_SECOND),
  };
}

function figuresOf(
  { usage, mostAtOnce, workedMs }: Reading,
  { timing, prices }: { timing: PlanTiming; prices: Prices },
): PlanFigures {
  const requestMs = (requestCount(usage) * timing.latencyMs) / Math.max(1, mostAtOnce);
  const transferMs = ((usage.bytesRead + usage.bytesWritten) / timing.bytesPerSecond) * 1000;
  return {
    ...usage,
    bytesFreed: 0,
    estimatedMs: Math.max(0, workedMs) + requestMs + transferMs,
    cost: costOf(usage, prices),
  };
}

const NO_FIGURES: PlanFigures = { ...NO_USAGE, bytesFreed: 0, estimatedMs: 0, cost: 0 };

function addFigures(a: PlanFigures, b: PlanFigures): PlanFigures {
  return {
    ...addUsage(a, b),
    bytesFreed: a.bytesFreed + b.bytesFreed,
    estimatedMs: a.estimatedMs + b.estimatedMs,
    cost: a.cost + b.cost,
  };
}

function limitsOf(total: PlanFigures, prices: Prices): PlanLimits {
  const spare = (amount: number, least: number): number =>
    Math.ceil(amount * (1 + SPARE_SHARE)) + least;
  const bytesRead = spare(total.bytesRead, SPARE_BYTES);
  const bytesWritten = spare(total.bytesWritten, SPARE_BYTES);
  const requests = spare(requestCount(total), SPARE_REQUESTS);
  const spareUsage: Usage = {
    requests: { ...NO_USAGE.requests, put: requests - requestCount(total) },
    bytesRead: bytesRead - total.bytesRead,
    bytesWritten: bytesWritten - total.bytesWritten,
  };
  return { requests, bytesRead, bytesWritten, cost: total.cost + costOf(spareUsage, prices) };
}
