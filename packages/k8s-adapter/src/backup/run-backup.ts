import { errorMessage, isVarveError, type CallOptions } from "@varve/core";
import type { BlobStore } from "@varve/core/blob";
import { isKubeError } from "../kube/kube-api.ts";
import { readBackup } from "../location/backup-files.ts";
import type { Context } from "../server/context.ts";
import { RecordedLog } from "../server/recorded-log.ts";
import type { Backup } from "../velero/resources.ts";
import { putBackupFiles } from "./put-backup-files.ts";
import { failBackup, nowText, patchBackup } from "./backup-status.ts";
import { isOpen } from "./item-operations.ts";
import { prepareBackup } from "./prepare-backup.ts";
import { type BackupParts, counted, storeObjects } from "./store-objects.ts";

/**
 * One Backup from ReadyToStart, or from InProgress when the process that began it was killed, to the phase in which its
 * files are in the bucket (semantics spec section 2.7).
 *
 * There is no journal beside the resources: a bucket with Velero's layout has no place for one, and objects of the
 * cluster change while nobody lists them. A killed run begins anew with the listing; the volume data, which is what
 * takes long, is not uploaded again, as PodVolumeBackups of the same Backup are taken over. Hooks run again.
 */
export async function runBackup(
  context: Context,
  given: Backup,
  parts: BackupParts,
  options: CallOptions,
): Promise<void> {
  const backup =
    given.status?.phase === "InProgress" ? given : await begin(context, given, options);
  if (backup === undefined) {
    return;
  }
  try {
    await using location = await context.locations.open(backup.spec.storageLocation ?? "", options);
    const store = location.backupFiles(backup.metadata.name);
    const stored = await readBackup(store, { ...options, name: backup.metadata.name });
    if (stored === undefined) {
      await storeBackup(context, backup, { ...parts, store }, options);
    } else if (stored.metadata.uid === backup.metadata.uid && stored.status !== undefined) {
      // All was uploaded, and only the resource was not told.
      await patchBackup(context, backup, { status: stored.status }, options);
    } else {
      const reason = `backup ${backup.metadata.name} already exists in object storage`;
      await failBackup(context, backup, reason, options);
    }
  } catch (error) {
    options.signal?.throwIfAborted(); // another process goes on
    if (isKubeError(error, "not-found") || isKubeError(error, "conflict")) {
      return; // the Backup was deleted meanwhile
    }
    if (isKubeError(error, "unavailable") || isKubeError(error, "timeout")) {
      throw error; // begun anew when the API server answers again
    }
    await failBackup(context, backup, failureReason(error), options);
  }
}

/** Defaults and validation; `undefined` when it failed. */
async function begin(
  context: Context,
  backup: Backup,
  options: CallOptions,
): Promise<Backup | undefined> {
  const { problems, metadata, spec, status } = await prepareBackup(context, backup, options);
  if (problems.length > 0) {
    const failed = {
      ...status,
      phase: "FailedValidation" as const,
      validationErrors: [...problems],
      queuePosition: null,
    };
    await patchBackup(context, backup, { metadata, spec, status: failed }, options);
    return undefined;
  }
  const started = {
    ...status,
    phase: "InProgress",
    startTimestamp: nowText(context),
    queuePosition: null,
  } as const;
  return await patchBackup(context, backup, { metadata, spec, status: started }, options);
}

async function storeBackup(
  context: Context,
  backup: Backup,
  { store, ...parts }: BackupParts & { readonly store: BlobStore },
  options: CallOptions,
): Promise<void> {
  const { namespace = "", name } = backup.metadata;
  const log = new RecordedLog(context.environment, { backup: `${namespace}/${name}` });
  const run = { context, backup, log };
  const { files, status } = await storeObjects(run, parts, {
    ...options,
    onProgress: async (progress) => {
      await patchBackup(context, backup, { status: { progress } }, options);
    },
  });
  const phase = files.itemOperations.some(isOpen) ? "WaitingForPluginOperations" : "Finalizing";
  const change = {
    ...status,
    ...counted("warnings", log.warnings),
    ...counted("errors", log.errors),
    phase: log.errors > 0 ? (`${phase}PartiallyFailed` as const) : phase,
  } as const;
  // Read again: labels and annotations may have been changed since.
  const current = await patchBackup(context, backup, {}, options);
  await putBackupFiles(
    store,
    { ...current, status: { ...current.status, ...change } },
    { ...files, results: log.results, log: await log.close() },
    options,
  );
  await patchBackup(context, backup, { status: change }, options);
}

function failureReason(error: unknown): string {
  const message = errorMessage(error);
  return isVarveError(error, "blob-exists") ? message : `backup failed: ${message}`;
}
