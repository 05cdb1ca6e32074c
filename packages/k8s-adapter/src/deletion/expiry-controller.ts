import type { CallOptions } from "@varve/core/blob";
import { isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { parseTime } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import {
  type Backup,
  type BackupStorageLocation,
  type DeleteBackupRequest,
  VELERO,
} from "../velero/resources.ts";
import { type DeleteAction } from "./delete-backup.ts";
import { deleteController, isAtWork } from "./delete-controller.ts";

/** Asks for the deletion of every backup whose time is over (spec section 8.3). */
function expiryController(): Controller {
  return {
    name: "backup-expiry",
    type: VELERO.backups,
    async reconcile(context, object, options) {
      const backup = object as Backup; // of this type, by the API
      const nowMs = context.environment.nowMs();
      const expiresMs = parseTime(backup.status?.expiration);
      if (expiresMs === undefined || isAtWork(backup)) {
        return undefined; // a change of it comes by itself
      }
      const { gcMs } = context.settings;
      if (expiresMs > nowMs) {
        return { againMs: Math.min(gcMs, expiresMs - nowMs) };
      }
      await expire(context, backup, options);
      return { againMs: gcMs };
    },
  };
}

async function expire(context: Context, backup: Backup, options: CallOptions): Promise<void> {
  const { kube, namespace } = context;
  const { name, uid = "" } = backup.metadata;
  const failure = await failureOf(context, backup, options);
  if ((backup.metadata.labels?.[LABEL.gcFailure] ?? null) !== failure) {
    const patch = { metadata: { labels: { [LABEL.gcFailure]: failure } } };
    await kube.mergePatch(VELERO.backups, { namespace, name }, patch, options);
  }
  if (failure !== null || (await isAskedFor(context, backup, options))) {
    return;
  }
  const request = {
    apiVersion: "velero.io/v1",
    kind: "DeleteBackupRequest",
    metadata: {
      name: "",
      generateName: `${name}-`,
      namespace,
      labels: { [LABEL.backupName]: labelValue(name), [LABEL.backupUid]: uid },
    },
    spec: { backupName: name },
  };
  await kube.create(VELERO.deleteBackupRequests, request, options);
  context.environment.log({ level: "info", message: `backup ${name} has expired` });
}

/** Why it cannot be deleted, in Velero's words; `null` when it can. */
async function failureOf(
  { kube, namespace, settings }: Context,
  { spec }: Backup,
  options: CallOptions,
): Promise<string | null> {
  const name = spec.storageLocation ?? settings.defaultStorageLocation;
  try {
    const object = await kube.get(VELERO.backupStorageLocations, { namespace, name }, options);
    const location = object as BackupStorageLocation; // of this type, by the API
    if (location.status?.phase !== "Available") {
      return "BSLCannotGet";
    }
    return location.spec.accessMode === "ReadOnly" ? "BSLReadOnly" : null;
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return "BSLNotFound";
    }
    throw error;
  }
}

async function isAskedFor(
  { kube, namespace }: Context,
  backup: Backup,
  options: CallOptions,
): Promise<boolean> {
  const { items } = await kube.listAll(VELERO.deleteBackupRequests, { namespace, ...options });
  return (items as readonly DeleteBackupRequest[]).some(
    // of this type, by the API
    ({ spec, status }) => spec.backupName === backup.metadata.name && status?.phase !== "Processed",
  );
}

/** What deletes backups, on request and when their time is over. `actions` delete what others have made of volumes. */
export function deletionControllers({
  actions = [],
}: {
  readonly actions?: readonly DeleteAction[];
} = {}): Controller[] {
  return [deleteController(actions), expiryController()];
}
