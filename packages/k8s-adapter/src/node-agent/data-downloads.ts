import { PODS } from "../kube/core-types.ts";
import {
  exposeClaim,
  filledVolume,
  handOver,
  markFilled,
  removeExposedClaim,
} from "../csi/expose-claim.ts";
import { HELD_VOLUME } from "../csi/holder-pod.ts";
import type { Context } from "../server/context.ts";
import { type DataDownload, VELERO } from "../velero/resources.ts";
import { restoreVolume } from "../volume/copy-volume.ts";
import { openVolumeRepository } from "../volume/volume-repository.ts";
import { dataMover } from "./data-mover.ts";
import type { dataPathController, DataPathOptions } from "./data-path.ts";
import { locateTarget } from "./locate-volume.ts";
import type { NodeAgentParts } from "./run-node-agent.ts";

/** DataDownloads: data from repositories into new volumes, which claims then get (spec section 5.3). */
export function dataDownloads(parts: NodeAgentParts): ReturnType<typeof dataPathController> {
  const { holder, prepareTimeoutMs } = parts.settings;
  return dataMover<DataDownload>(parts, {
    name: "data-download",
    type: VELERO.dataDownloads,
    expose: async (context, download, { signal }) =>
      await exposeClaim(context, download, { holder, signal }),
    cleanUp: removeExposedClaim,
    async work(context, download, options) {
      const { signal } = options;
      let bytesDone: number | undefined;
      let volume = await filledVolume(context, download, { signal });
      if (volume === undefined) {
        bytesDone = await fill(context, download, { ...parts, ...options });
        volume = await markFilled(context, download, { signal });
      }
      // Once begun it is soon done: canceling here would only leave a volume behind.
      await handOver(context, download, { volume, timeoutMs: prepareTimeoutMs });
      return bytesDone === undefined ? {} : { progress: { totalBytes: bytesDone, bytesDone } };
    },
  });
}

type WorkOptions = Parameters<DataPathOptions<DataDownload>["work"]>[2];

async function fill(
  context: Context,
  { metadata, spec }: DataDownload,
  { podsFolder, settings, signal, onProgress }: NodeAgentParts & WorkOptions,
): Promise<number> {
  const { namespace } = context;
  const pod = await context.kube.get(PODS, { namespace, name: metadata.name }, { signal });
  const path = await locateTarget(context, pod, { volume: HELD_VOLUME, podsFolder, signal });
  await using location = await context.locations.open(spec.backupStorageLocation, { signal });
  await using repository = await openVolumeRepository(context, {
    location,
    volumeNamespace: spec.sourceNamespace,
    readOnly: true,
    signal,
  });
  const { ParallelFilesDownload, WriteSparseFiles } = spec.dataMoverConfig ?? {};
  const { bytesDone } = await restoreVolume(repository, {
    snapshotId: spec.snapshotID,
    path,
    parallel: Number(ParallelFilesDownload ?? 0) || settings.parallel,
    writeSparseFiles: WriteSparseFiles === "true",
    signal,
    onProgress,
  });
  return bytesDone;
}
