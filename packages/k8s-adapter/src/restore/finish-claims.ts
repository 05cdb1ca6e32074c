import { CLAIMS, STORAGE_CLASSES, VOLUMES } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import { LABEL } from "../velero/labels.ts";
import { type PodVolumeRestore, VELERO } from "../velero/resources.ts";
import type { RestoreRun } from "./action.ts";
import type { RestoredObjects } from "./run-restore.ts";

/** New volumes get the labels and the reclaim policy of the old ones, once they are bound: spec section 9.4, "Finalizer". */

interface ClaimParts {
  readonly spec?: { readonly volumeName?: string; readonly storageClassName?: string };
  readonly status?: { readonly phase?: string };
}

export async function finishClaims(
  run: RestoreRun,
  { claims, volumes }: RestoredObjects,
  { pollMs, signal }: CallOptions & { readonly pollMs: number },
): Promise<void> {
  const { context, log } = run;
  const deadlineMs = context.environment.nowMs() + context.settings.resourceTimeoutMs;
  for (const [key, oldVolume] of claims) {
    const info = volumes.info(oldVolume);
    if (info?.pvInfo === undefined || info.backupMethod === "NativeSnapshot") {
      continue;
    }
    const [namespace = "", name = ""] = key.split("/");
    const fields = { resource: "persistentvolumeclaims", namespace, name };
    const volume = await boundVolume(run, { namespace, name, deadlineMs, pollMs, signal });
    if (volume === undefined) {
      log.info(
        "its volume keeps its own labels and reclaim policy: the claim is not bound",
        fields,
      );
      continue;
    }
    const { reclaimPolicy, labels } = info.pvInfo;
    await context.kube.mergePatch(
      VOLUMES,
      { name: volume },
      {
        metadata: { labels: labels ?? {} },
        spec: { persistentVolumeReclaimPolicy: reclaimPolicy },
      },
      { signal },
    );
  }
}

/** The name of its volume; undefined when the claim is gone, waits for a pod, or is not bound in time. */
async function boundVolume(
  { context, log }: RestoreRun,
  {
    namespace,
    name,
    deadlineMs,
    pollMs,
    signal,
  }: CallOptions & {
    readonly namespace: string;
    readonly name: string;
    readonly deadlineMs: number;
    readonly pollMs: number;
  },
): Promise<string | undefined> {
  const { kube, environment } = context;
  for (;;) {
    let claim: KubeObject & ClaimParts;
    try {
      claim = await kube.get(CLAIMS, { namespace, name }, { signal }); // with the members of its schema
    } catch (error) {
      if (isKubeError(error, "not-found")) {
        return undefined;
      }
      throw error;
    }
    if (claim.status?.phase === "Bound") {
      return claim.spec?.volumeName;
    }
    if (await waitsForConsumer(context, claim.spec?.storageClassName, { signal })) {
      return undefined;
    }
    if (environment.nowMs() >= deadlineMs) {
      log.error("the claim was not bound in time", {
        resource: "persistentvolumeclaims",
        namespace,
        name,
      });
      return undefined;
    }
    await environment.sleep(pollMs, { signal });
  }
}

async function waitsForConsumer(
  { kube }: RestoreRun["context"],
  storageClass: string | undefined,
  options: CallOptions,
): Promise<boolean> {
  if (storageClass === undefined || storageClass === "") {
    return false;
  }
  const found = await kube
    .get(STORAGE_CLASSES, { name: storageClass }, options)
    .catch(() => undefined);
  return found?.["volumeBindingMode"] === "WaitForFirstConsumer";
}

/** What `<restore>-volumeinfo.json.gz` tells of the claims that were filled: spec section 3.5. */
export async function volumeInfos(
  { context, restore }: RestoreRun,
  { signal }: CallOptions,
): Promise<readonly object[]> {
  const { items } = await context.kube.listAll(VELERO.podVolumeRestores, {
    namespace: context.namespace,
    labelSelector: `${LABEL.restoreUid}=${restore.metadata.uid ?? ""}`,
    signal,
  });
  const infos: object[] = [];
  for (const found of items as readonly PodVolumeRestore[]) {
    const claim = found.metadata.annotations?.["velero.io/pvc-name"];
    const { spec } = found;
    const { namespace } = spec.pod;
    if (claim === undefined) {
      continue;
    }
    const where = { namespace, name: claim };
    const bound = (await context.kube.get(CLAIMS, where, { signal }).catch(() => undefined)) as
      | ClaimParts
      | undefined;
    infos.push({
      pvcName: claim,
      pvcNamespace: namespace,
      pvName: bound?.spec?.volumeName ?? "",
      restoreMethod: "PodVolumeRestore",
      snapshotDataMoved: false,
      pvrInfo: {
        snapshotHandle: spec.snapshotID,
        size: spec.snapshotSize ?? 0,
        uploaderType: "kopia",
        volumeName: spec.volume,
        podName: spec.pod.name,
        podNamespace: namespace,
        Phase: "",
      },
    });
  }
  return infos;
}
