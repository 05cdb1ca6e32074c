import { createHash } from "node:crypto";

/** Keys of labels, annotations and finalizers: semantics spec section 1.1. */
export const LABEL = {
  backupName: "velero.io/backup-name",
  backupUid: "velero.io/backup-uid",
  restoreName: "velero.io/restore-name",
  restoreUid: "velero.io/restore-uid",
  scheduleName: "velero.io/schedule-name",
  storageLocation: "velero.io/storage-location",
  volumeNamespace: "velero.io/volume-namespace",
  repositoryType: "velero.io/repository-type",
  podUid: "velero.io/pod-uid",
  pvcUid: "velero.io/pvc-uid",
  excludeFromBackup: "velero.io/exclude-from-backup",
  gcFailure: "velero.io/gc-failure",
  repoName: "velero.io/repo-name",
  asyncOperationId: "velero.io/async-operation-id",
} as const;

/** A name as the value of a label: at most 63 characters, told apart by a hash (spec section 0.7). */
export function labelValue(name: string): string {
  return name.length <= 63
    ? name
    : name.slice(0, 57) + createHash("sha256").update(name).digest("hex").slice(0, 6);
}
