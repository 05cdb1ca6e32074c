import { type CallOptions, errorMessage } from "@varve/core";
import type { OperationProgress } from "../backup/action.ts";
import { readBackup } from "../location/backup-files.ts";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import type { Location } from "../location/location.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import type { RestoreVolume } from "../native-snapshots/restore-volume.ts";
import { ProgressPatches } from "../server/progress-patches.ts";
import { RecordedLog } from "../server/recorded-log.ts";
import { durationMs, formatTime, parseTime } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import {
  type Backup,
  type Restore,
  type RestorePhase,
  type RestoreStatus,
  VELERO,
} from "../velero/resources.ts";
import type { PodVolumes } from "../volume/pod-volumes.ts";
import { restoreWaitAction } from "../volume/restore-wait.ts";
import type { RestoreAction, RestoreRun } from "./action.ts";
import { builtinRestoreActions } from "./builtin-actions.ts";
import { finishClaims, volumeInfos } from "./finish-claims.ts";
import { initHookAction } from "./init-hooks.ts";
import { deleteRestoreFiles, putRestoreFiles } from "./restore-files.ts";
import { resourceModifiersOf, restoreObjects, type RestoredObjects } from "./run-restore.ts";
import { NEVER_RESTORED } from "./selection.ts";
import { restoreProblems } from "./validate-restore.ts";

/**
 * Restores, from creation to their last phase (spec sections 1.3 and 9). One that a killed server has left in progress is
 * run again, whatever its phase: what it has created carries its name and is taken for done, and so is what it has begun.
 * Hooks run again.
 */

export interface RestoreControllerOptions {
  /** Beside those of section 9.5. */
  readonly actions?: readonly RestoreAction[] | undefined;
  readonly podVolumes: PodVolumes;
  readonly restoreVolume: RestoreVolume;
  /** Between looks at what is waited for; default 1 second. */
  readonly pollMs?: number | undefined;
}

const PROGRESS_MS = 1000;
const LAST_PHASES: ReadonlySet<string> = new Set([
  "Completed",
  "PartiallyFailed",
  "Failed",
  "FailedValidation",
]);
const FINALIZER = "restores.velero.io/external-resources-finalizer";

export function restoreControllers(options: RestoreControllerOptions): Controller[] {
  const parts = {
    actions: [
      ...builtinRestoreActions(),
      restoreWaitAction,
      initHookAction,
      ...(options.actions ?? []),
    ],
    podVolumes: options.podVolumes,
    restoreVolume: options.restoreVolume,
    pollMs: options.pollMs ?? 1000,
  };
  return [
    {
      name: "restore",
      type: VELERO.restores,
      workers: 1,
      async reconcile(context, object, { signal }) {
        const restore = await readRestore(context, object.metadata.name, { signal });
        if (restore === undefined) {
          return undefined;
        }
        if (restore.metadata.deletionTimestamp !== undefined) {
          await removeFiles(context, restore, { signal });
          return undefined;
        }
        if (!LAST_PHASES.has(restore.status?.phase ?? "New")) {
          await runRestore(context, restore, { ...parts, signal });
        }
        return undefined;
      },
    },
  ];
}

type Parts = Required<Pick<RestoreControllerOptions, "podVolumes" | "restoreVolume">> & {
  readonly actions: readonly RestoreAction[];
  readonly pollMs: number;
};

async function runRestore(
  context: Context,
  restore: Restore,
  parts: Parts & CallOptions,
): Promise<void> {
  const { signal } = parts;
  const prepared = await prepare(context, restore, { signal });
  const schedule = prepared.restore.spec.scheduleName ?? "";
  const isNew = ["New", ""].includes(restore.status?.phase ?? "");
  if (prepared.problems.length > 0) {
    if (isNew) {
      context.metrics.count("velero_restore_validation_failed_total", { schedule });
      await patch(context, restore, {
        status: { phase: "FailedValidation", validationErrors: [...prepared.problems] },
      });
    } else {
      await fail(context, restore, prepared.problems.join("; "));
    }
    return;
  }
  if (isNew) {
    context.metrics.count("velero_restore_attempt_total", { schedule });
  }
  const started = await patch(context, prepared.restore, {
    metadata: { finalizers: withFinalizer(prepared.restore) },
    spec: prepared.restore.spec,
    status: {
      phase: "InProgress",
      startTimestamp: restore.status?.startTimestamp ?? formatTime(context.environment.nowMs()),
    },
  });
  const log = new RecordedLog(context.environment, {
    restore: `${context.namespace}/${restore.metadata.name}`,
  });
  try {
    await using location = await context.locations.open(prepared.location, { signal });
    const run: RestoreRun = { context, restore: started, backup: prepared.backup, log };
    await runWith(run, location, { ...parts, log });
  } catch (error) {
    signal?.throwIfAborted();
    if (isKubeError(error, "unavailable") || isKubeError(error, "timeout")) {
      throw error; // run again when the API server answers
    }
    await fail(context, prepared.restore, errorMessage(error));
  }
}

async function fail(context: Context, restore: Restore, failureReason: string): Promise<void> {
  const schedule = restore.spec.scheduleName ?? "";
  context.metrics.count("velero_restore_failed_total", { schedule });
  const completionTimestamp = formatTime(context.environment.nowMs());
  await patch(context, restore, {
    status: { phase: "Failed", failureReason, completionTimestamp },
  });
}

async function runWith(
  run: RestoreRun,
  location: Location,
  { log, signal, ...parts }: Parts & CallOptions & { readonly log: RecordedLog },
): Promise<void> {
  const { context, restore } = run;
  const progress = new ProgressPatches(context.environment, PROGRESS_MS, async (status) =>
    patch(context, restore, { status }),
  );
  const done = await restoreObjects(
    run,
    location,
    { ...parts, onProgress: (counts) => progress.report(counts) },
    { signal },
  );
  await progress.end();
  await patch(context, restore, {
    status: {
      progress: done.progress,
      ...(Object.keys(done.hooks).length === 0 ? {} : { hookStatus: done.hooks }),
      ...(done.operations.length === 0
        ? {}
        : { restoreItemOperationsAttempted: done.operations.length }),
    },
  });
  await waitForOperations(run, done, { ...parts, signal });
  await setPhase(run, log.errors > 0 ? "FinalizingPartiallyFailed" : "Finalizing", log);
  await finishClaims(run, done, { pollMs: parts.pollMs, signal });
  await putRestoreFiles(
    location.restoreFiles(restore.metadata.name),
    restore.metadata.name,
    {
      log: await log.close(),
      results: log.results,
      resourceList: done.list,
      itemOperations: [],
      volumeInfo: await volumeInfos(run, { signal }),
    },
    { signal },
  );
  const failed = log.errors > 0;
  const schedule = restore.spec.scheduleName ?? "";
  context.metrics.count(
    failed ? "velero_restore_partial_failure_total" : "velero_restore_success_total",
    { schedule },
  );
  await patch(context, restore, {
    status: {
      phase: failed ? "PartiallyFailed" : "Completed",
      completionTimestamp: formatTime(context.environment.nowMs()),
      ...counts(log),
    },
  });
}

function counts({ errors, warnings }: RecordedLog): Pick<RestoreStatus, "errors" | "warnings"> {
  return { ...(errors > 0 ? { errors } : {}), ...(warnings > 0 ? { warnings } : {}) };
}

async function setPhase(
  { context, restore }: RestoreRun,
  phase: RestorePhase,
  log: RecordedLog,
): Promise<void> {
  await patch(context, restore, { status: { phase, ...counts(log) } });
}

/** Polls what actions have begun, until all of it has ended or is too old. */
async function waitForOperations(
  run: RestoreRun,
  { operations }: RestoredObjects,
  { actions, signal }: Parts & CallOptions,
): Promise<void> {
  const { context, restore, log } = run;
  const { environment, settings } = context;
  if (operations.length === 0) {
    return;
  }
  await patch(context, restore, { status: { phase: "WaitingForPluginOperations" } });
  const timeoutMs = durationMs(restore.spec.itemOperationTimeout, settings.itemOperationTimeoutMs);
  const deadlineMs = environment.nowMs() + timeoutMs;
  let [completed, failed] = [0, 0];
  for (const { action: name, item, operationId } of operations) {
    const action = actions.find((found) => found.name === name);
    const fields = { resource: item.groupResource, namespace: item.namespace, name: item.name };
    for (;;) {
      const progress: OperationProgress = (await action?.progress?.(run, operationId, {
        signal,
      })) ?? {
        completed: true,
      };
      const isLate = environment.nowMs() >= deadlineMs;
      if (progress.completed || isLate) {
        const error = progress.completed ? progress.error : "it was not done in time";
        if (error === undefined) {
          completed++;
        } else {
          failed++;
          log.error(`operation ${operationId} failed`, { ...fields, error });
          await action?.cancel?.(run, operationId, { signal });
        }
        break;
      }
      await environment.sleep(settings.itemOperationPollMs, { signal });
    }
  }
  await patch(context, restore, {
    status: {
      ...(completed > 0 ? { restoreItemOperationsCompleted: completed } : {}),
      ...(failed > 0 ? { restoreItemOperationsFailed: failed } : {}),
    },
  });
}

interface Prepared {
  readonly restore: Restore;
  readonly backup: Backup;
  readonly location: string;
  readonly problems: readonly string[];
}

/** Fills in what is left out, and says what is wrong: spec section 1.3. */
async function prepare(
  context: Context,
  given: Restore,
  { signal }: CallOptions,
): Promise<Prepared> {
  const problems = restoreProblems(given.spec, context.catalog);
  const restore = structuredClone(given);
  const excluded = restore.spec.excludedResources ?? [];
  restore.spec.excludedResources = [...new Set([...excluded, ...NEVER_RESTORED])];
  const nothing = { metadata: { name: "" }, spec: {} } as Backup;
  let backup = nothing;
  let location = "";
  try {
    await resourceModifiersOf(context, restore.spec, { signal });
    if (problems.length === 0) {
      backup = await findBackup(context, restore, { signal });
      location = backup.spec.storageLocation ?? context.settings.defaultStorageLocation;
      await requireLocation(context, location, backup, { signal });
    }
  } catch (error) {
    signal?.throwIfAborted();
    problems.push(errorMessage(error));
  }
  return { restore, backup, location, problems };
}

/** By name, or the latest completed one of the schedule, whose name is then written into the spec. */
async function findBackup(
  { kube, namespace }: Context,
  restore: Restore,
  { signal }: CallOptions,
): Promise<Backup> {
  const { backupName = "", scheduleName = "" } = restore.spec;
  if (backupName !== "") {
    try {
      return (await kube.get(
        VELERO.backups,
        { namespace, name: backupName },
        { signal },
      )) as Backup; // its schema
    } catch (error) {
      throw isKubeError(error, "not-found")
        ? new Error(`there is no backup ${backupName}`, { cause: error })
        : error;
    }
  }
  const { items } = await kube.listAll(VELERO.backups, {
    namespace,
    labelSelector: `${LABEL.scheduleName}=${labelValue(scheduleName)}`,
    signal,
  });
  const startOf = ({ status }: Backup): number => parseTime(status?.startTimestamp) ?? 0;
  const [latest] = (items as readonly Backup[]) // their schema
    .filter(({ status }) => status?.phase === "Completed")
    .sort((a, b) => startOf(b) - startOf(a));
  if (latest === undefined) {
    throw new Error(`schedule ${scheduleName} has no completed backup`);
  }
  restore.spec.backupName = latest.metadata.name;
  return latest;
}

async function requireLocation(
  { kube, namespace, locations }: Context,
  name: string,
  backup: Backup,
  { signal }: CallOptions,
): Promise<void> {
  const resource = await kube
    .get(VELERO.backupStorageLocations, { namespace, name }, { signal })
    .catch((error: unknown) => {
      throw isKubeError(error, "not-found")
        ? new Error(`there is no backup storage location ${name}`, { cause: error })
        : error;
    });
  const { phase } = (resource["status"] ?? {}) as { phase?: string };
  if (phase !== "Available") {
    throw new Error(`backup storage location ${name} is not available`);
  }
  await using location = await locations.open(name, { signal });
  const stored = await readBackup(location.backupFiles(backup.metadata.name), {
    name: backup.metadata.name,
    signal,
  });
  if (stored === undefined) {
    throw new Error(`backup ${backup.metadata.name} is not in location ${name}`);
  }
}

async function readRestore(
  { kube, namespace }: Context,
  name: string,
  { signal }: CallOptions,
): Promise<Restore | undefined> {
  try {
    return (await kube.get(VELERO.restores, { namespace, name }, { signal })) as Restore; // its schema
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return undefined;
    }
    throw error;
  }
}

function withFinalizer({ metadata: { finalizers = [] } }: KubeObject): string[] {
  return finalizers.includes(FINALIZER) ? finalizers : [...finalizers, FINALIZER];
}

async function patch(
  { kube, namespace }: Context,
  { metadata: { name } }: Restore,
  change: {
    readonly status?: RestoreStatus;
    readonly spec?: object;
    readonly metadata?: object;
  },
): Promise<Restore> {
  return (await kube.mergePatch(VELERO.restores, { namespace, name }, change)) as Restore; // its schema
}

/** What a deleted Restore leaves in the bucket goes with it; a backup or location that is gone has nothing left. */
async function removeFiles(
  context: Context,
  restore: Restore,
  { signal }: CallOptions,
): Promise<void> {
  const { finalizers = [] } = restore.metadata;
  if (!finalizers.includes(FINALIZER)) {
    return;
  }
  const { namespace } = context;
  const where = { namespace, name: restore.spec.backupName ?? "" };
  const backup = await context.kube
    .get(VELERO.backups, where, { signal })
    .catch((error: unknown) => {
      if (isKubeError(error, "not-found") || isKubeError(error, "invalid")) {
        return undefined;
      }
      throw error;
    });
  if (backup !== undefined) {
    const { storageLocation = context.settings.defaultStorageLocation } = (backup as Backup).spec; // its schema
    await using location = await context.locations.open(storageLocation, { signal });
    if (!location.readOnly) {
      await deleteRestoreFiles(location.restoreFiles(restore.metadata.name), { signal });
    }
  }
  await patch(context, restore, {
    metadata: { finalizers: finalizers.filter((name) => name !== FINALIZER) },
  });
}
