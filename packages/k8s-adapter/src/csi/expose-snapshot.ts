import { CLAIMS, PODS } from "../kube/core-types.ts";
import { type CallOptions, VarveError } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { DataUpload } from "../velero/resources.ts";
import { podPhase } from "../volume/pod-spec.ts";
import { type HolderPod, holderPod } from "./holder-pod.ts";
import {
  API_VERSION,
  type Claim,
  CONTENTS,
  ensure,
  find,
  SNAPSHOTS,
  snapshotSource,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from "./snapshot-objects.ts";
import { contentOf, removeSnapshot, restoreSizeBytes, SNAPSHOT } from "./volume-snapshots.ts";

/**
 * A snapshot as a mounted volume (spec section 5.3): copies of the snapshot's objects in the server's namespace, a claim
 * made from them, and a pod that holds it. Everything is named like the DataUpload, so that each step can be repeated by
 * whichever agent, and all of it be found and removed.
 */

export interface ExposeOptions extends CallOptions {
  readonly holder: HolderPod;
}

/** The pod, once it runs; `undefined` while something is still to come. Throws `source-failed` when it never will. */
export async function exposeSnapshot(
  context: Context,
  upload: DataUpload,
  { holder, signal }: ExposeOptions,
): Promise<KubeObject | undefined> {
  const { kube, namespace } = context;
  const { name } = upload.metadata;
  if (!(await moveSnapshot(context, upload, { signal }))) {
    return undefined;
  }
  const copy = await find<VolumeSnapshot>(kube, SNAPSHOTS, { namespace, name }, { signal });
  if (copy === undefined) {
    throw new VarveError("source-failed", `the snapshot of claim ${upload.spec.sourcePVC} is gone`);
  }
  if (copy.status?.readyToUse !== true) {
    return undefined;
  }
  await ensure(kube, CLAIMS, backupClaim(upload, copy), { signal });
  const pod = holderPod(upload, { label: "velero.io/data-upload", holder });
  return runningPod(await ensure(kube, PODS, pod, { signal }));
}

/** Throws when the pod has ended. */
export function runningPod(pod: KubeObject): KubeObject | undefined {
  const phase = podPhase(pod);
  if (phase === "Failed" || phase === "Succeeded") {
    throw new VarveError("source-failed", `pod ${pod.metadata.name} has ended: ${phase}`);
  }
  const isRunning = phase === "Running" && pod.metadata.deletionTimestamp === undefined;
  return isRunning ? pod : undefined;
}

/** Takes the snapshot over from the claim's namespace; the storage keeps it throughout. False: it is not ready yet. */
async function moveSnapshot(
  context: Context,
  upload: DataUpload,
  { signal }: CallOptions,
): Promise<boolean> {
  const { kube } = context;
  const original = { namespace: upload.spec.sourceNamespace, name: snapshotName(upload) };
  const snapshot = await find<VolumeSnapshot>(kube, SNAPSHOTS, original, { signal });
  if (snapshot === undefined || snapshot.metadata.deletionTimestamp !== undefined) {
    return true; // it was moved already, or there is none
  }
  const content = await contentOf(kube, snapshot, { signal });
  if (snapshot.status?.readyToUse !== true || content?.status?.readyToUse !== true) {
    return false;
  }
  if (content.spec?.sourceVolumeMode === "Block") {
    throw new VarveError("unsupported", "the data of block volumes is not moved");
  }
  // The copy first: at every moment there is one whose removal deletes the snapshot from the storage.
  await ensure(kube, CONTENTS, contentCopy(context, upload, content), { signal });
  await ensure(kube, SNAPSHOTS, snapshotCopy(context, upload, { snapshot, content }), { signal });
  await removeSnapshot(context, original, { deletionPolicy: "Retain", signal });
  return true;
}

function snapshotName({ spec }: DataUpload): string {
  const name = spec.csiSnapshot?.volumeSnapshot ?? "";
  if (name === "") {
    throw new VarveError("invalid-argument", "spec.csiSnapshot.volumeSnapshot is required");
  }
  return name;
}

function contentCopy(
  { namespace }: Context,
  { metadata: { name }, spec }: DataUpload,
  content: VolumeSnapshotContent,
): KubeObject {
  const { driver, sourceVolumeMode, volumeSnapshotClassName } = content.spec ?? {};
  const { annotations = {} } = content.metadata;
  const kept = Object.entries(annotations).filter(([key]) => key.includes("-secret-"));
  return {
    apiVersion: API_VERSION,
    kind: "VolumeSnapshotContent",
    metadata: { name, annotations: Object.fromEntries(kept) },
    spec: {
      deletionPolicy: "Delete",
      driver: driver ?? spec.csiSnapshot?.driver,
      source: { snapshotHandle: content.status?.snapshotHandle },
      ...(sourceVolumeMode === undefined ? {} : { sourceVolumeMode }),
      ...(volumeSnapshotClassName === undefined ? {} : { volumeSnapshotClassName }),
      volumeSnapshotRef: { kind: "VolumeSnapshot", namespace, name },
    },
  };
}

function snapshotCopy(
  { namespace }: Context,
  { metadata: { name } }: DataUpload,
  { snapshot, content }: { snapshot: VolumeSnapshot; content: VolumeSnapshotContent },
): KubeObject {
  const { volumeSnapshotClassName } = content.spec ?? {};
  const bytes = restoreSizeBytes(content);
  const restoreSize = bytes > 0 ? String(bytes) : (snapshot.status?.restoreSize ?? "");
  return {
    apiVersion: API_VERSION,
    kind: "VolumeSnapshot",
    metadata: { name, namespace, annotations: { [SNAPSHOT.restoreSize]: restoreSize } },
    spec: {
      ...(volumeSnapshotClassName === undefined ? {} : { volumeSnapshotClassName }),
      source: { volumeSnapshotContentName: name },
    },
  };
}

function backupClaim(upload: DataUpload, { metadata, status }: VolumeSnapshot): Claim {
  const { name, namespace = "", uid = "" } = upload.metadata;
  const told = metadata.annotations?.[SNAPSHOT.restoreSize] ?? "";
  const storage = told === "" ? (status?.restoreSize ?? "1Gi") : told;
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      name,
      namespace,
      ownerReferences: [
        { apiVersion: "velero.io/v2alpha1", kind: "DataUpload", name, uid, controller: true },
      ],
    },
    spec: {
      storageClassName: upload.spec.csiSnapshot?.storageClass ?? "",
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage } },
      dataSource: snapshotSource(name),
    },
  };
}

/** Whatever of it there is; the storage's snapshot goes, too. Safe to repeat. */
export async function removeExposedSnapshot(
  context: Context,
  upload: DataUpload,
  { signal }: CallOptions,
): Promise<void> {
  const { kube, namespace } = context;
  const { name } = upload.metadata;
  await removeHolder(context, name, { signal });
  if (!(await kube.delete(SNAPSHOTS, { namespace, name }, { signal }))) {
    await kube.delete(CONTENTS, { name }, { signal });
  }
  const original = { namespace: upload.spec.sourceNamespace, name: snapshotName(upload) };
  await removeSnapshot(context, original, { deletionPolicy: "Delete", signal });
}

/** The pod and its claim. */
export async function removeHolder(
  { kube, namespace }: Context,
  name: string,
  { signal }: CallOptions,
): Promise<void> {
  await kube.delete(PODS, { namespace, name }, { gracePeriodSeconds: 0, signal });
  await kube.delete(CLAIMS, { namespace, name }, { signal });
}
