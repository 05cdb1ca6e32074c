import { CLAIMS, PODS, STORAGE_CLASSES, VOLUMES } from "../kube/core-types.ts";
import { type CallOptions, VarveError } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { DataDownload } from "../velero/resources.ts";
import { type ExposeOptions, removeHolder, runningPod } from "./expose-snapshot.ts";
import { holderPod } from "./holder-pod.ts";
import { type Claim, ensure, find, type Volume } from "./snapshot-objects.ts";

/**
 * A new volume for a claim that is held back until it is filled (spec section 5.3): it is made for a claim in the server's
 * namespace that is named like the DataDownload, and handed to the target claim afterwards.
 */

/** A claim's selector that nothing fulfils: until it is filled, its volume carries no such label. */
export const HELD_BACK = "velero.io/dynamic-pv-restore";
/** What the volume's reclaim policy was before it was handed over. */
const RECLAIM_POLICY = "varve.dev/reclaim-policy";
const SELECTED_NODE = "volume.kubernetes.io/selected-node";

/** The pod, once it runs; `undefined` while something is still to come. Throws `target-failed` when it never will. */
export async function exposeClaim(
  context: Context,
  download: DataDownload,
  { holder, signal }: ExposeOptions,
): Promise<KubeObject | undefined> {
  const { kube } = context;
  const { namespace, pvc } = download.spec.targetVolume;
  const target = await find<Claim>(kube, CLAIMS, { namespace, name: pvc }, { signal });
  if (target === undefined) {
    return undefined; // it is made after the download, by the next server if this one is killed between
  }
  const { spec = {} } = target;
  if ((spec.volumeName ?? "") !== "") {
    holdKey(target); // with one, it was handed over by an agent that was lost then
  }
  if (spec.volumeMode === "Block") {
    throw new VarveError("unsupported", "the data of block volumes is not moved");
  }
  const name = spec.storageClassName ?? "";
  const storageClass = await find(kube, STORAGE_CLASSES, { name }, { signal });
  const node = target.metadata.annotations?.[SELECTED_NODE];
  if (storageClass?.["volumeBindingMode"] === "WaitForFirstConsumer" && node === undefined) {
    return undefined; // a pod that uses the claim decides where its volume is
  }
  await ensure(kube, CLAIMS, restoreClaim(download, target), { signal });
  const pod = holderPod(download, { label: "velero.io/data-download", holder, node });
  return runningPod(await ensure(kube, PODS, pod, { signal }));
}

async function targetClaim(
  { kube }: Context,
  { spec }: DataDownload,
  { signal }: CallOptions,
): Promise<Claim> {
  const { namespace, pvc: name } = spec.targetVolume;
  const claim = await find<Claim>(kube, CLAIMS, { namespace, name }, { signal });
  if (claim === undefined) {
    throw new VarveError("target-failed", `there is no claim ${namespace}/${name}`);
  }
  return claim;
}

function restoreClaim(download: DataDownload, { spec = {} }: Claim): Claim {
  const { name, namespace = "", uid = "" } = download.metadata;
  const { storageClassName, accessModes, resources } = spec;
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      name,
      namespace,
      ownerReferences: [
        { apiVersion: "velero.io/v2alpha1", kind: "DataDownload", name, uid, controller: true },
      ],
    },
    spec: {
      ...(storageClassName === undefined ? {} : { storageClassName }),
      ...(accessModes === undefined ? {} : { accessModes }),
      ...(resources === undefined ? {} : { resources }),
    },
  };
}

/** The volume that is filled and on its way to the target, or there already; `undefined` before. */
export async function filledVolume(
  context: Context,
  download: DataDownload,
  options: CallOptions,
): Promise<Volume | undefined> {
  const target = await targetClaim(context, download, options);
  const key = holdKey(target);
  const { volumeName = "" } = target.spec ?? {};
  if (volumeName !== "") {
    // Only handing over binds a claim with this selector: an agent was cut off before it could say so.
    return await find<Volume>(context.kube, VOLUMES, { name: volumeName }, options);
  }
  const labelSelector = `${HELD_BACK}=${key}`;
  return (await context.kube.listAll(VOLUMES, { labelSelector, ...options })).items[0];
}

function holdKey({ metadata, spec }: Claim): string {
  const key = spec?.selector?.matchLabels?.[HELD_BACK];
  if (key === undefined) {
    throw new VarveError("target-failed", `claim ${metadata.name} has no selector ${HELD_BACK}`);
  }
  return key;
}

/** Says of the pod's volume that it is filled: from here on it is not deleted with its claim, and only handed over. */
export async function markFilled(
  context: Context,
  download: DataDownload,
  options: CallOptions,
): Promise<Volume> {
  const { kube, namespace } = context;
  const { name } = download.metadata;
  const key = holdKey(await targetClaim(context, download, options));
  const claim = (await kube.get(CLAIMS, { namespace, name }, options)) as Claim; // its schema
  const where = { name: claim.spec?.volumeName ?? "" };
  const volume = (await kube.get(VOLUMES, where, options)) as Volume; // its schema
  const patch = {
    metadata: {
      labels: { [HELD_BACK]: key },
      annotations: { [RECLAIM_POLICY]: volume.spec?.persistentVolumeReclaimPolicy ?? "Delete" },
    },
    spec: { persistentVolumeReclaimPolicy: "Retain" },
  };
  return await kube.mergePatch(VOLUMES, where, patch, options);
}

const POLL_MS = 250;

/** Binds a filled volume to the target claim; may be cut off and called again. Throws `target-failed` when it takes too long. */
export async function handOver(
  context: Context,
  download: DataDownload,
  {
    volume,
    timeoutMs,
    signal,
  }: CallOptions & { readonly volume: Volume; readonly timeoutMs: number },
): Promise<void> {
  const { kube, namespace, environment } = context;
  const { name } = download.metadata;
  const { namespace: targetNamespace, pvc } = download.spec.targetVolume;
  const deadlineMs = environment.nowMs() + timeoutMs;
  const wait = async (what: string): Promise<void> => {
    if (environment.nowMs() >= deadlineMs) {
      throw new VarveError("target-failed", `${what} in time`);
    }
    await environment.sleep(POLL_MS, { signal });
  };
  await removeHolder(context, name, { signal });
  for (const type of [PODS, CLAIMS]) {
    while ((await find(kube, type, { namespace, name }, { signal })) !== undefined) {
      await wait(`${type.resource} ${name} did not go`);
    }
  }
  const where = { name: volume.metadata.name };
  const { claimRef } = volume.spec ?? {};
  if (claimRef?.name !== pvc || claimRef.namespace !== targetNamespace) {
    const reference = {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      namespace: targetNamespace,
      name: pvc,
      uid: null,
      resourceVersion: null,
    };
    await kube.mergePatch(VOLUMES, where, { spec: { claimRef: reference } }, { signal });
  }
  for (;;) {
    const { spec, status } = await targetClaim(context, download, { signal });
    if (spec?.volumeName === where.name && status?.phase === "Bound") {
      break;
    }
    await wait(`claim ${pvc} was not bound`);
  }
  if (volume.metadata.labels?.[HELD_BACK] === undefined) {
    return; // that was all done before
  }
  const patch = {
    metadata: { labels: { [HELD_BACK]: null }, annotations: { [RECLAIM_POLICY]: null } },
    spec: {
      persistentVolumeReclaimPolicy: volume.metadata.annotations?.[RECLAIM_POLICY] ?? "Delete",
    },
  };
  await kube.mergePatch(VOLUMES, where, patch, { signal });
}

/** Whatever a download that has ended has left; a volume that was handed over stays. Safe to repeat. */
export async function removeExposedClaim(
  context: Context,
  download: DataDownload,
  { signal }: CallOptions,
): Promise<void> {
  const { kube, namespace } = context;
  const { name } = download.metadata;
  await removeHolder(context, name, { signal });
  if (download.status?.phase === "Completed") {
    return;
  }
  const { items } = await kube.listAll(VOLUMES, { labelSelector: HELD_BACK, signal });
  for (const volume of items as readonly Volume[]) {
    const { claimRef } = volume.spec ?? {}; // its schema
    if (claimRef?.namespace === namespace && claimRef.name === name) {
      const persistentVolumeReclaimPolicy =
        volume.metadata.annotations?.[RECLAIM_POLICY] ?? "Delete";
      const where = { name: volume.metadata.name };
      await kube.mergePatch(
        VOLUMES,
        where,
        { spec: { persistentVolumeReclaimPolicy } },
        { signal },
      );
    }
  }
}
