import type { KubeObject } from "../kube/kube-api.ts";
import { parseQuantity } from "../velero/quantity.ts";
import type { BackupSpec } from "../velero/resources.ts";
import { policyAction, type ResourcePolicy, type VolumeFacts } from "./resource-policy.ts";

/**
 * How a volume is treated: by policy, by the pod's annotations, or by default (semantics spec sections 2.6 and 4.1).
 * Pure: looks at the objects it is given.
 */
export type VolumeTreatment = "skip" | "fs-backup" | "snapshot" | "custom" | "none";

export interface VolumeChoice {
  readonly treatment: VolumeTreatment;
  /** Why it is skipped, for the volume infos and the log. */
  readonly reason?: string;
}

/** A volume of a pod, as in `spec.volumes`. */
export interface PodVolume {
  readonly name: string;
  readonly persistentVolumeClaim?: { readonly claimName: string };
  readonly [source: string]: unknown;
}

export const OPT_IN = "backup.velero.io/backup-volumes";
export const OPT_OUT = "backup.velero.io/backup-volumes-excludes";

/** Sources that have no data of their own, or none that may be read. */
const NEVER_COPIED = ["hostPath", "secret", "configMap", "projected", "downwardAPI"];

export interface VolumeRules {
  readonly spec: Pick<BackupSpec, "defaultVolumesToFsBackup" | "snapshotVolumes">;
  readonly policy: ResourcePolicy | undefined;
}

/** `claim` and `volume` (the PV) where the pod's volume is one; undefined when they are not there. */
export function chooseForPodVolume(
  { spec, policy }: VolumeRules,
  pod: KubeObject,
  source: PodVolume,
  { claim, volume }: { claim?: KubeObject | undefined; volume?: KubeObject | undefined },
): VolumeChoice {
  const kind = NEVER_COPIED.find((member) => source[member] != null);
  if (kind !== undefined) {
    return { treatment: "none", reason: `${kind} volumes are not copied` };
  }
  if (source.name.startsWith("default-token")) {
    return { treatment: "none", reason: "a service account's token" };
  }
  const facts = volume === undefined ? podVolumeFacts(source) : volumeFacts(volume);
  const action = policyAction(policy, { ...facts, ...claimFacts(claim) });
  if (action !== undefined) {
    return action === "skip"
      ? { treatment: "skip", reason: "skipped by the volume policy" }
      : { treatment: action };
  }
  if (spec.defaultVolumesToFsBackup === true) {
    return named(pod, OPT_OUT, source.name)
      ? { treatment: "snapshot", reason: `opted out due to annotation in pod ${pod.metadata.name}` }
      : { treatment: "fs-backup" };
  }
  return named(pod, OPT_IN, source.name) ? { treatment: "fs-backup" } : { treatment: "snapshot" };
}

/** Of a PV that no pod copies: snapshot, unless a policy or the spec says no. */
export function chooseForVolume(
  { spec, policy }: VolumeRules,
  volume: KubeObject,
  claim: KubeObject | undefined,
): VolumeChoice {
  const action = policyAction(policy, { ...volumeFacts(volume), ...claimFacts(claim) });
  if (action !== undefined) {
    return action === "snapshot"
      ? { treatment: "snapshot" }
      : { treatment: action, reason: `the volume policy says ${action}` };
  }
  return spec.snapshotVolumes === false
    ? { treatment: "none", reason: "snapshotVolumes is false" }
    : { treatment: "snapshot" };
}

/** The names that the pod's annotations give: split at commas, nothing else (spec 2.6). */
export function named(pod: KubeObject, annotation: string, volume: string): boolean {
  return (pod.metadata.annotations?.[annotation]?.split(",") ?? []).includes(volume);
}

/** Volumes of a pod; what has no name is left out. */
export function podVolumes(pod: KubeObject): readonly PodVolume[] {
  const spec = pod["spec"] as { volumes?: PodVolume[] } | undefined; // checked member by member
  const volumes = Array.isArray(spec?.volumes) ? spec.volumes : [];
  return volumes.filter((volume) => typeof volume?.name === "string");
}

/** Names of the claims that a pod uses. */
export function podClaims(pod: KubeObject): readonly string[] {
  return podVolumes(pod).flatMap(({ persistentVolumeClaim }) =>
    typeof persistentVolumeClaim?.claimName === "string" ? [persistentVolumeClaim.claimName] : [],
  );
}

const NOT_SOURCES = new Set([
  "capacity",
  "accessModes",
  "claimRef",
  "persistentVolumeReclaimPolicy",
  "storageClassName",
  "mountOptions",
  "volumeMode",
  "nodeAffinity",
  "volumeAttributesClassName",
]);

function volumeFacts(volume: KubeObject): VolumeFacts {
  const spec = (volume["spec"] ?? {}) as Record<string, unknown>; // the API server's schema
  const storage = (spec["capacity"] as { storage?: string } | undefined)?.storage;
  return {
    capacityBytes: storage === undefined ? undefined : parseQuantity(storage),
    storageClass: spec["storageClassName"] as string | undefined,
    nfs: spec["nfs"] as VolumeFacts["nfs"],
    csi: spec["csi"] as VolumeFacts["csi"],
    volumeType: Object.keys(spec).find((key) => !NOT_SOURCES.has(key)),
  };
}

function podVolumeFacts(source: PodVolume): VolumeFacts {
  return {
    nfs: source["nfs"] as VolumeFacts["nfs"],
    csi: source["csi"] as VolumeFacts["csi"],
    volumeType: Object.keys(source).find((key) => key !== "name"),
  };
}

function claimFacts(claim: KubeObject | undefined): VolumeFacts {
  const status = claim?.["status"] as { phase?: string } | undefined; // the API server's schema
  return claim === undefined
    ? {}
    : { pvcLabels: claim.metadata.labels ?? {}, pvcPhase: status?.phase };
}
