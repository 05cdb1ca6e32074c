import {
  type CallOptions,
  getPolicy,
  type Policy,
  type Repository,
  setPolicy,
  type SnapshotSource,
  VarveError,
} from "@varve/core";
import { VOLUME_CLIENT } from "./volume-repository.ts";

/** How Velero's uploader names its snapshots, and by which policy they are kept (spec section 4.4). */

/** Who asked: file-system backup of a pod's volume, or the data mover with a snapshot's. */
export type Requester = "snapshot-pod-volume" | "snapshot-data-upload-download";

export interface VolumeSource {
  readonly requester: Requester;
  readonly namespace: string;
  /** Left out for the data mover, which knows claims only. */
  readonly pod?: string | undefined;
  /** The claim, or the volume of the pod that has none. */
  readonly volume: string;
}

export function snapshotSource({
  requester,
  namespace,
  pod,
  volume,
}: VolumeSource): SnapshotSource {
  const path = [requester, "kopia", namespace, ...(pod === undefined ? [] : [pod]), volume];
  return { host: VOLUME_CLIENT.hostname, userName: VOLUME_CLIENT.username, path: path.join("/") };
}

export function snapshotTags({ requester }: VolumeSource): Record<string, string> {
  return { "snapshot-requester": requester, "snapshot-uploader": "kopia" };
}

export const SNAPSHOT_DESCRIPTION = "Kopia Uploader";
export const SNAPSHOT_PINS: readonly string[] = ["velero-pin"];

/** Older Velero wrote restic repositories. Throws `unsupported` for what lies in one. */
export function requireKopia(uploaderType: string | undefined): void {
  if (uploaderType === "restic") {
    const message = "restic repositories are neither read nor written; Kopia's are";
    throw new VarveError("unsupported", message);
  }
}

const FOR_EVER = 2 ** 31 - 1;
const LARGE_FILE_BYTES = 2 ** 31;

/** Nothing but a deletion request deletes a snapshot: Kopia's own retention must not. */
export async function saveSourcePolicy(
  repository: Repository,
  source: SnapshotSource,
  { parallel, signal }: CallOptions & { readonly parallel: number },
): Promise<void> {
  const target = { type: "path", ...source } as const;
  const policy: Policy = {
    retention: {
      keepLatest: FOR_EVER,
      keepHourly: FOR_EVER,
      keepDaily: FOR_EVER,
      keepWeekly: FOR_EVER,
      keepMonthly: FOR_EVER,
      keepAnnual: FOR_EVER,
    },
    errorHandling: { ignoreUnknownTypes: true },
    scheduling: { manual: true },
    compression: { compressorName: "none" },
    upload: { maxParallelFileReads: parallel, parallelUploadAboveSize: LARGE_FILE_BYTES },
  };
  const current = await getPolicy(repository, target, { signal });
  const keepsForEver = current?.retention?.keepLatest === FOR_EVER;
  if (!keepsForEver || current?.upload?.maxParallelFileReads !== parallel) {
    await setPolicy(repository, target, policy, { signal });
  }
}
