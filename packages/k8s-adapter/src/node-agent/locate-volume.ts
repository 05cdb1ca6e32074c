import { CLAIMS, PODS, VOLUMES } from "../kube/core-types.ts";
import { type CallOptions, VarveError } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { PodReference } from "../velero/resources.ts";
import { eligibleVolumes } from "../volume/eligible-volumes.ts";
import { volumesOf } from "../volume/pod-spec.ts";
import { volumePath } from "./host-path.ts";

export interface LocatedVolume {
  readonly path: string;
  /** The claim's name. */
  readonly claim: string | undefined;
}

interface VolumeOfPod {
  readonly pod: PodReference;
  readonly volume: string;
  readonly podsFolder: string;
}

/** Where a running pod's volume is on this node. Throws `source-failed` when it cannot be copied, with the reason. */
export async function locateVolume(
  { kube }: Context,
  { pod: reference, volume, podsFolder, signal }: CallOptions & VolumeOfPod,
): Promise<LocatedVolume> {
  const pod = await getPod(kube, reference, { signal });
  const found = await eligibleVolumes(kube, pod, { names: [volume], signal });
  const [target] = found.eligible;
  if (target === undefined) {
    const reason = found.ineligible[0]?.reason ?? "it cannot be copied";
    throw new VarveError("source-failed", `volume ${volume} of pod ${reference.name}: ${reason}`);
  }
  const path = volumePath({ podsFolder, podUid: reference.uid, target });
  return { path, claim: target.claim?.metadata.name };
}

/** Where the volume of a pod that has not started yet is. Throws `target-failed`, `source-failed`. */
export async function locateTarget(
  { kube }: Context,
  pod: KubeObject,
  { volume, podsFolder, signal }: CallOptions & Omit<VolumeOfPod, "pod">,
): Promise<string> {
  const found = volumesOf(pod).find(({ name }) => name === volume);
  if (found === undefined) {
    throw new VarveError("target-failed", `pod ${pod.metadata.name} has no volume ${volume}`);
  }
  const podUid = pod.metadata.uid ?? "";
  if (found.claim === undefined) {
    const target = { volume: found, persistentVolume: undefined };
    return volumePath({ podsFolder, podUid, target });
  }
  const { namespace } = pod.metadata;
  const claim = await kube.get(CLAIMS, { namespace, name: found.claim }, { signal });
  const { volumeName = "" } = (claim["spec"] ?? {}) as { volumeName?: string };
  const persistentVolume = await kube.get(VOLUMES, { name: volumeName }, { signal });
  return volumePath({ podsFolder, podUid, target: { volume: found, persistentVolume } });
}

/** Throws `source-failed` when another pod has the name now. */
export async function getPod(
  kube: Context["kube"],
  { namespace, name, uid }: PodReference,
  { signal }: CallOptions,
): Promise<KubeObject> {
  const pod = await kube.get(PODS, { namespace, name }, { signal });
  if (pod.metadata.uid !== uid) {
    throw new VarveError("source-failed", `pod ${namespace}/${name} is another one now`);
  }
  return pod;
}
