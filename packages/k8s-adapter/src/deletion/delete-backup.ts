import { errorMessage, isVarveError, parseBlobId, VarveError } from "@varve/core";
import type { BlobStore, CallOptions } from "@varve/core/blob";
import { isKubeError } from "../kube/kube-api.ts";
import { BACKUP_JSON } from "../location/backup-files.ts";
import type { Location } from "../location/location.ts";
import type { Context } from "../server/context.ts";
import { type Backup, type Restore, VELERO } from "../velero/resources.ts";
import { deleteVolumeCopies } from "./delete-volume-copies.ts";

/**
 * Deletes a backup with all that belongs to it (spec section 8.2). Every step may be repeated: a server that is killed
 * begins again, and what is gone already is no error. The files go only when nothing failed before, as they say what
 * there is to delete.
 */

export interface DeletionRun extends CallOptions {
  readonly context: Context;
  readonly location: Location;
  readonly backup: Backup;
}

/** Deletes what a backup has outside of its folder, such as snapshots of volumes. */
export interface DeleteAction {
  /** For errors. */
  readonly name: string;
  /** What could not be deleted; safe to repeat. May throw, which is one more error. */
  execute(run: DeletionRun): Promise<readonly string[]>;
}

/** What went wrong; empty when the backup is gone but for its resource. */
export async function deleteBackupData(
  run: DeletionRun,
  actions: readonly DeleteAction[],
): Promise<readonly string[]> {
  const errors: string[] = [];
  for (const action of [VOLUME_COPIES, ...actions]) {
    errors.push(...(await attempt(run, action.name, () => action.execute(run))));
  }
  if (errors.length === 0) {
    errors.push(...(await attempt(run, "files", () => deleteFiles(run))));
  }
  errors.push(...(await attempt(run, "restores", () => deleteRestores(run))));
  return errors;
}

const VOLUME_COPIES: DeleteAction = { name: "volume copies", execute: deleteVolumeCopies };

async function attempt(
  { signal }: DeletionRun,
  step: string,
  work: () => Promise<readonly string[]>,
): Promise<readonly string[]> {
  try {
    return (await work()).map((error) => `${step}: ${error}`);
  } catch (error) {
    signal?.throwIfAborted();
    return [`${step}: ${errorMessage(error)}`];
  }
}

async function deleteFiles({ backup, location, signal }: DeletionRun): Promise<readonly string[]> {
  const store = location.backupFiles(backup.metadata.name);
  // First what makes it a backup in the eyes of others.
  await store.delete(parseBlobId(BACKUP_JSON), { signal });
  await deleteAll(store, { signal });
  return [];
}

async function deleteAll(store: BlobStore, { signal }: CallOptions): Promise<void> {
  for await (const { id } of store.list("", { signal })) {
    await store.delete(id, { signal });
  }
}

const RESTORE_WAIT_MS = 60_000;
const POLL_MS = 500;

async function deleteRestores(run: DeletionRun): Promise<readonly string[]> {
  const { backup, context, location, signal } = run;
  const { kube, namespace } = context;
  const { items } = await kube.listAll(VELERO.restores, { namespace, signal });
  const ours = (items as readonly Restore[]).filter(
    ({ spec }) => spec.backupName === backup.metadata.name, // of this type, by the API
  );
  for (const { metadata } of ours) {
    // Also its finalizer's work, but there need not be one.
    await deleteAll(location.restoreFiles(metadata.name), { signal });
    const { name, uid } = metadata;
    await kube.delete(VELERO.restores, { namespace, name }, { uid, signal });
  }
  const untilMs = context.environment.nowMs() + RESTORE_WAIT_MS;
  const errors: string[] = [];
  for (const { metadata } of ours) {
    while (await isThere(run, metadata)) {
      if (context.environment.nowMs() >= untilMs) {
        errors.push(`restore ${metadata.name} is still being deleted`);
        break;
      }
      await context.environment.sleep(POLL_MS, { signal });
    }
  }
  return errors;
}

async function isThere(
  { context: { kube, namespace }, signal }: DeletionRun,
  { name, uid }: Restore["metadata"],
): Promise<boolean> {
  try {
    return (await kube.get(VELERO.restores, { namespace, name }, { signal })).metadata.uid === uid;
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return false;
    }
    throw error;
  }
}

/** Opens the location of a backup for deletion; says why that is refused (spec section 8.2 step 1). */
export async function openForDeletion(
  context: Context,
  backup: Backup,
  options: CallOptions,
): Promise<Location> {
  const name = backup.spec.storageLocation ?? context.settings.defaultStorageLocation;
  const location = await context.locations.open(name, options);
  const refusal = location.readOnly
    ? "is read-only"
    : location.resource.status?.phase === "Available"
      ? undefined
      : "is not available";
  if (refusal !== undefined) {
    await location[Symbol.asyncDispose]();
    const message = `backup storage location ${name} ${refusal}`;
    throw new VarveError("invalid-argument", message);
  }
  return location;
}

/** Whether an error is about what was asked for, and not about the way there, so that trying again is of no use. */
export function isRefusal(error: unknown): boolean {
  return isVarveError(error, "invalid-argument");
}
