import { errorMessage } from "@varve/core";
import type { CallOptions } from "@varve/core/blob";
import { isKubeError, type ObjectMeta, type ResourceRef } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { formatTime, parseTime } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type Backup, type Schedule, VELERO } from "../velero/resources.ts";
import { type CronSchedule, parseCron } from "./cron.ts";

/**
 * Makes Backups when their Schedule is due (spec section 7), never two of one at once. A time that passes while the last
 * backup still runs, or while no server ran, is made up for once; the others are counted: in an annotation of the
 * Schedule, in a metric, and by an Event.
 */

const SKIPPED = "varve.dev/skipped-runs";
const LAST_SKIPPED = "varve.dev/last-skipped-run";
const FINAL = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting"]);
/** While a backup runs; its end is not watched. */
const RETRY_MS = 60_000;
const MAX_WAIT_MS = 3_600_000;
// A year of minutes: more are not counted one by one.
const MAX_COUNTED = 527_040;

export function scheduleControllers(): Controller[] {
  return [
    {
      name: "schedule",
      type: VELERO.schedules,
      workers: 2,
      async reconcile(context, object, options) {
        return await reconcileSchedule(context, object as Schedule, options); // of this type, by the API
      },
    },
  ];
}

async function reconcileSchedule(
  context: Context,
  schedule: Schedule,
  options: CallOptions,
): Promise<{ readonly againMs: number } | undefined> {
  if (schedule.spec.paused === true || schedule.metadata.deletionTimestamp !== undefined) {
    return undefined;
  }
  const cron = await checkExpression(context, schedule, options);
  if (cron === undefined || (await skipsNow(context, schedule, options))) {
    return undefined; // the change calls again
  }
  const backups = await backupsOf(context, schedule, options);
  const nowMs = context.environment.nowMs();
  const lastMs = lastRunMs(schedule, backups);
  const dueMs = cron.next(lastMs);
  if (dueMs === undefined) {
    return undefined;
  }
  if (dueMs > nowMs) {
    return { againMs: Math.min(MAX_WAIT_MS, dueMs - nowMs) };
  }
  const isRunning = backups.some(({ status }) => !FINAL.has(status?.phase ?? ""));
  const missed = missedSince(cron, {
    afterMs: Math.max(lastMs, parseTime(schedule.metadata.annotations?.[LAST_SKIPPED]) ?? 0),
    untilMs: nowMs,
  });
  // The newest is made up for now, when it can be.
  const skipped = isRunning ? missed : missed.slice(0, -1);
  await recordSkipped(context, schedule, { skipped, isRunning, ...options });
  if (isRunning) {
    const nextMs = cron.next(nowMs) ?? Number.POSITIVE_INFINITY;
    return { againMs: Math.min(RETRY_MS, nextMs - nowMs) };
  }
  await submit(context, schedule, options);
  const nextMs = cron.next(nowMs);
  return nextMs === undefined ? undefined : { againMs: Math.min(MAX_WAIT_MS, nextMs - nowMs) };
}

/** Says in the status whether the expression can be understood. */
async function checkExpression(
  context: Context,
  schedule: Schedule,
  options: CallOptions,
): Promise<CronSchedule | undefined> {
  const { status = {} } = schedule;
  try {
    const cron = parseCron(schedule.spec.schedule);
    if (status.phase !== "Enabled" || (status.validationErrors ?? []).length > 0) {
      const patch = { status: { phase: "Enabled", validationErrors: null } };
      await patchSchedule(context, schedule, { patch, ...options });
    }
    return cron;
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return undefined;
    }
    options.signal?.throwIfAborted();
    const validationErrors = [errorMessage(error)];
    if (
      status.phase !== "FailedValidation" ||
      status.validationErrors?.[0] !== validationErrors[0]
    ) {
      const patch = { status: { phase: "FailedValidation", validationErrors } };
      await patchSchedule(context, schedule, { patch, ...options });
    }
    return undefined;
  }
}

/** Once, when asked to let pass what is due: that is written down, and the wish taken back. */
async function skipsNow(
  context: Context,
  schedule: Schedule,
  options: CallOptions,
): Promise<boolean> {
  const { skipImmediately } = schedule.spec;
  if (!(skipImmediately ?? context.settings.scheduleSkipImmediately)) {
    return false;
  }
  const lastSkipped = formatTime(context.environment.nowMs());
  const patch = { spec: { skipImmediately: false }, status: { lastSkipped } };
  await patchSchedule(context, schedule, { patch, ...options });
  return true;
}

async function backupsOf(
  { kube, namespace }: Context,
  { metadata: { name } }: Schedule,
  options: CallOptions,
): Promise<readonly Backup[]> {
  const labelSelector = `${LABEL.scheduleName}=${labelValue(name)}`;
  const { items } = await kube.listAll(VELERO.backups, { namespace, labelSelector, ...options });
  return items as readonly Backup[]; // of this type, by the API
}

/** Backups tell by their names: a server that was killed between making one and writing so makes no second one. */
function lastRunMs({ metadata, status }: Schedule, backups: readonly Backup[]): number {
  const made = backups.map(({ metadata: { name } }) => stampMs(metadata.name, name));
  const last = parseTime(status?.lastBackup) ?? parseTime(metadata.creationTimestamp) ?? 0;
  return Math.max(last, parseTime(status?.lastSkipped) ?? 0, ...made);
}

function stampMs(schedule: string, backup: string): number {
  const stamp = backup.startsWith(`${schedule}-`) ? backup.slice(schedule.length + 1) : "";
  const [, ...parts] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(stamp) ?? [];
  const [year, month, day, hour, minute, second] = parts;
  return parseTime(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`) ?? 0;
}

function missedSince(
  cron: CronSchedule,
  { afterMs, untilMs }: { readonly afterMs: number; readonly untilMs: number },
): readonly number[] {
  const times: number[] = [];
  for (let timeMs = cron.next(afterMs); timeMs !== undefined && timeMs <= untilMs; ) {
    times.push(timeMs);
    timeMs = times.length < MAX_COUNTED ? cron.next(timeMs) : undefined;
  }
  return times;
}

interface Skipping extends CallOptions {
  readonly skipped: readonly number[];
  readonly isRunning: boolean;
}

async function recordSkipped(
  context: Context,
  schedule: Schedule,
  { skipped, isRunning, signal }: Skipping,
): Promise<void> {
  const lastMs = skipped.at(-1);
  if (lastMs === undefined) {
    return;
  }
  const { annotations = {}, name } = schedule.metadata;
  const before = Number(annotations[SKIPPED] ?? 0);
  const count = (Number.isSafeInteger(before) ? before : 0) + skipped.length;
  const noted = { [SKIPPED]: String(count), [LAST_SKIPPED]: formatTime(lastMs) };
  await patchSchedule(context, schedule, { patch: { metadata: { annotations: noted } }, signal });
  for (const _ of skipped) {
    context.metrics.count("varve_schedule_skipped_total", { schedule: name });
  }
  const why = isRunning ? "the last backup still runs" : "no server was there";
  const message = `${skipped.length} times passed without a backup of their own: ${why}`;
  context.environment.log({ level: "warning", message: `schedule ${name}: ${message}` });
  await recordEvent(context, schedule, { message, signal });
}

const EVENTS: ResourceRef = { group: "", version: "v1", resource: "events", namespaced: true };

async function recordEvent(
  { kube, namespace, environment }: Context,
  { metadata }: Schedule,
  { message, signal }: CallOptions & { readonly message: string },
): Promise<void> {
  const time = formatTime(environment.nowMs());
  const { name, uid } = metadata;
  const event = {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name}.${environment.nowMs().toString(16)}`, namespace },
    involvedObject: { apiVersion: "velero.io/v1", kind: "Schedule", namespace, name, uid },
    type: "Warning",
    reason: "BackupSkipped",
    message,
    source: { component: "varve" },
    firstTimestamp: time,
    lastTimestamp: time,
    count: 1,
  };
  try {
    await kube.create(EVENTS, event, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    const text = `schedule ${name}: the event is not recorded: ${errorMessage(error)}`;
    environment.log({ level: "warning", message: text }); // what it tells stands in the annotation
  }
}

async function submit(context: Context, schedule: Schedule, options: CallOptions): Promise<void> {
  const { kube, namespace, environment } = context;
  const nowMs = environment.nowMs();
  try {
    await kube.create(VELERO.backups, scheduledBackup(schedule, { namespace, nowMs }), options);
  } catch (error) {
    if (!isKubeError(error, "already-exists")) {
      throw error;
    }
  }
  const patch = { status: { lastBackup: formatTime(nowMs) } };
  await patchSchedule(context, schedule, { patch, ...options });
}

/** Spec section 7; the time in the name is UTC. */
export function scheduledBackup(
  { metadata, spec }: Schedule,
  { namespace, nowMs }: { readonly namespace: string; readonly nowMs: number },
): Backup {
  const stamp = formatTime(nowMs).replace(/\D/g, "");
  const { name, uid = "", annotations } = metadata;
  const labels = { ...(spec.template.metadata?.labels ?? metadata.labels) };
  labels[LABEL.scheduleName] = labelValue(name);
  const owner = { apiVersion: "velero.io/v1", kind: "Schedule", name, uid, controller: true };
  const made: ObjectMeta = {
    name: `${name}-${stamp}`,
    namespace,
    labels,
    ...(annotations === undefined ? {} : { annotations: withoutCounts(annotations) }),
    ...(spec.useOwnerReferencesInBackup === true ? { ownerReferences: [owner] } : {}),
  };
  return { apiVersion: "velero.io/v1", kind: "Backup", metadata: made, spec: spec.template };
}

function withoutCounts(annotations: Readonly<Record<string, string>>): Record<string, string> {
  const { [SKIPPED]: _count, [LAST_SKIPPED]: _time, ...others } = annotations;
  return others;
}

async function patchSchedule(
  { kube, namespace }: Context,
  { metadata: { name } }: Schedule,
  { patch, signal }: CallOptions & { readonly patch: object },
): Promise<void> {
  await kube.mergePatch(VELERO.schedules, { namespace, name }, patch, { signal });
}
