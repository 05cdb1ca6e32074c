import { isVarveError, parseBlobId } from "@varve/core";
import type { CallOptions } from "@varve/core/blob";
import {
  ignoreMissing,
  type ObjectMeta,
  type OwnerReference,
  isKubeError,
} from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { parseTime } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type Backup, type PodVolumeBackup, VELERO } from "../velero/resources.ts";
import { BACKUP_JSON, readBackup, readPodVolumeBackups } from "./backup-files.ts";
import type { Location } from "./location.ts";

/**
 * Makes the Backups of a namespace what a location holds (spec section 3.7): those that are found become resources,
 * and resources whose files are gone go too, but only on proof: a listing that is whole, and the one file looked for.
 */

/** On a Backup whose PodVolumeBackups are not all there yet. */
const UNFINISHED = "varve.dev/sync-unfinished";
const IMPORTED = new Set(["Completed", "PartiallyFailed", "Failed"]);
const ON_THEIR_WAY = /^(?:WaitingForPluginOperations|Finalizing)(?:PartiallyFailed)?$/;
const FINAL_VOLUME_PHASES = new Set(["Completed", "Failed", "Canceled"]);

export async function syncBackups(
  context: Context,
  location: Location,
  options: CallOptions,
): Promise<void> {
  const { kube, namespace } = context;
  // The resources first: one that is complete in this list has files in the listing that follows.
  const { items } = await kube.listAll(VELERO.backups, { namespace, ...options });
  const known = new Map(items.map((item) => [item.metadata.name, item as Backup])); // of this type, by the API
  const found = new Set<string>();
  for await (const name of location.bucket.folders(`${location.prefix}backups/`, options)) {
    found.add(name);
  }
  for (const name of [...found].toSorted()) {
    const backup = known.get(name);
    try {
      if (backup === undefined) {
        await importBackup(context, location, { name, ...options });
      } else if (isOf(backup, location) && backup.metadata.annotations?.[UNFINISHED] === "true") {
        await importPodVolumeBackups(context, location, { backup, ...options });
      }
    } catch (error) {
      options.signal?.throwIfAborted();
      note(context, location, `backup ${name} cannot be taken over: ${String(error)}`);
    }
  }
  for (const backup of known.values()) {
    if (isOrphan(backup, location, found)) {
      await deleteOrphan(context, location, { backup, ...options });
    }
  }
}

function isOf({ metadata }: Backup, { name }: Location): boolean {
  return metadata.labels?.[LABEL.storageLocation] === labelValue(name);
}

async function importBackup(
  context: Context,
  location: Location,
  { name, signal }: CallOptions & { readonly name: string },
): Promise<void> {
  const { kube, namespace } = context;
  const stored = await readBackup(location.backupFiles(name), { name, signal });
  if (stored === undefined) {
    return; // not whole yet, or never
  }
  const phase = importedPhase(stored, context.environment.nowMs());
  if (phase === undefined) {
    return;
  }
  const labels = {
    ...textsOf(stored.metadata.labels),
    [LABEL.storageLocation]: labelValue(location.name),
  };
  const owners = await ownersOf(context, stored.metadata, { signal });
  const metadata: ObjectMeta = {
    name,
    namespace,
    labels,
    annotations: { ...textsOf(stored.metadata.annotations), [UNFINISHED]: "true" },
    ...(owners.length === 0 ? {} : { ownerReferences: owners }),
  };
  const backup = {
    apiVersion: "velero.io/v1",
    kind: "Backup",
    metadata,
    spec: { ...stored.spec, storageLocation: location.name },
    status: { ...stored.status, phase },
  };
  try {
    const created = await kube.create(VELERO.backups, backup, { signal });
    note(context, location, `backup ${name} is taken over`);
    await importPodVolumeBackups(context, location, { backup: created as Backup, signal });
  } catch (error) {
    if (!isKubeError(error, "already-exists")) {
      throw error;
    }
  }
}

/** `undefined`: not now. What is not final in the store is another server's work, whatever a peer would do with it. */
function importedPhase({ status }: Backup, nowMs: number): string | undefined {
  const phase = status?.phase ?? "";
  if (IMPORTED.has(phase)) {
    return phase;
  }
  const isExpired = (parseTime(status?.expiration) ?? Number.POSITIVE_INFINITY) <= nowMs;
  return ON_THEIR_WAY.test(phase) && isExpired ? "PartiallyFailed" : undefined;
}

/** Owners of another cluster would have the object collected as garbage. */
async function ownersOf(
  { kube, namespace }: Context,
  { ownerReferences }: ObjectMeta,
  options: CallOptions,
): Promise<OwnerReference[]> {
  const owners: OwnerReference[] = [];
  for (const owner of Array.isArray(ownerReferences) ? ownerReferences : []) {
    if (owner.kind === "Schedule" && typeof owner.name === "string") {
      const schedule = await kube
        .get(VELERO.schedules, { namespace, name: owner.name }, options)
        .catch((error: unknown) => ignoreMissing(error));
      if (schedule?.metadata.uid === owner.uid) {
        owners.push(owner);
      }
    }
  }
  return owners;
}

async function importPodVolumeBackups(
  context: Context,
  location: Location,
  { backup, signal }: CallOptions & { readonly backup: Backup },
): Promise<void> {
  const { kube, namespace } = context;
  const { name } = backup.metadata;
  const stored = await readPodVolumeBackups(location.backupFiles(name), { name, signal });
  for (const volume of stored) {
    const object = podVolumeBackupOf(volume, { backup, location });
    if (!FINAL_VOLUME_PHASES.has(object.status?.phase ?? "")) {
      continue; // a node-agent would take it up
    }
    try {
      await kube.create(VELERO.podVolumeBackups, object, { signal });
    } catch (error) {
      if (isKubeError(error, "invalid")) {
        note(context, location, `${object.metadata.name} of backup ${name}: ${error.message}`);
      } else if (!isKubeError(error, "already-exists")) {
        throw error;
      }
    }
  }
  const patch = { metadata: { annotations: { [UNFINISHED]: null } } };
  await kube.mergePatch(VELERO.backups, { namespace, name }, patch, { signal });
}

/** Spec section 3.7 step 4. */
function podVolumeBackupOf(
  { metadata, spec, status }: PodVolumeBackup,
  { backup, location }: { readonly backup: Backup; readonly location: Location },
): PodVolumeBackup {
  const { name, namespace = "", uid = "" } = backup.metadata;
  const labels: Record<string, string> = textsOf(metadata.labels);
  labels[LABEL.backupName] = labelValue(name);
  if (labels[LABEL.backupUid] !== undefined) {
    labels[LABEL.backupUid] = uid;
  }
  const owner = { apiVersion: "velero.io/v1", kind: "Backup", name, uid, controller: true };
  return {
    apiVersion: "velero.io/v1",
    kind: "PodVolumeBackup",
    metadata: {
      name: metadata.name,
      namespace,
      labels,
      annotations: textsOf(metadata.annotations),
      ownerReferences: [owner],
    },
    spec: { ...spec, backupStorageLocation: location.name },
    ...(status === undefined ? {} : { status }),
  };
}

function isOrphan(backup: Backup, location: Location, found: ReadonlySet<string>): boolean {
  const phase = backup.status?.phase;
  const isFinished = phase === "Completed" || phase === "PartiallyFailed";
  return isOf(backup, location) && isFinished && !found.has(backup.metadata.name);
}

async function deleteOrphan(
  context: Context,
  location: Location,
  { backup, signal }: CallOptions & { readonly backup: Backup },
): Promise<void> {
  const { name, uid } = backup.metadata;
  try {
    await location.backupFiles(name).stat(parseBlobId(BACKUP_JSON), { signal });
    return; // it is there, whatever the listing says
  } catch (error) {
    if (!isVarveError(error, "blob-not-found")) {
      throw error;
    }
  }
  const { kube, namespace } = context;
  await kube.delete(VELERO.backups, { namespace, name }, { uid, signal });
  note(context, location, `backup ${name} is gone from the location, so its resource is deleted`);
}

/** Labels and annotations as the API takes them. */
function textsOf(map: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(typeof map === "object" && map !== null ? map : {}).filter(
      (entry): entry is [string, string] => typeof entry[1] === "string",
    ),
  );
}

function note({ environment }: Context, { name }: Location, message: string): void {
  environment.log({ level: "info", message: `location ${name}: ${message}` });
}
