import type { PodVolumeBackup } from "../velero/resources.ts";
import { VELERO } from "../velero/resources.ts";
import { backUpVolume } from "../volume/copy-volume.ts";
import { requireKopia } from "../volume/snapshot-source.ts";
import { openVolumeRepository } from "../volume/volume-repository.ts";
import { locateVolume } from "./locate-volume.ts";
import type { NodeAgentParts } from "./run-node-agent.ts";
import { dataPathController } from "./data-path.ts";

/** PodVolumeBackups of this node: spec section 4.2. */
export function podVolumeBackups(parts: NodeAgentParts): ReturnType<typeof dataPathController> {
  const { nodeName, podsFolder, slots, settings } = parts;
  return dataPathController<PodVolumeBackup>({
    name: "pod-volume-backup",
    type: VELERO.podVolumeBackups,
    slots,
    progressMs: settings.progressMs,
    isOurs: async (_context, { spec }) => (spec.node === nodeName ? "yes" : "no"),
    async work(context, { metadata, spec }, { signal, resumes, onProgress }) {
      requireKopia(spec.uploaderType);
      const { namespace, name } = spec.pod;
      const { path, claim } = await locateVolume(context, { ...spec, podsFolder, signal });
      await using location = await context.locations.open(spec.backupStorageLocation, { signal });
      await using repository = await openVolumeRepository(context, {
        location,
        volumeNamespace: namespace,
        workers: settings.workers,
        signal,
      });
      const uid = metadata.uid ?? "";
      const done = await backUpVolume(repository, {
        source: {
          requester: "snapshot-pod-volume",
          namespace,
          pod: name,
          volume: claim ?? spec.volume,
        },
        path,
        uid,
        parallel: Number(spec.uploaderSettings?.["ParallelFilesUpload"] ?? 0) || settings.parallel,
        snapshotFolders: settings.snapshotFolders,
        resumes,
        signal,
        onProgress,
      });
      return {
        path: `/${uid}`,
        snapshotID: done.snapshotId,
        ...(done.totalBytes === 0
          ? {}
          : {
              progress: { totalBytes: done.totalBytes, bytesDone: done.totalBytes },
              incrementalBytes: done.incrementalBytes,
            }),
      };
    },
  });
}
