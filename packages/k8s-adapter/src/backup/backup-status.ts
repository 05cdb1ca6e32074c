import type { CallOptions } from "@varve/core";
import { isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { formatTime, parseTime } from "../velero/duration.ts";
import { LABEL } from "../velero/labels.ts";
import { type Backup, type BackupStatus, VELERO } from "../velero/resources.ts";

/** Reading and writing Backups: merge patches of what changed, never an old object (semantics spec section 0.2). */

/** As it is now; `undefined` when it is gone. */
export async function readBackup(
  context: Context,
  name: string,
  options: CallOptions,
): Promise<Backup | undefined> {
  try {
    const { namespace } = context;
    return (await context.kube.get(VELERO.backups, { namespace, name }, options)) as Backup; // its schema
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return undefined;
    }
    throw error;
  }
}

/** Gives it as it is then. Throws `not-found` when it is gone. */
export async function patchBackup(
  context: Context,
  { metadata: { name, uid } }: Backup,
  change: {
    readonly status?: { readonly [K in keyof BackupStatus]?: BackupStatus[K] | null | undefined };
    readonly spec?: object;
    readonly metadata?: object;
  },
  options: CallOptions,
): Promise<Backup> {
  const patch = { ...change, metadata: { ...change.metadata, uid } }; // another of the name is a conflict
  const where = { namespace: context.namespace, name };
  const patched = (await context.kube.mergePatch(VELERO.backups, where, patch, options)) as Backup; // its schema
  if (change.status?.phase != null) {
    countPhase(context, patched);
  }
  return patched;
}

/** Tells the metrics of a phase that a Backup has just entered. */
function countPhase({ metrics, environment }: Context, { metadata, status = {} }: Backup): void {
  const schedule = metadata.labels?.[LABEL.scheduleName] ?? "";
  const end = ENDS[status.phase ?? ""];
  if (status.phase === "InProgress") {
    metrics.count("velero_backup_attempt_total", { schedule });
  }
  if (end === undefined) {
    return;
  }
  const isSuccess = status.phase === "Completed";
  metrics.count(end, { schedule });
  metrics.set("velero_backup_last_status", isSuccess ? 1 : 0, { schedule });
  metrics.set("velero_backup_items_errors", status.errors ?? 0, { schedule });
  metrics.set("velero_backup_items_total", status.progress?.totalItems ?? 0, { schedule });
  const startedMs = parseTime(status.startTimestamp);
  if (isSuccess) {
    const nowSeconds = Math.floor(environment.nowMs() / 1000);
    metrics.set("velero_backup_last_successful_timestamp", nowSeconds, { schedule });
  }
  if (startedMs !== undefined) {
    const seconds = (environment.nowMs() - startedMs) / 1000;
    metrics.observe("velero_backup_duration_seconds", seconds, { schedule });
  }
}

const ENDS: Readonly<
  Record<
    string,
    | "velero_backup_success_total"
    | "velero_backup_partial_failure_total"
    | "velero_backup_failure_total"
    | "velero_backup_validation_failure_total"
  >
> = {
  Completed: "velero_backup_success_total",
  PartiallyFailed: "velero_backup_partial_failure_total",
  Failed: "velero_backup_failure_total",
  FailedValidation: "velero_backup_validation_failure_total",
};

/** A failure of the whole backup. */
export async function failBackup(
  context: Context,
  backup: Backup,
  failureReason: string,
  options: CallOptions,
): Promise<Backup> {
  return await patchBackup(
    context,
    backup,
    {
      status: {
        phase: "Failed",
        failureReason,
        completionTimestamp: nowText(context),
        startTimestamp: backup.status?.startTimestamp ?? nowText(context),
      },
    },
    options,
  );
}

export function nowText({ environment }: Context): string {
  return formatTime(environment.nowMs());
}
