import { CLAIMS, VOLUMES } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeApi, type KubeObject } from "../kube/kube-api.ts";
import { podPhase, nodeOf, type PodVolume, volumeMode, volumesOf } from "./pod-spec.ts";

/** Which volumes of a pod can be copied from its node, and why the others cannot: spec section 4.1. */

export interface EligibleVolume {
  readonly volume: PodVolume;
  readonly claim: KubeObject | undefined;
  readonly persistentVolume: KubeObject | undefined;
}

export interface Ineligible {
  readonly volume: string;
  readonly reason: string;
  /** True: the backup is not what was asked for. False: it cannot be otherwise. */
  readonly isError: boolean;
}

const NEVER_COPIED: Readonly<Record<string, string>> = {
  hostPath: "a hostPath volume belongs to the node",
  secret: "a secret is stored as an object",
  configMap: "a configMap is stored as an object",
  projected: "a projected volume is made by the cluster",
  downwardAPI: "a downwardAPI volume is made by the cluster",
};

/** Null: it can be copied as far as the pod alone can tell. */
export function refusedByKind({ name, kind }: PodVolume): string | null {
  return (
    NEVER_COPIED[kind] ??
    (name.startsWith("default-token") ? "it holds a service account's token" : null)
  );
}

/** Reads the claims and volumes behind `names`. */
export async function eligibleVolumes(
  kube: KubeApi,
  pod: KubeObject,
  { names, signal }: CallOptions & { readonly names: readonly string[] },
): Promise<{ readonly eligible: EligibleVolume[]; readonly ineligible: Ineligible[] }> {
  const eligible: EligibleVolume[] = [];
  const ineligible: Ineligible[] = [];
  const podReason = refusedPod(pod);
  const volumes = new Map(volumesOf(pod).map((volume) => [volume.name, volume]));
  for (const name of names) {
    const found = podReason ?? (await examine(kube, pod, { volume: volumes.get(name), signal }));
    if (typeof found === "string") {
      ineligible.push({ volume: name, reason: found, isError: false });
    } else if ("isError" in found) {
      ineligible.push({ ...found, volume: name });
    } else {
      eligible.push(found);
    }
  }
  return { eligible, ineligible };
}

function refusedPod(pod: KubeObject): string | undefined {
  if (nodeOf(pod) === undefined) {
    return "its pod is not scheduled";
  }
  return podPhase(pod) === "Running" ? undefined : "its pod does not run";
}

async function examine(
  kube: KubeApi,
  pod: KubeObject,
  { volume, signal }: CallOptions & { readonly volume: PodVolume | undefined },
): Promise<EligibleVolume | Omit<Ineligible, "volume"> | string> {
  if (volume === undefined) {
    return "its pod has no such volume";
  }
  const refused = refusedByKind(volume);
  if (refused !== null) {
    return refused;
  }
  const mode = volumeMode(pod, volume.name);
  if (mode === undefined) {
    return "no container mounts it";
  }
  if (mode === "Block") {
    return "it is a block device";
  }
  if (volume.claim === undefined) {
    return { volume, claim: undefined, persistentVolume: undefined };
  }
  const { namespace } = pod.metadata;
  try {
    const claim = await kube.get(CLAIMS, { namespace, name: volume.claim }, { signal });
    const { volumeName = "" } = (claim["spec"] ?? {}) as { volumeName?: string };
    if (volumeName === "") {
      return { reason: `claim ${volume.claim} has no volume`, isError: true };
    }
    const persistentVolume = await kube.get(VOLUMES, { name: volumeName }, { signal });
    return isHostPath(persistentVolume)
      ? "its persistent volume is a hostPath"
      : { volume, claim, persistentVolume };
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return { reason: error.message, isError: true };
    }
    throw error;
  }
}

function isHostPath({ spec }: KubeObject): boolean {
  return (spec as { hostPath?: unknown } | undefined)?.hostPath !== undefined;
}
