import { CONFIG_MAPS } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import type { OperationProgress } from "../backup/action.ts";
import type { KubeObject } from "../kube/kube-api.ts";
import type { RestoreRun } from "../restore/action.ts";
import type { Context } from "../server/context.ts";
import { durationMs, formatDuration } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type DataDownload, type DataUpload, VELERO } from "../velero/resources.ts";
import { isFinal } from "../volume/wait-for-copies.ts";
import { progressOf } from "./data-uploads.ts";
import { ensure } from "./snapshot-objects.ts";
import { sha256 } from "./volume-snapshots.ts";

/** DataDownloads as the server sees them, and what it keeps of the DataUploads of a backup (spec section 5.3). */

const USAGE = "velero.io/resource-usage";
const CLAIM_NAME = "velero.io/pvc-namespace-name";

interface UploadResult {
  readonly backupStorageLocation: string;
  readonly datamover?: string;
  readonly snapshotID: string;
  readonly sourceNamespace: string;
  readonly dataMoverResult?: Record<string, string> | null;
  readonly nodeOS?: string;
  readonly snapshotSize?: number;
}

function resultLabels({ restore }: RestoreRun, claim: string): Record<string, string> {
  return {
    [LABEL.restoreUid]: restore.metadata.uid ?? "",
    [CLAIM_NAME]: labelValue(claim),
    [USAGE]: "DataUpload",
  };
}

/** In a ConfigMap, until the claim's download is begun. */
export async function keepUploadResult(
  run: RestoreRun,
  { metadata, spec, status = {} }: DataUpload,
  { signal }: CallOptions,
): Promise<void> {
  const { context, restore, backup } = run;
  if (metadata.labels?.[LABEL.backupName] !== labelValue(backup.metadata.name)) {
    return; // another backup's, which stood in the server's namespace
  }
  const claim = `${spec.sourceNamespace}.${spec.sourcePVC}`;
  const uid = restore.metadata.uid ?? "";
  const result: UploadResult = {
    // As the backup is known here: another cluster may have called the location otherwise.
    backupStorageLocation: backup.spec.storageLocation ?? spec.backupStorageLocation,
    datamover: spec.datamover ?? "",
    snapshotID: status.snapshotID ?? "",
    sourceNamespace: spec.sourceNamespace,
    ...(status.dataMoverResult == null ? {} : { dataMoverResult: status.dataMoverResult }),
    nodeOS: status.nodeOS ?? "",
    snapshotSize: status.progress?.totalBytes ?? 0,
  };
  const object = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: `${restore.metadata.name.slice(0, 200)}-${sha256(`${uid}/${claim}`).slice(0, 10)}`,
      namespace: context.namespace,
      labels: resultLabels(run, claim),
      ownerReferences: [
        { apiVersion: "velero.io/v1", kind: "Restore", name: restore.metadata.name, uid },
      ],
    },
    data: { [uid]: JSON.stringify(result) },
  };
  await ensure(context.kube, CONFIG_MAPS, object, { signal });
}

interface Target {
  readonly namespace: string;
  readonly name: string;
  /** Of the claim in the backup. */
  readonly claimUid: string;
}

/** The id of the operation. A restore that was cut off finds what it had begun. */
export async function startDataDownload(
  run: RestoreRun,
  { metadata }: KubeObject,
  { target, signal }: CallOptions & { readonly target: Target },
): Promise<string> {
  const { context, restore } = run;
  const { kube, namespace } = context;
  const id = labelValue(`dd-${restore.metadata.uid ?? ""}.${target.claimUid}`);
  const claim = `${metadata.namespace ?? ""}.${metadata.name}`;
  const labels = Object.entries(resultLabels(run, claim)).map(([key, value]) => `${key}=${value}`);
  const labelSelector = labels.join(",");
  const { items } = await kube.listAll(CONFIG_MAPS, { namespace, labelSelector, signal });
  if ((await findDataDownload(context, id, { signal })) === undefined) {
    const result = readResult(items[0], restore.metadata.uid ?? "");
    if (result === undefined) {
      throw new Error("the backup does not say where the data of the claim was moved to");
    }
    const download = newDataDownload(run, result, { target, id });
    await kube.create(VELERO.dataDownloads, download, { signal });
  }
  for (const { metadata: found } of items) {
    await kube.delete(CONFIG_MAPS, { namespace, name: found.name }, { signal });
  }
  return id;
}

function readResult(object: KubeObject | undefined, uid: string): UploadResult | undefined {
  const { data } = (object ?? {}) as { data?: Record<string, string> };
  const text = data?.[uid];
  if (text === undefined) {
    return undefined;
  }
  const result = JSON.parse(text) as Partial<UploadResult>; // looked at here
  return typeof result.snapshotID === "string" && result.snapshotID !== ""
    ? (result as UploadResult)
    : undefined;
}

function newDataDownload(
  { context, restore, backup }: RestoreRun,
  result: UploadResult,
  { target, id }: { readonly target: Target; readonly id: string },
): DataDownload {
  const { name, uid = "" } = restore.metadata;
  const { parallelFilesDownload = 0, writeSparseFiles } = restore.spec.uploaderConfig ?? {};
  const timeoutMs = durationMs(
    backup.spec.csiSnapshotTimeout,
    context.settings.csiSnapshotTimeoutMs,
  );
  const config: Record<string, string> = {
    ...result.dataMoverResult,
    ...(parallelFilesDownload > 0 ? { ParallelFilesDownload: String(parallelFilesDownload) } : {}),
    ...(writeSparseFiles === true ? { WriteSparseFiles: "true" } : {}),
  };
  return {
    apiVersion: "velero.io/v2alpha1",
    kind: "DataDownload",
    metadata: {
      name: "",
      namespace: context.namespace,
      generateName: `${name}-`,
      labels: {
        [LABEL.restoreName]: labelValue(name),
        [LABEL.restoreUid]: uid,
        [LABEL.asyncOperationId]: id,
      },
      ownerReferences: [
        { apiVersion: "velero.io/v1", kind: "Restore", name, uid, controller: true },
      ],
    },
    spec: {
      targetVolume: { pvc: target.name, pv: "", namespace: target.namespace },
      backupStorageLocation: result.backupStorageLocation,
      datamover: result.datamover ?? "",
      snapshotID: result.snapshotID,
      sourceNamespace: result.sourceNamespace,
      operationTimeout: formatDuration(timeoutMs),
      ...(Object.keys(config).length === 0 ? {} : { dataMoverConfig: config }),
      ...(result.snapshotSize === undefined ? {} : { snapshotSize: result.snapshotSize }),
    },
  };
}

async function findDataDownload(
  { kube, namespace }: Context,
  id: string,
  { signal }: CallOptions,
): Promise<DataDownload | undefined> {
  const labelSelector = `${LABEL.asyncOperationId}=${id}`;
  const { items } = await kube.listAll(VELERO.dataDownloads, { namespace, labelSelector, signal });
  return items[0] as DataDownload | undefined; // by its type
}

export async function dataDownloadProgress(
  context: Context,
  id: string,
  options: CallOptions,
): Promise<OperationProgress> {
  return progressOf(await findDataDownload(context, id, options), id);
}

export async function cancelDataDownload(
  context: Context,
  id: string,
  { signal }: CallOptions,
): Promise<void> {
  const found = await findDataDownload(context, id, { signal });
  if (found !== undefined && !isFinal(found.status)) {
    const where = { namespace: context.namespace, name: found.metadata.name };
    const patch = { spec: { cancel: true } };
    await context.kube.mergePatch(VELERO.dataDownloads, where, patch, { signal });
  }
}
