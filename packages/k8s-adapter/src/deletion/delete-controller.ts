import { errorMessage } from "@varve/core";
import type { CallOptions } from "@varve/core/blob";
import { isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { parseTime } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type Backup, type DeleteBackupRequest, VELERO } from "../velero/resources.ts";
import {
  type DeleteAction,
  deleteBackupData,
  isRefusal,
  openForDeletion,
} from "./delete-backup.ts";

/** Serves DeleteBackupRequests (spec section 8.2). */

const KEPT_MS = 24 * 3_600_000;
/** Whether a backup is being made shows in its phase, so that a restarted server knows it too. */
const AT_WORK = new Set([
  "ReadyToStart",
  "InProgress",
  "WaitingForPluginOperations",
  "WaitingForPluginOperationsPartiallyFailed",
  "Finalizing",
  "FinalizingPartiallyFailed",
]);

export function isAtWork({ status }: Backup): boolean {
  return AT_WORK.has(status?.phase ?? "");
}

export function deleteController(actions: readonly DeleteAction[]): Controller {
  return {
    name: "backup-deletion",
    type: VELERO.deleteBackupRequests,
    async reconcile(context, object, options) {
      const request = object as DeleteBackupRequest; // of this type, by the API
      if (request.metadata.deletionTimestamp !== undefined) {
        return undefined;
      }
      if (request.status?.phase === "Processed") {
        return await deleteWhenOld(context, request, options);
      }
      const current = await currentRequest(context, request, options);
      if (current !== undefined && current.status?.phase !== "Processed") {
        await serve(context, { request: current, actions, ...options });
      }
      return undefined;
    },
  };
}

/** What the watch tells may be older than what was done last. */
async function currentRequest(
  { kube, namespace }: Context,
  { metadata: { name, uid } }: DeleteBackupRequest,
  options: CallOptions,
): Promise<DeleteBackupRequest | undefined> {
  try {
    const object = await kube.get(VELERO.deleteBackupRequests, { namespace, name }, options);
    return object.metadata.uid === uid ? (object as DeleteBackupRequest) : undefined; // of this type, by the API
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return undefined;
    }
    throw error;
  }
}

async function deleteWhenOld(
  context: Context,
  { metadata }: DeleteBackupRequest,
  options: CallOptions,
): Promise<{ readonly againMs: number } | undefined> {
  const { kube, namespace, environment } = context;
  const madeMs = parseTime(metadata.creationTimestamp) ?? 0;
  const leftMs = madeMs + KEPT_MS - environment.nowMs();
  if (leftMs > 0) {
    return { againMs: leftMs };
  }
  const { name, uid } = metadata;
  await kube.delete(VELERO.deleteBackupRequests, { namespace, name }, { uid, ...options });
  return undefined;
}

interface Serving extends CallOptions {
  readonly request: DeleteBackupRequest;
  readonly actions: readonly DeleteAction[];
}

async function serve(context: Context, { request, actions, signal }: Serving): Promise<void> {
  const { kube, namespace, metrics } = context;
  const backup = await findBackup(context, request.spec.backupName, { signal });
  if (typeof backup === "string") {
    await answer(context, request, { errors: [backup], signal });
    return;
  }
  if (isAtWork(backup)) {
    const errors = ["the backup is still in progress"];
    await answer(context, request, { errors, signal });
    return;
  }
  await using location = await openForDeletion(context, backup, { signal }).catch(
    async (error: unknown) => {
      if (!isRefusal(error)) {
        throw error; // later
      }
      await answer(context, request, { errors: [errorMessage(error)], signal });
      return undefined;
    },
  );
  if (location === undefined) {
    return;
  }
  metrics.count("velero_backup_deletion_attempt_total");
  await begin(context, request, { backup, signal });
  const errors = await deleteBackupData({ context, location, backup, signal }, actions);
  if (errors.length > 0) {
    metrics.count("velero_backup_deletion_failure_total");
    await answer(context, request, { errors, signal });
    return;
  }
  const { name, uid } = backup.metadata;
  await kube.delete(VELERO.backups, { namespace, name }, { uid, signal });
  await deleteRequests(context, backup, { signal });
  metrics.count("velero_backup_deletion_success_total");
}

/** Or why there is none. */
async function findBackup(
  { kube, namespace }: Context,
  name: string,
  options: CallOptions,
): Promise<Backup | string> {
  if (name === "") {
    return "spec.backupName is required";
  }
  try {
    return (await kube.get(VELERO.backups, { namespace, name }, options)) as Backup; // of this type, by the API
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return `there is no backup ${name}`;
    }
    throw error;
  }
}

/** From here on the backup is lost, and says so; a killed server goes on with the request. */
async function begin(
  context: Context,
  request: DeleteBackupRequest,
  { backup, signal }: CallOptions & { readonly backup: Backup },
): Promise<void> {
  const { kube, namespace } = context;
  await deleteRequests(context, backup, { except: request.metadata.name, signal });
  const labels = {
    [LABEL.backupName]: labelValue(backup.metadata.name),
    [LABEL.backupUid]: backup.metadata.uid,
  };
  const { name } = request.metadata;
  const progress = { metadata: { labels }, status: { phase: "InProgress" } };
  await kube.mergePatch(VELERO.deleteBackupRequests, { namespace, name }, progress, { signal });
  const deleting = { status: { phase: "Deleting" } };
  const where = { namespace, name: backup.metadata.name };
  await kube.mergePatch(VELERO.backups, where, deleting, { signal });
}

/** Requests for the same backup. */
async function deleteRequests(
  { kube, namespace }: Context,
  backup: Backup,
  { except, signal }: CallOptions & { readonly except?: string },
): Promise<void> {
  const { items } = await kube.listAll(VELERO.deleteBackupRequests, { namespace, signal });
  for (const { metadata, spec } of items as readonly DeleteBackupRequest[]) {
    // of this type, by the API
    const { name, uid } = metadata;
    if (spec.backupName === backup.metadata.name && name !== except) {
      await kube.delete(VELERO.deleteBackupRequests, { namespace, name }, { uid, signal });
    }
  }
}

async function answer(
  { kube, namespace, environment }: Context,
  { metadata: { name }, spec }: DeleteBackupRequest,
  { errors, signal }: CallOptions & { readonly errors: readonly string[] },
): Promise<void> {
  const message = `backup ${spec.backupName} is not deleted: ${errors.join("; ")}`;
  environment.log({ level: "warning", message });
  const patch = { status: { phase: "Processed", errors } };
  await kube.mergePatch(VELERO.deleteBackupRequests, { namespace, name }, patch, { signal });
}
