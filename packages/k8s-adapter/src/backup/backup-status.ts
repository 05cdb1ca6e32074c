import type { CallOptions } from "@varve/core";
import { isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { formatTime } from "../velero/duration.ts";
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
  return (await context.kube.mergePatch(VELERO.backups, where, patch, options)) as Backup; // its schema
}

/** Terminal, or on its way out. */
export function isFinal({ status }: Backup): boolean {
  return ["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting"].includes(
    status?.phase ?? "",
  );
}

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
