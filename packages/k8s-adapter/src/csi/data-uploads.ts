import { CLAIMS, VOLUMES } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import type { BackupRun, OperationProgress, StartedOperation } from "../backup/action.ts";
import { pvInfo, type VolumeInfo } from "../backup/volume-info.ts";
import type { KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { formatDuration, durationMs } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type DataUpload, VELERO } from "../velero/resources.ts";
import { readyBackupRepository } from "../volume/backup-repositories.ts";
import { isFinal } from "../volume/wait-for-copies.ts";
import { type Claim, find, type Volume } from "./snapshot-objects.ts";
import { removeSnapshot, type TakenSnapshot } from "./volume-snapshots.ts";

/** DataUploads as the server sees them: made for a claim, watched, and told of at the end (spec section 5.3). */

export const DATA_UPLOAD_NAME = "velero.io/data-upload-name";

/**
 * What a run that was cut off has begun for the claim; annotates it. To be asked before a snapshot is taken: by then the
 * first one may be moved, and nobody would delete a second.
 */
export async function begunDataUpload(
  run: BackupRun,
  claim: Claim,
  options: CallOptions,
): Promise<StartedOperation | undefined> {
  const id = operationId(run, claim);
  const found = await findDataUpload(run.context, id, options);
  return found && operationOf(found, claim, id);
}

/** Annotates the claim. What cannot be begun leaves no snapshot. */
export async function startDataUpload(
  run: BackupRun,
  taken: TakenSnapshot,
  { claim, signal }: CallOptions & { readonly claim: Claim },
): Promise<StartedOperation> {
  const { context, backup } = run;
  const id = operationId(run, claim);
  try {
    const location = backup.spec.storageLocation ?? context.settings.defaultStorageLocation;
    const volumeNamespace = claim.metadata.namespace ?? "";
    await readyBackupRepository(context, { volumeNamespace, location }, { signal });
    const upload = newDataUpload(run, taken, { claim, id, location });
    const made = await context.kube.create(VELERO.dataUploads, upload, { signal });
    return operationOf(made, claim, id);
  } catch (error) {
    signal?.throwIfAborted();
    await removeSnapshot(context, taken.snapshot.metadata, { deletionPolicy: "Delete", signal });
    throw error;
  }
}

function operationId({ backup }: BackupRun, { metadata }: Claim): string {
  return labelValue(`du-${backup.metadata.uid ?? ""}.${metadata.uid ?? ""}`);
}

function operationOf({ metadata }: KubeObject, claim: Claim, id: string): StartedOperation {
  const { namespace = "", name } = metadata;
  claim.metadata.annotations = {
    ...claim.metadata.annotations,
    [DATA_UPLOAD_NAME]: `${namespace}/${name}`,
  };
  return { id, postItems: [{ groupResource: "datauploads.velero.io", namespace, name }] };
}

function newDataUpload(
  { context, backup }: BackupRun,
  { snapshot, content }: TakenSnapshot,
  {
    claim,
    id,
    location,
  }: { readonly claim: Claim; readonly id: string; readonly location: string },
): DataUpload {
  const { spec, metadata } = backup;
  const parallel = spec.uploaderConfig?.parallelFilesUpload ?? 0;
  const timeoutMs = durationMs(spec.csiSnapshotTimeout, context.settings.csiSnapshotTimeoutMs);
  return {
    apiVersion: "velero.io/v2alpha1",
    kind: "DataUpload",
    metadata: {
      name: "",
      namespace: context.namespace,
      generateName: `${metadata.name}-`,
      labels: {
        [LABEL.backupName]: labelValue(metadata.name),
        [LABEL.backupUid]: metadata.uid ?? "",
        [LABEL.pvcUid]: claim.metadata.uid ?? "",
        [LABEL.asyncOperationId]: id,
      },
      ownerReferences: [
        {
          apiVersion: "velero.io/v1",
          kind: "Backup",
          name: metadata.name,
          uid: metadata.uid ?? "",
          controller: true,
        },
      ],
    },
    spec: {
      snapshotType: "CSI",
      csiSnapshot: {
        volumeSnapshot: snapshot.metadata.name,
        storageClass: claim.spec?.storageClassName ?? "",
        snapshotClass: snapshot.spec?.volumeSnapshotClassName ?? "",
        driver: content.spec?.driver ?? "",
      },
      sourcePVC: claim.metadata.name,
      sourceNamespace: claim.metadata.namespace ?? "",
      datamover: spec.datamover ?? "",
      backupStorageLocation: location,
      operationTimeout: formatDuration(timeoutMs),
      ...(parallel > 0 ? { dataMoverConfig: { ParallelFilesUpload: String(parallel) } } : {}),
    },
  };
}

async function findDataUpload(
  { kube, namespace }: Context,
  id: string,
  { signal }: CallOptions,
): Promise<DataUpload | undefined> {
  const labelSelector = `${LABEL.asyncOperationId}=${id}`;
  const { items } = await kube.listAll(VELERO.dataUploads, { namespace, labelSelector, signal });
  return items[0] as DataUpload | undefined; // by its type
}

export async function dataUploadProgress(
  context: Context,
  id: string,
  options: CallOptions,
): Promise<OperationProgress> {
  return progressOf(await findDataUpload(context, id, options), id);
}

/** Of a DataUpload or a DataDownload. */
export function progressOf(
  object: Pick<DataUpload, "status"> | undefined,
  id: string,
): OperationProgress {
  if (object === undefined) {
    return { completed: true, error: `what was to move the data, ${id}, is gone` };
  }
  const { phase = "New", progress, message = "" } = object.status ?? {};
  const told = {
    nCompleted: progress?.bytesDone,
    nTotal: progress?.totalBytes,
    units: "Byte",
    description: phase,
  };
  if (!isFinal(object.status)) {
    return { completed: false, ...told };
  }
  const error = phase === "Completed" ? {} : { error: message === "" ? phase : message };
  return { completed: true, ...told, ...error };
}

export async function cancelDataUpload(
  context: Context,
  id: string,
  { signal }: CallOptions,
): Promise<void> {
  const found = await findDataUpload(context, id, { signal });
  if (found !== undefined && !isFinal(found.status)) {
    const where = { namespace: context.namespace, name: found.metadata.name };
    await context.kube.mergePatch(
      VELERO.dataUploads,
      where,
      { spec: { cancel: true } },
      { signal },
    );
  }
}

/** Of all that this backup has moved. */
export async function movedVolumeInfos(
  { context, backup }: BackupRun,
  { signal }: CallOptions,
): Promise<readonly VolumeInfo[]> {
  const { items } = await context.kube.listAll(VELERO.dataUploads, {
    namespace: context.namespace,
    labelSelector: `${LABEL.backupUid}=${backup.metadata.uid ?? ""}`,
    signal,
  });
  const infos: VolumeInfo[] = [];
  for (const found of items as readonly DataUpload[]) {
    // by its type
    const { sourceNamespace: namespace, sourcePVC: name } = found.spec;
    const claim = await find<Claim>(context.kube, CLAIMS, { namespace, name }, { signal });
    const where = { name: claim?.spec?.volumeName ?? "" };
    const volume =
      where.name === "" ? undefined : await find<Volume>(context.kube, VOLUMES, where, { signal });
    infos.push(movedInfo(found, volume));
  }
  return infos;
}

function movedInfo(
  { metadata, spec, status = {} }: DataUpload,
  volume: Volume | undefined,
): VolumeInfo {
  const unknown = "unknown";
  return {
    pvcName: spec.sourcePVC,
    pvcNamespace: spec.sourceNamespace,
    ...(volume === undefined ? {} : { pvName: volume.metadata.name, pvInfo: pvInfo(volume) }),
    backupMethod: "CSISnapshot",
    snapshotDataMoved: true,
    preserveLocalSnapshot: false,
    skipped: false,
    startTimestamp: status.startTimestamp ?? undefined,
    completionTimestamp: status.completionTimestamp ?? undefined,
    result: status.phase === "Completed" ? "succeeded" : "failed",
    csiSnapshotInfo: {
      snapshotHandle: unknown,
      size: 0,
      driver: spec.csiSnapshot?.driver ?? "",
      vscName: unknown,
      operationID: unknown,
    },
    snapshotDataMovementInfo: {
      dataMover: spec.datamover === undefined || spec.datamover === "" ? "velero" : spec.datamover,
      uploaderType: "kopia",
      snapshotHandle: status.snapshotID ?? "",
      operationID: metadata.labels?.[LABEL.asyncOperationId] ?? "",
      size: status.progress?.totalBytes ?? 0,
      ...(status.incrementalBytes === undefined
        ? {}
        : { incrementalSize: status.incrementalBytes }),
      Phase: status.phase ?? "",
    },
  };
}
