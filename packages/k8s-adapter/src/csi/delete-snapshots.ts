import { type CallOptions, errorMessage, isVarveError } from "@varve/core";
import { type DeletionRun, type DeleteAction } from "../deletion/delete-backup.ts";
import { deleteFromRepository } from "../deletion/delete-volume-copies.ts";
import type { KubeObject } from "../kube/kube-api.ts";
import { BackupContents } from "../restore/backup-contents.ts";
import type { Context } from "../server/context.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type DataUpload, VELERO } from "../velero/resources.ts";
import { isMadeByBackup } from "./backup-actions.ts";
import {
  API_VERSION,
  CONTENTS,
  ensure,
  find,
  SNAPSHOTS,
  type VolumeSnapshotContent,
} from "./snapshot-objects.ts";
import { removeSnapshot, sha256 } from "./volume-snapshots.ts";

/** A deleted backup's snapshots leave the storage, and its moved data the repositories: spec section 8.2 steps 3 and 6. */
export function csiDeleteAction({
  pollMs = 1000,
}: {
  readonly pollMs?: number;
} = {}): DeleteAction {
  return {
    name: "snapshots",
    async execute(run) {
      if (!run.context.settings.csi) {
        return [];
      }
      const { contents, uploads } = await storedIn(run);
      const { context, backup, signal } = run;
      return [
        ...(await deleteCsiSnapshots(context, contents, { pollMs, signal })),
        ...(await removeLive(run, backup.metadata.name)),
        ...(await deleteMoved(run, uploads)),
      ];
    },
  };
}

async function storedIn({ backup, location, signal }: DeletionRun): Promise<{
  readonly contents: readonly VolumeSnapshotContent[];
  readonly uploads: readonly DataUpload[];
}> {
  const { name } = backup.metadata;
  try {
    await using stored = await BackupContents.read(location.backupFiles(name), name, { signal });
    const objects = async (type: string): Promise<KubeObject[]> =>
      await Promise.all(stored.items(type).map((item) => stored.object(item)));
    return {
      contents: await objects("volumesnapshotcontents.snapshot.storage.k8s.io"),
      uploads: (await objects("datauploads.velero.io")) as DataUpload[], // what is read of them is checked
    };
  } catch (error) {
    if (isVarveError(error, "blob-not-found")) {
      return { contents: [], uploads: [] }; // a backup that failed has no tarball
    }
    throw error;
  }
}

const TIMEOUT_MS = 120_000;

/**
 * Deletes what the storage has of these contents, which come from a backup and need not be in the cluster: each is put
 * there for a moment under a name of its own, with the policy Delete. Gives what could not be deleted; safe to repeat.
 */
export async function deleteCsiSnapshots(
  context: Context,
  contents: readonly VolumeSnapshotContent[],
  { pollMs = 1000, signal }: CallOptions & { readonly pollMs?: number } = {},
): Promise<readonly string[]> {
  const errors: string[] = [];
  for (const { metadata, spec, status } of contents) {
    const handle = status?.snapshotHandle;
    const driver = spec?.driver;
    if (typeof handle !== "string" || handle === "" || typeof driver !== "string") {
      continue; // it was never taken
    }
    try {
      const kept = Object.entries(metadata.annotations ?? {}).filter(([key]) =>
        key.includes("-secret-"),
      );
      const annotations = Object.fromEntries(kept);
      const options = { driver, annotations, pollMs, signal };
      await deleteHandle(context, handle, { spec, ...options });
    } catch (error) {
      signal?.throwIfAborted();
      errors.push(`snapshot ${handle}: ${errorMessage(error)}`);
    }
  }
  return errors;
}

async function deleteHandle(
  { kube, environment, namespace }: Context,
  handle: string,
  {
    driver,
    annotations,
    spec,
    pollMs,
    signal,
  }: CallOptions & {
    readonly driver: string;
    readonly annotations: Record<string, string>;
    readonly spec: VolumeSnapshotContent["spec"];
    readonly pollMs: number;
  },
): Promise<void> {
  const name = `velero-delete-${sha256(`${driver}/${handle}`).slice(0, 32)}`;
  const { sourceVolumeMode, volumeSnapshotClassName } = spec ?? {};
  const object = {
    apiVersion: API_VERSION,
    kind: "VolumeSnapshotContent",
    metadata: { name, annotations },
    spec: {
      deletionPolicy: "Delete",
      driver,
      source: { snapshotHandle: handle },
      ...(sourceVolumeMode === undefined ? {} : { sourceVolumeMode }),
      ...(volumeSnapshotClassName === undefined ? {} : { volumeSnapshotClassName }),
      volumeSnapshotRef: { kind: "VolumeSnapshot", namespace, name },
    },
  };
  // Controllers take the storage's snapshot away with a VolumeSnapshot, never with a content alone.
  const snapshot = {
    apiVersion: API_VERSION,
    kind: "VolumeSnapshot",
    metadata: { name, namespace },
    spec: {
      source: { volumeSnapshotContentName: name },
      ...(volumeSnapshotClassName === undefined ? {} : { volumeSnapshotClassName }),
    },
  };
  const deadlineMs = environment.nowMs() + TIMEOUT_MS;
  await ensure(kube, CONTENTS, object, { signal });
  await ensure(kube, SNAPSHOTS, snapshot, { signal });
  for (;;) {
    const content = await find<VolumeSnapshotContent>(kube, CONTENTS, { name }, { signal });
    if (content === undefined) {
      return;
    }
    const isBound =
      content.status?.snapshotHandle === handle && (content.metadata.finalizers ?? []).length > 0;
    const why = content.status?.error?.message;
    if (isBound) {
      await kube.delete(SNAPSHOTS, { namespace, name }, { signal });
    } else if (why !== undefined || environment.nowMs() >= deadlineMs) {
      await kube.delete(SNAPSHOTS, { namespace, name }, { signal });
      await kube.delete(CONTENTS, { name }, { signal });
      if (why === undefined || !/not found|NotFound/.test(why)) {
        throw new Error(why ?? "its driver does not answer");
      }
      return; // it is gone already
    }
    if (environment.nowMs() >= deadlineMs) {
      throw new Error(why ?? "its driver does not delete it");
    }
    await environment.sleep(pollMs, { signal });
  }
}

/** What a backup that was cut off has left in the cluster. */
async function removeLive(
  { context, signal }: DeletionRun,
  backup: string,
): Promise<readonly string[]> {
  if (context.catalog.resolve("volumesnapshots.snapshot.storage.k8s.io") === undefined) {
    return [];
  }
  const labelSelector = `${LABEL.backupName}=${labelValue(backup)}`;
  const { items } = await context.kube.listAll(SNAPSHOTS, { labelSelector, signal });
  for (const { metadata } of items.filter((each) => isMadeByBackup(each))) {
    await removeSnapshot(context, metadata, { deletionPolicy: "Delete", signal });
  }
  return [];
}

/** As the tarball has them, and, where their data came after it, the cluster. */
async function deleteMoved(
  run: DeletionRun,
  stored: readonly DataUpload[],
): Promise<readonly string[]> {
  const { context, backup, signal } = run;
  const { kube, namespace } = context;
  const labelSelector = `${LABEL.backupUid}=${backup.metadata.uid ?? ""}`;
  const { items } = await kube.listAll(VELERO.dataUploads, { namespace, labelSelector, signal });
  const byNamespace = new Map<string, Set<string>>();
  for (const { spec, status } of [...stored, ...(items as readonly DataUpload[])]) {
    const snapshot = status?.snapshotID ?? ""; // by its type
    const ours = ["", "velero"].includes(spec.datamover ?? "");
    if (snapshot !== "" && ours) {
      const { sourceNamespace } = spec;
      byNamespace.set(
        sourceNamespace,
        (byNamespace.get(sourceNamespace) ?? new Set()).add(snapshot),
      );
    }
  }
  const errors: string[] = [];
  for (const [volumeNamespace, snapshots] of byNamespace) {
    errors.push(...(await deleteFromRepository(run, { volumeNamespace, snapshots })));
  }
  for (const { metadata } of errors.length === 0 ? items : []) {
    await kube.delete(VELERO.dataUploads, { namespace, name: metadata.name }, { signal });
  }
  return errors;
}
