import type { CallOptions } from "@varve/core";
import {
  ignoreMissing,
  isKubeError,
  type KubeApi,
  type KubeObject,
  type ObjectName,
  type ResourceRef,
} from "../kube/kube-api.ts";

/** Objects of `snapshot.storage.k8s.io`, and what they stand on, as far as this folder reads them. */

const SNAPSHOT_GROUP = "snapshot.storage.k8s.io";

const snapshotType = (resource: string, namespaced: boolean): ResourceRef => ({
  group: SNAPSHOT_GROUP,
  version: "v1",
  resource,
  namespaced,
});

export const SNAPSHOTS: ResourceRef = snapshotType("volumesnapshots", true);
export const CONTENTS: ResourceRef = snapshotType("volumesnapshotcontents", false);
export const SNAPSHOT_CLASSES: ResourceRef = snapshotType("volumesnapshotclasses", false);

export const API_VERSION: string = `${SNAPSHOT_GROUP}/v1`;

/** Of its own group: what a claim that is made from a snapshot names. */
export function snapshotSource(name: string): {
  readonly apiGroup: string;
  readonly kind: string;
  readonly name: string;
} {
  return { apiGroup: SNAPSHOT_GROUP, kind: "VolumeSnapshot", name };
}

interface SnapshotError {
  readonly message?: string;
}

export interface VolumeSnapshot extends KubeObject {
  spec?: {
    volumeSnapshotClassName?: string;
    source?: { persistentVolumeClaimName?: string; volumeSnapshotContentName?: string };
  };
  status?: {
    boundVolumeSnapshotContentName?: string;
    readyToUse?: boolean;
    restoreSize?: string;
    error?: SnapshotError;
  };
}

export interface VolumeSnapshotContent extends KubeObject {
  spec?: {
    deletionPolicy?: string;
    driver?: string;
    volumeSnapshotClassName?: string;
    sourceVolumeMode?: string;
    volumeSnapshotRef?: { name?: string; namespace?: string };
  };
  status?: {
    snapshotHandle?: string;
    readyToUse?: boolean;
    /** Bytes; an integer of any length. */
    restoreSize?: unknown;
    error?: SnapshotError;
  };
}

export interface Claim extends KubeObject {
  spec?: {
    storageClassName?: string;
    volumeName?: string;
    volumeMode?: string;
    accessModes?: string[];
    resources?: { requests?: { storage?: string } };
    selector?: { matchLabels?: Record<string, string> };
    dataSource?: object;
    dataSourceRef?: object;
  };
  status?: { phase?: string };
}

export interface Volume extends KubeObject {
  spec?: {
    csi?: { driver?: string };
    storageClassName?: string;
    capacity?: { storage?: string };
    claimRef?: { namespace?: string; name?: string; uid?: string };
    persistentVolumeReclaimPolicy?: string;
  };
  status?: { phase?: string };
}

/** `undefined` when there is none. The members of `T` are those of the API's own schema. */
export async function find<T extends KubeObject>(
  kube: KubeApi,
  type: ResourceRef,
  name: ObjectName,
  options: CallOptions,
): Promise<T | undefined> {
  return (await kube.get(type, name, options).catch(ignoreMissing)) as T | undefined; // as the API server checks
}

/** One that is there already is as good. */
export async function ensure(
  kube: KubeApi,
  type: ResourceRef,
  object: KubeObject,
  options: CallOptions,
): Promise<KubeObject> {
  try {
    return await kube.create(type, object, options);
  } catch (error) {
    if (!isKubeError(error, "already-exists")) {
      throw error;
    }
    const { namespace, name } = object.metadata;
    return await kube.get(type, { namespace, name }, options);
  }
}
