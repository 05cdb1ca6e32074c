import type { KubeObject } from "../kube/kube-api.ts";
import type { PodVolumeBackup } from "../velero/resources.ts";

/** An element of `-volumeinfo.json.gz` (semantics spec section 3.4); the odd capitals are real Velero's. */
export interface VolumeInfo {
  readonly pvcName?: string | undefined;
  readonly pvcNamespace?: string | undefined;
  readonly pvName?: string | undefined;
  readonly backupMethod?: "NativeSnapshot" | "PodVolumeBackup" | "CSISnapshot" | undefined;
  readonly snapshotDataMoved: boolean;
  readonly preserveLocalSnapshot: boolean;
  readonly skipped: boolean;
  readonly skippedReason?: string | undefined;
  readonly startTimestamp?: string | undefined;
  readonly completionTimestamp?: string | undefined;
  readonly result?: "succeeded" | "failed" | undefined;
  readonly csiSnapshotInfo?: Readonly<Record<string, unknown>> | undefined;
  readonly snapshotDataMovementInfo?: Readonly<Record<string, unknown>> | undefined;
  readonly nativeSnapshotInfo?: Readonly<Record<string, unknown>> | undefined;
  readonly pvbInfo?: Readonly<Record<string, unknown>> | undefined;
  readonly pvInfo?:
    | { readonly reclaimPolicy: string; readonly labels: Readonly<Record<string, string>> | null }
    | undefined;
}

/** Of a PV, for the entry of its claim. */
export function pvInfo(volume: KubeObject): NonNullable<VolumeInfo["pvInfo"]> {
  const spec = volume["spec"] as { persistentVolumeReclaimPolicy?: string } | undefined; // the API server's schema
  return {
    reclaimPolicy: spec?.persistentVolumeReclaimPolicy ?? "Retain",
    labels: volume.metadata.labels ?? null,
  };
}

/** `volume`: the PV of its claim, when it has one. */
export function podVolumeInfo(pvb: PodVolumeBackup, volume: KubeObject | undefined): VolumeInfo {
  const { spec, status = {}, metadata } = pvb;
  const claim = metadata.annotations?.["velero.io/pvc-name"];
  return {
    ...(claim === undefined ? {} : { pvcName: claim, pvcNamespace: spec.pod.namespace }),
    ...(volume === undefined ? {} : { pvName: volume.metadata.name, pvInfo: pvInfo(volume) }),
    backupMethod: "PodVolumeBackup",
    snapshotDataMoved: false,
    preserveLocalSnapshot: false,
    skipped: false,
    startTimestamp: status.startTimestamp ?? undefined,
    completionTimestamp: status.completionTimestamp ?? undefined,
    result: status.phase === "Completed" ? "succeeded" : "failed",
    pvbInfo: {
      snapshotHandle: filledText(status.snapshotID),
      size: positive(status.progress?.totalBytes),
      incrementalSize: positive(status.incrementalBytes),
      uploaderType: spec.uploaderType ?? "kopia",
      volumeName: spec.volume,
      podName: spec.pod.name,
      podNamespace: spec.pod.namespace,
      nodeName: filledText(spec.node),
      Phase: status.phase ?? "",
    },
  };
}

export function skippedVolumeInfo(
  volume: KubeObject,
  claim: { readonly namespace: string; readonly name: string } | undefined,
  reason: string,
): VolumeInfo {
  return {
    ...(claim === undefined ? {} : { pvcName: claim.name, pvcNamespace: claim.namespace }),
    pvName: volume.metadata.name,
    snapshotDataMoved: false,
    preserveLocalSnapshot: false,
    skipped: true,
    skippedReason: reason,
    pvInfo: pvInfo(volume),
  };
}

// Zero and empty members are left out, as Go does.
function positive(value: number | undefined): number | undefined {
  return value === undefined || value <= 0 ? undefined : value;
}

function filledText(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}
