import { PODS } from "../kube/core-types.ts";
import { errorMessage } from "@varve/core";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { LABEL } from "../velero/labels.ts";
import { type PodVolumeRestore, VELERO } from "../velero/resources.ts";
import { restoreVolume } from "../volume/copy-volume.ts";
import { initContainerState, nodeOf } from "../volume/pod-spec.ts";
import { RESTORE_WAIT } from "../volume/restore-wait.ts";
import { requireKopia } from "../volume/snapshot-source.ts";
import { openVolumeRepository } from "../volume/volume-repository.ts";
import { dataPathController } from "./data-path.ts";
import { getPod, locateTarget } from "./locate-volume.ts";
import { removeMarker, writeMarker } from "./restore-marker.ts";
import type { NodeAgentParts } from "./run-node-agent.ts";

/** PodVolumeRestores of pods on this node, while `restore-wait` holds their containers back: spec section 4.6. */
export function podVolumeRestores(parts: NodeAgentParts): ReturnType<typeof dataPathController> {
  const { nodeName, podsFolder, slots, settings } = parts;
  return dataPathController<PodVolumeRestore>({
    name: "pod-volume-restore",
    type: VELERO.podVolumeRestores,
    slots,
    progressMs: settings.progressMs,
    async isOurs(context, { spec }, { signal }) {
      let pod: KubeObject;
      try {
        pod = await context.kube.get(PODS, spec.pod, { signal });
      } catch (error) {
        if (isKubeError(error, "not-found")) {
          return "no";
        }
        throw error;
      }
      const node = nodeOf(pod);
      if (node !== undefined && node !== nodeName) {
        return "no";
      }
      const state = initContainerState(pod, RESTORE_WAIT);
      const isReady = state === "running" || state === "succeeded";
      return node === nodeName && isReady ? "yes" : "later";
    },
    async work(context, object, { signal, onProgress }) {
      const { spec } = object;
      requireKopia(spec.uploaderType);
      const pod = await getPod(context.kube, spec.pod, { signal });
      if (initContainerState(pod, RESTORE_WAIT) === "succeeded") {
        // It has seen that the volume is filled, by an agent that was cut off before it could say so. The pod runs now.
        return { node: nodeName };
      }
      const path = await locateTarget(context, pod, { volume: spec.volume, podsFolder, signal });
      await using location = await context.locations.open(spec.backupStorageLocation, { signal });
      await using repository = await openVolumeRepository(context, {
        location,
        volumeNamespace: spec.sourceNamespace,
        readOnly: true,
        signal,
      });
      const { ParallelFilesDownload, WriteSparseFiles } = spec.uploaderSettings ?? {};
      const { bytesDone, ignored } = await restoreVolume(repository, {
        snapshotId: spec.snapshotID,
        path,
        parallel: Number(ParallelFilesDownload ?? 0) || settings.parallel,
        writeSparseFiles: WriteSparseFiles === "true",
        signal,
        onProgress,
      });
      writeMarker(path, restoreUidOf(object));
      const note = `left out: ${ignored.join(", ")}`;
      return {
        node: nodeName,
        progress: { totalBytes: bytesDone, bytesDone },
        ...(ignored.length === 0 ? {} : { message: note }),
      };
    },
    tidy: async (context, object, { signal }) =>
      await tidyMarker(context, object, { ...parts, signal }),
  });
}

/** Removes the marker when `restore-wait` has seen it: its user may not have the right to. */
async function tidyMarker(
  context: Context,
  object: PodVolumeRestore,
  { nodeName, podsFolder, signal }: NodeAgentParts & { readonly signal?: AbortSignal | undefined },
): Promise<"done" | "later"> {
  try {
    const pod = await getPod(context.kube, object.spec.pod, { signal });
    if (nodeOf(pod) !== nodeName) {
      return "done";
    }
    const state = initContainerState(pod, RESTORE_WAIT);
    if (state !== "succeeded" && state !== "failed") {
      return "later";
    }
    const { volume } = object.spec;
    const path = await locateTarget(context, pod, { volume, podsFolder, signal });
    removeMarker(path, restoreUidOf(object));
  } catch (error) {
    // The pod, and with it the volume's folder on this node, is gone.
    const message = `${object.metadata.name}: ${errorMessage(error)}`;
    context.environment.log({ level: "debug", message });
  }
  return "done";
}

function restoreUidOf({ metadata }: PodVolumeRestore): string {
  return metadata.labels?.[LABEL.restoreUid] ?? "";
}
