import type { CallOptions } from "../base/environment.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import { RUNTIME_BYTES } from "../base/memory-plan.ts";
import type { BlobTotals } from "../blob/delete-blobs.ts";
import type { Usage } from "../blob/meter.ts";
import { openCrypto } from "../crypto/registry.ts";
import type { CompactOptions } from "../epoch/compact-epochs.ts";
import { keepFormatCopy } from "../format/format-copy.ts";
import { retainingStore } from "../format/retaining-store.ts";
import { createSealer } from "../format/sealer.ts";
import { requireWholeIndex } from "../repository/damage.ts";
import type { Repository } from "../repository/repository.ts";
import { type Allowance, holdToPlan } from "./allowance.ts";
import {
  clientName,
  getMaintenance,
  type StoredMaintenance,
} from "../repository/maintenance-parameters.ts";
import { dueMode, withFirstTimes } from "./due.ts";
import { lockedIn } from "./deletion-counts.ts";
import type { MaintenancePlan } from "./plan-file.ts";
import type { Rehearsal } from "./rehearsal-store.ts";
import { SAFETY, type Safety } from "./safety.ts";
import { readSchedule, type ScheduleDeps, type TaskName } from "./schedule.ts";
import { maintenanceStatus } from "./status.ts";
import { MaintenanceSteps } from "./steps.ts";
import { TaskLog, type TaskReport } from "./task-log.ts";

/**
 * Maintenance (behaviour §4): what keeps a repository small and quick in the years after the backup. One owner runs it, beside
 * any number of clients that know nothing of it; every step is safe by itself, is recorded when it is done or, where no rule looks
 * at when it was, with the next one, and may be killed anywhere: the next run goes on. The first step that fails ends the run.
 */

export interface MaintenanceOptions extends CallOptions {
  /**
   * `auto` runs what is due; `emergency` is for a store that is full: it deletes first and moves nothing. Default `auto`.
   */
  readonly mode?: "auto" | "quick" | "full" | "emergency" | undefined;
  /** Default `full`; `none` frees space at once and is right only while no other client is active. */
  readonly safety?: Safety | undefined;
  /** Also when somebody else is the owner. */
  readonly force?: boolean | undefined;
  /**
   * Use no more than this plan allows, since the repository was opened, which must have been with `meteredStore`. Its mode and
   * safety count instead of those given. Before more would be asked of storage, the run ends, and the report says `stopped`; nor
   * does the repository use more afterwards.
   */
  readonly plan?: MaintenancePlan | undefined;
  /** Called when a step begins. */
  readonly onTask?: ((task: TaskName) => void) | undefined;
}

export interface MaintenanceReport {
  /** `none` when nothing was due. */
  readonly mode: "none" | "quick" | "full" | "emergency";
  /** Nothing was done: another process of this machine is at it. */
  readonly busy?: true | undefined;
  readonly tasks: readonly TaskReport[];
  /** Why not everything was done: a limit of the plan. Nothing is half done; the next run goes on. */
  readonly stopped?: string | undefined;
  /** What was to be deleted, and is still there because storage keeps it until its locks end: a later run deletes it. */
  readonly locked?: BlobTotals | undefined;
  /** What was asked of storage since the repository was opened, where its store has a meter. */
  readonly usage?: Usage | undefined;
}

/**
 * Throws `not-owner`, `read-only`, `corrupt` while a part of the index cannot be read, `storage-failed` when clocks differ too
 * much, `invalid-argument` for a plan that is not for this repository, what a step throws, and the signal's reason.
 * Discards nothing that is pending: it is flushed with the rest.
 */
export async function runMaintenance(
  repository: Repository,
  options: MaintenanceOptions = {},
): Promise<MaintenanceReport> {
  return await maintainRepository(repository, options, undefined);
}

/** {@link runMaintenance}, for good or as a rehearsal. */
export async function maintainRepository(
  repository: Repository,
  options: MaintenanceOptions,
  rehearsal: Rehearsal | undefined,
): Promise<MaintenanceReport> {
  if (repository.readOnly) {
    throw new VarveError("read-only", "the repository was opened read-only");
  }
  const { meter } = repository.blobs;
  const allowance = options.plan && holdToPlan(repository, options.plan);
  const report: MutableReport = { mode: "none", tasks: [] };
  let stopped: string | undefined;
  try {
    await carryOut(repository, options, { allowance, rehearsal, report });
  } catch (error) {
    if (!isVarveError(error, "over-plan")) {
      throw error;
    }
    stopped = `stopped ${error === meter?.refusal ? "at the beginning: " : ""}${error.message}`;
  }
  return { ...report, stopped, locked: lockedIn(report.tasks), usage: meter?.used };
}

interface MutableReport {
  mode: MaintenanceReport["mode"];
  readonly tasks: TaskReport[];
}

async function carryOut(
  repository: Repository,
  options: MaintenanceOptions,
  parts: {
    readonly allowance: Allowance | undefined;
    readonly rehearsal: Rehearsal | undefined;
    readonly report: MutableReport;
  },
): Promise<void> {
  const { plan, signal, force = false, onTask } = options;
  const { mode: asked = "auto", safety = "full" } = plan ?? options;
  const { allowance, rehearsal, report } = parts;
  if (asked === "none" || (asked === "auto" && !(await isDue(repository, options)))) {
    return;
  }
  const { format, environment } = repository;
  const crypto = await openCrypto({ hashes: [format.hash] });
  const store = retainingStore(repository.blobs, { retention: format.retention, environment });
  const deps: ScheduleDeps = { store, format, crypto, environment };
  const [stored] = await Promise.all([
    readSchedule(deps, { signal }),
    repository.refresh({ signal }),
  ]);
  requireWholeIndex(repository, "maintenance does not run");
  const parameters = await getMaintenance(repository, { signal });
  requireOwner(repository, parameters, force);
  const schedule = withFirstTimes(stored, parameters);
  if (schedule.damage !== undefined) {
    const message = `the history of maintenance is damaged and begins anew: ${schedule.damage.message}`;
    environment.log({ level: "warning", message });
  }
  const mode = asked === "auto" ? dueMode(schedule, parameters, environment.nowMs()) : asked;
  if (mode === "none") {
    return;
  }
  report.mode = mode;
  const sealer = createSealer(format, {
    crypto,
    randomBytes: (size) => environment.randomBytes(size),
  });
  const { tasks } = report;
  const onTaskEnd = rehearsal?.onStep;
  const log = new TaskLog({ deps, schedule, tasks, signal, allowance, onTask, onTaskEnd });
  const steps = new MaintenanceSteps({
    repository,
    parameters,
    deps,
    index: { store, sealer, format, environment, bound: compactionBound(repository) },
    margins: SAFETY[safety],
    log,
    signal,
    allowance,
    rehearsal,
  });
  if (mode === "emergency") {
    await steps.freeFirst();
  }
  await steps.start(mode === "quick" ? "quick" : "full");
  if (mode === "full") {
    await keepFormatCopy(store, format.rawFormatBlob, { signal }); // Kopia may have changed the password
  }
  onTaskEnd?.("open");
  await steps[mode]();
  await log.finish();
  onTaskEnd?.("close");
}

/** Nothing but the index is held while index blobs are merged. */
function compactionBound(repository: Repository): CompactOptions["bound"] {
  const { limitBytes, indexBytes } = repository.memory;
  return limitBytes === undefined
    ? undefined
    : {
        maxBytes: limitBytes - RUNTIME_BYTES - indexBytes,
        openScratch: () => repository.openScratch(),
      };
}

/** By the index as this client has it: after each backup this must cost one request, and not a listing of indexes. */
async function isDue(
  repository: Repository,
  { force = false, signal }: MaintenanceOptions,
): Promise<boolean> {
  const { schedule, parameters } = await maintenanceStatus(repository, { signal });
  requireOwner(repository, parameters, force);
  return dueMode(schedule, parameters, repository.environment.nowMs()) !== "none";
}

function requireOwner(
  repository: Repository,
  parameters: StoredMaintenance | undefined,
  force: boolean,
): asserts parameters is StoredMaintenance {
  const me = clientName(repository.client);
  if (parameters === undefined) {
    throw new VarveError("not-owner", "nobody owns the maintenance of this repository yet");
  }
  if (parameters.owner !== me && !force) {
    throw new VarveError(
      "not-owner",
      `maintenance must be run by ${parameters.owner}, and this is ${me}`,
    );
  }
}
