import {
  deleteSnapshot,
  errorMessage,
  isVarveError,
  type ManifestId,
  parseBlobId,
  parseManifestId,
  type Repository,
} from "@varve/core";
import { readPodVolumeBackups } from "../location/backup-files.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type PodVolumeBackup, VELERO } from "../velero/resources.ts";
import { openVolumeRepository } from "../volume/volume-repository.ts";
import type { DeletionRun } from "./delete-backup.ts";

/**
 * Deletes the snapshots of a backup's file-system copies from the repositories of their namespaces (spec section 8.2
 * step 5): those that resources tell of, and those in the backup's own file, which is there when resources are not.
 */
export async function deleteVolumeCopies(run: DeletionRun): Promise<readonly string[]> {
  const errors: string[] = [];
  const byNamespace = new Map<string, Set<string>>();
  for (const { metadata, spec, status } of await volumeBackupsOf(run)) {
    const snapshot = status?.snapshotID ?? "";
    if (snapshot !== "" && spec.uploaderType === "restic") {
      errors.push(`${metadata.name}: its copy is in a restic repository, which cannot be opened`);
    } else if (snapshot !== "") {
      const { namespace } = spec.pod;
      byNamespace.set(namespace, (byNamespace.get(namespace) ?? new Set()).add(snapshot));
    }
  }
  for (const [volumeNamespace, snapshots] of byNamespace) {
    errors.push(...(await deleteFromRepository(run, { volumeNamespace, snapshots })));
  }
  return errors;
}

async function volumeBackupsOf({
  backup,
  context,
  location,
  signal,
}: DeletionRun): Promise<readonly PodVolumeBackup[]> {
  const { name } = backup.metadata;
  const { items } = await context.kube.listAll(VELERO.podVolumeBackups, {
    namespace: context.namespace,
    labelSelector: `${LABEL.backupName}=${labelValue(name)}`,
    signal,
  });
  const stored = await readPodVolumeBackups(location.backupFiles(name), { name, signal });
  return [...(items as readonly PodVolumeBackup[]), ...stored]; // of this type, by the API
}

/** Deletes snapshots of one repository, and commits. */
export async function deleteFromRepository(
  { context, location, signal }: DeletionRun,
  options: { readonly volumeNamespace: string; readonly snapshots: Iterable<string> },
): Promise<readonly string[]> {
  const { volumeNamespace } = options;
  try {
    await location.repository(volumeNamespace).stat(parseBlobId("kopia.repository"), { signal });
  } catch (error) {
    if (isVarveError(error, "blob-not-found")) {
      return []; // what had the snapshots is gone
    }
    throw error;
  }
  await using repository = await openVolumeRepository(context, {
    location,
    volumeNamespace,
    signal,
  });
  const errors: string[] = [];
  for (const snapshot of options.snapshots) {
    try {
      await deleteOne(repository, parseManifestId(snapshot), { signal });
    } catch (error) {
      signal?.throwIfAborted();
      errors.push(`snapshot ${snapshot} of namespace ${volumeNamespace}: ${errorMessage(error)}`);
    }
  }
  await repository.flush({ signal });
  return errors;
}

async function deleteOne(
  repository: Repository,
  id: ManifestId,
  options: { readonly signal: AbortSignal | undefined },
): Promise<void> {
  try {
    await deleteSnapshot(repository, id, options);
  } catch (error) {
    if (!isVarveError(error, "manifest-not-found")) {
      throw error;
    }
  }
}
