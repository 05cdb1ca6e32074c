import { PODS } from "../kube/core-types.ts";
import { exposeSnapshot, removeExposedSnapshot } from "../csi/expose-snapshot.ts";
import { HELD_VOLUME } from "../csi/holder-pod.ts";
import { type DataUpload, VELERO } from "../velero/resources.ts";
import { backUpVolume } from "../volume/copy-volume.ts";
import { openVolumeRepository } from "../volume/volume-repository.ts";
import { dataMover } from "./data-mover.ts";
import type { dataPathController } from "./data-path.ts";
import { locateTarget } from "./locate-volume.ts";
import type { NodeAgentParts } from "./run-node-agent.ts";

/** DataUploads: the data of snapshots into repositories (spec section 5.3). */
export function dataUploads(parts: NodeAgentParts): ReturnType<typeof dataPathController> {
  const { podsFolder, settings } = parts;
  const { holder } = settings;
  return dataMover<DataUpload>(parts, {
    name: "data-upload",
    type: VELERO.dataUploads,
    expose: async (context, upload, { signal }) =>
      await exposeSnapshot(context, upload, { holder, signal }),
    cleanUp: removeExposedSnapshot,
    async work(context, { metadata, spec }, { signal, resumes, onProgress }) {
      const { namespace } = context;
      const pod = await context.kube.get(PODS, { namespace, name: metadata.name }, { signal });
      const path = await locateTarget(context, pod, { volume: HELD_VOLUME, podsFolder, signal });
      await using location = await context.locations.open(spec.backupStorageLocation, { signal });
      await using repository = await openVolumeRepository(context, {
        location,
        volumeNamespace: spec.sourceNamespace,
        workers: settings.workers,
        signal,
      });
      const uid = metadata.uid ?? "";
      const { snapshotId, totalBytes, incrementalBytes } = await backUpVolume(repository, {
        source: {
          requester: "snapshot-data-upload-download",
          namespace: spec.sourceNamespace,
          volume: spec.sourcePVC,
        },
        path,
        uid,
        parallel: Number(spec.dataMoverConfig?.["ParallelFilesUpload"] ?? 0) || settings.parallel,
        snapshotFolders: settings.snapshotFolders,
        resumes,
        signal,
        onProgress,
      });
      return {
        path: `/${uid}`,
        snapshotID: snapshotId,
        nodeOS: "linux",
        ...(totalBytes === 0
          ? {}
          : { progress: { totalBytes, bytesDone: totalBytes }, incrementalBytes }),
      };
    },
  });
}
