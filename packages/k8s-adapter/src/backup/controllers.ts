import type { CallOptions } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { type Backup, VELERO } from "../velero/resources.ts";
import type { PodVolumes } from "../volume/pod-volumes.ts";
import type { BackupAction } from "./action.ts";
import { advanceQueue } from "./backup-queue.ts";
import { readBackup } from "./backup-status.ts";
import { builtinBackupActions } from "./builtin-actions.ts";
import { finalizeBackup, pollOperations } from "./finish-backup.ts";
import { runBackup } from "./run-backup.ts";

/**
 * Backups, from creation to their last phase: a queue, the runs, the operations that go on after a run, and the end
 * (semantics spec sections 1.2 and 2). Implements restarts: what a resource says is where its work goes on.
 */

export interface BackupControllerOptions {
  /** Beside those for claims, pods and service accounts. */
  readonly actions?: readonly BackupAction[];
  readonly podVolumes: PodVolumes;
}

/** The queue decides how many run; here is room for as many as anybody asks for. */
const RUN_WORKERS = 32;
const MINUTE_MS = 60_000;

export function backupControllers({
  actions: added = [],
  podVolumes,
}: BackupControllerOptions): Controller[] {
  const actions = [...builtinBackupActions(), ...added];
  const queue: Controller = {
    name: "backup-queue",
    type: VELERO.backups,
    resyncMs: MINUTE_MS,
    reconcile: (context, _object, options) => advanceQueue(context, options),
    removed: (context, _object, options) => advanceQueue(context, options),
  };
  return [
    queue,
    inPhases("backup", ["ReadyToStart", "InProgress"], RUN_WORKERS, (context, backup, options) =>
      runBackup(context, backup, { actions, podVolumes }, options),
    ),
    inPhases(
      "backup-operations",
      ["WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed"],
      1,
      async (context, backup, options) => {
        await pollOperations(context, backup, actions, options);
        return { againMs: context.settings.itemOperationPollMs };
      },
    ),
    inPhases(
      "backup-finalizer",
      ["Finalizing", "FinalizingPartiallyFailed"],
      1,
      (context, backup, options) => finalizeBackup(context, backup, actions, options),
    ),
  ];
}

/** Looks at the Backup as it is now: what the watch saw may be old. */
function inPhases(
  name: string,
  phases: readonly string[],
  workers: number,
  work: (
    context: Context,
    backup: Backup,
    options: CallOptions,
  ) => Promise<{ readonly againMs: number } | void>,
): Controller {
  const isIn = ({ status }: Backup): boolean => phases.includes(status?.phase ?? "");
  return {
    name,
    type: VELERO.backups,
    workers,
    async reconcile(context: Context, object: KubeObject, options: CallOptions) {
      if (!isIn(object as Backup)) {
        return undefined; // its schema
      }
      const backup = await readBackup(context, object.metadata.name, options);
      return backup !== undefined && isIn(backup)
        ? await work(context, backup, options)
        : undefined;
    },
  };
}
