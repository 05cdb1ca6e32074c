import { type CallOptions, errorMessage, maintain } from "@varve/core";
import type { Context } from "../server/context.ts";
import { durationMs, formatTime, parseTime } from "../velero/duration.ts";
import { type BackupRepository, VELERO } from "../velero/resources.ts";
import {
  createMaintenanceJob,
  endedJobs,
  type EndedJob,
  hasRunningJob,
} from "./maintenance-jobs.ts";
import { openVolumeRepository } from "./volume-repository.ts";

/** When repositories are maintained, by whom, and what is kept of it (spec section 4.4). */

const MAX_HISTORY = 25;
const RETRY_MS = 300_000;
const JOB_POLL_MS = 2000;

type MaintenanceRun = NonNullable<
  NonNullable<BackupRepository["status"]>["recentMaintenance"]
>[number];

/** Maintains it, or has a Job do it, when it is time; answers when to look again. */
export async function maintainIfDue(
  context: Context,
  repository: BackupRepository,
  options: CallOptions,
): Promise<{ readonly againMs: number }> {
  const { environment, settings } = context;
  const usesJobs = settings.maintenanceJobs !== undefined;
  if (usesJobs) {
    if (await hasRunningJob(context, repository, options)) {
      return { againMs: JOB_POLL_MS };
    }
    const [last] = repository.status?.recentMaintenance?.slice(-1) ?? [];
    const afterMs = parseTime(last?.startTimestamp) ?? 0;
    const ended = await endedJobs(context, repository, { ...options, afterMs });
    if (ended.length > 0) {
      await record(context, repository, ended.map(runOfJob));
      return { againMs: JOB_POLL_MS };
    }
  }
  const startMs = environment.nowMs();
  const waitMs = dueMs(context, repository) - startMs;
  if (waitMs > 0) {
    return { againMs: waitMs };
  }
  try {
    const { backupStorageLocation } = repository.spec;
    await using location = await context.locations.open(backupStorageLocation, options);
    if (location.readOnly) {
      return { againMs: RETRY_MS };
    }
    if (usesJobs) {
      await createMaintenanceJob(context, repository, options);
      return { againMs: JOB_POLL_MS };
    }
    await maintainRepository(context, repository, options);
    await record(context, repository, [runOf(context, startMs)]);
  } catch (error) {
    options.signal?.throwIfAborted();
    await record(context, repository, [runOf(context, startMs, errorMessage(error))]);
  }
  return { againMs: RETRY_MS }; // its changed status calls earlier
}

/** What a Job's pod does: Kopia's own schedule says which parts are due. Throws what engine and storage throw. */
export async function maintainRepository(
  context: Context,
  { spec }: BackupRepository,
  { signal }: CallOptions,
): Promise<void> {
  const { backupStorageLocation, volumeNamespace } = spec;
  await using location = await context.locations.open(backupStorageLocation, { signal });
  const open = { location, volumeNamespace, work: "maintenance", signal } as const;
  await using opened = await openVolumeRepository(context, open);
  await maintain(opened, { mode: "auto", signal });
}

/** One that failed is tried again no sooner than after {@link RETRY_MS}, or its own time if that is less. */
function dueMs({ settings }: Context, { spec, status }: BackupRepository): number {
  const everyMs = durationMs(spec.maintenanceFrequency, settings.defaultRepoMaintenanceMs);
  const lastMs = parseTime(status?.lastMaintenanceTime) ?? 0;
  const [run] = status?.recentMaintenance?.slice(-1) ?? [];
  const triedMs = parseTime(run?.completeTimestamp) ?? 0;
  return Math.max(lastMs + everyMs, triedMs + Math.min(everyMs, RETRY_MS));
}

function runOf({ environment }: Context, startMs: number, message?: string): MaintenanceRun {
  return {
    startTimestamp: formatTime(startMs),
    completeTimestamp: formatTime(environment.nowMs()),
    result: message === undefined ? "Succeeded" : "Failed",
    ...(message === undefined ? {} : { message }),
  };
}

function runOfJob({ startMs, endMs, failure }: EndedJob): MaintenanceRun {
  return {
    startTimestamp: formatTime(startMs),
    completeTimestamp: formatTime(endMs),
    result: failure === undefined ? "Succeeded" : "Failed",
    ...(failure === undefined ? {} : { message: failure }),
  };
}

async function record(
  { kube, namespace }: Context,
  { metadata, status }: BackupRepository,
  runs: readonly MaintenanceRun[],
): Promise<void> {
  const [done] = runs.filter(({ result }) => result === "Succeeded").slice(-1);
  const change = {
    recentMaintenance: [...(status?.recentMaintenance ?? []), ...runs].slice(-MAX_HISTORY),
    ...(done === undefined ? {} : { lastMaintenanceTime: done.startTimestamp }),
  };
  const name = { namespace, name: metadata.name };
  await kube.mergePatch(VELERO.backupRepositories, name, { status: change });
}
