import type { BlobStore, CallOptions } from "@varve/core/blob";
import { BACKUP_FILES, readJsonList } from "../location/backup-files.ts";

/** An element of `-volumesnapshots.json.gz` (spec section 3.1). */
export interface NativeSnapshot {
  readonly spec: {
    readonly backupName: string;
    readonly backupUID: string;
    /** The VolumeSnapshotLocation. */
    readonly location: string;
    readonly persistentVolumeName: string;
    readonly providerVolumeID: string;
    readonly volumeType: string;
    readonly volumeAZ?: string | undefined;
    readonly volumeIOPS?: number | undefined;
  };
  readonly status: {
    readonly providerSnapshotID?: string | undefined;
    readonly phase: "New" | "Completed" | "Failed";
  };
}

/** Those that were taken; others mean nothing to anybody. Throws `corrupt` for what is no list. */
export async function readNativeSnapshots(
  store: BlobStore,
  backup: string,
  options: CallOptions,
): Promise<readonly (NativeSnapshot & { readonly snapshotId: string })[]> {
  const file = BACKUP_FILES.BackupVolumeSnapshots(backup);
  const list = await readJsonList(store, file, options);
  return list.flatMap((value) => {
    const { spec, status } = Object(value) as Partial<NativeSnapshot>; // looked at here
    const { location, persistentVolumeName, volumeType, volumeAZ, volumeIOPS } = Object(
      spec,
    ) as Partial<NativeSnapshot["spec"]>;
    const { providerSnapshotID: snapshotId } = Object(status) as Partial<NativeSnapshot["status"]>;
    const isTaken =
      [location, persistentVolumeName, snapshotId].every(isFilled) &&
      [volumeType ?? "", volumeAZ ?? ""].every((text) => typeof text === "string") &&
      (volumeIOPS === undefined || typeof volumeIOPS === "number");
    return isTaken ? [{ ...(value as NativeSnapshot), snapshotId: snapshotId ?? "" }] : [];
  });
}

function isFilled(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}
