import type { KubeObject, ResourceRef } from "../kube/kube-api.ts";

/**
 * Velero's custom resources as they are read and written here: the members that mean something to us; others pass
 * through untouched. What comes from the server or a bucket is checked where it is read, not by these types.
 * Semantics spec section 1.5. No type has a status subresource: status is written by merge patches (section 0.2).
 */

export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** Resource filters that Backup and Restore share. */
export interface ResourceFilters {
  includedNamespaces?: string[] | null;
  excludedNamespaces?: string[] | null;
  includedResources?: string[] | null;
  excludedResources?: string[] | null;
  includeClusterResources?: boolean | null;
  labelSelector?: LabelSelector | null;
  orLabelSelectors?: LabelSelector[] | null;
}

export interface ExecHook {
  container?: string;
  command: string[];
  onError?: "Continue" | "Fail";
  timeout?: string;
}

export interface BackupHookSpec {
  name: string;
  includedNamespaces?: string[] | null;
  excludedNamespaces?: string[] | null;
  includedResources?: string[] | null;
  excludedResources?: string[] | null;
  labelSelector?: LabelSelector | null;
  pre?: { exec: ExecHook }[];
  post?: { exec: ExecHook }[];
}

export interface BackupSpec extends ResourceFilters {
  metadata?: { labels?: Record<string, string> };
  includedClusterScopedResources?: string[] | null;
  excludedClusterScopedResources?: string[] | null;
  includedNamespaceScopedResources?: string[] | null;
  excludedNamespaceScopedResources?: string[] | null;
  ttl?: string;
  hooks?: { resources?: BackupHookSpec[] | null };
  storageLocation?: string;
  volumeSnapshotLocations?: string[];
  defaultVolumesToFsBackup?: boolean | null;
  defaultVolumesToRestic?: boolean | null;
  snapshotVolumes?: boolean | null;
  snapshotMoveData?: boolean | null;
  datamover?: string;
  orderedResources?: Record<string, string> | null;
  csiSnapshotTimeout?: string;
  itemOperationTimeout?: string;
  resourcePolicy?: { apiGroup?: string; kind: string; name: string };
  uploaderConfig?: { parallelFilesUpload?: number } | null;
  volumeGroupSnapshotLabelKey?: string;
}

export type BackupPhase =
  | "New"
  | "Queued"
  | "ReadyToStart"
  | "FailedValidation"
  | "InProgress"
  | "WaitingForPluginOperations"
  | "WaitingForPluginOperationsPartiallyFailed"
  | "Finalizing"
  | "FinalizingPartiallyFailed"
  | "Completed"
  | "PartiallyFailed"
  | "Failed"
  | "Deleting";

export interface BackupStatus {
  version?: number;
  formatVersion?: string;
  expiration?: string | null;
  phase?: BackupPhase;
  queuePosition?: number;
  validationErrors?: string[] | null;
  failureReason?: string;
  startTimestamp?: string | null;
  completionTimestamp?: string | null;
  progress?: { totalItems?: number; itemsBackedUp?: number } | null;
  warnings?: number;
  errors?: number;
  hookStatus?: { hooksAttempted?: number; hooksFailed?: number } | null;
  volumeSnapshotsAttempted?: number;
  volumeSnapshotsCompleted?: number;
  csiVolumeSnapshotsAttempted?: number;
  csiVolumeSnapshotsCompleted?: number;
  backupItemOperationsAttempted?: number;
  backupItemOperationsCompleted?: number;
  backupItemOperationsFailed?: number;
}

export interface Backup extends KubeObject {
  spec: BackupSpec;
  status?: BackupStatus;
}

export interface RestoreHookSpec {
  name: string;
  includedNamespaces?: string[] | null;
  excludedNamespaces?: string[] | null;
  includedResources?: string[] | null;
  excludedResources?: string[] | null;
  labelSelector?: LabelSelector | null;
  postHooks?: {
    exec?: ExecHook & { execTimeout?: string; waitTimeout?: string; waitForReady?: boolean | null };
    init?: { initContainers?: Record<string, unknown>[]; timeout?: string };
  }[];
}

export interface RestoreSpec extends ResourceFilters {
  backupName?: string;
  scheduleName?: string;
  namespaceMapping?: Record<string, string>;
  existingResourcePolicy?: string | null;
  hooks?: { resources?: RestoreHookSpec[] };
  itemOperationTimeout?: string;
  preserveNodePorts?: boolean | null;
  resourceModifier?: { apiGroup?: string; kind: string; name: string } | null;
  restorePVs?: boolean | null;
  restoreStatus?: {
    includedResources?: string[] | null;
    excludedResources?: string[] | null;
  } | null;
  uploaderConfig?: { parallelFilesDownload?: number; writeSparseFiles?: boolean | null } | null;
}

export type RestorePhase = Exclude<BackupPhase, "Queued" | "ReadyToStart" | "Deleting">;

export interface RestoreStatus {
  phase?: RestorePhase;
  validationErrors?: string[] | null;
  warnings?: number;
  errors?: number;
  failureReason?: string;
  startTimestamp?: string | null;
  completionTimestamp?: string | null;
  progress?: { totalItems?: number; itemsRestored?: number } | null;
  hookStatus?: { hooksAttempted?: number; hooksFailed?: number } | null;
  restoreItemOperationsAttempted?: number;
  restoreItemOperationsCompleted?: number;
  restoreItemOperationsFailed?: number;
}

export interface Restore extends KubeObject {
  spec: RestoreSpec;
  status?: RestoreStatus;
}

export interface Schedule extends KubeObject {
  spec: {
    schedule: string;
    template: BackupSpec;
    paused?: boolean;
    skipImmediately?: boolean | null;
    useOwnerReferencesInBackup?: boolean | null;
  };
  status?: {
    phase?: "New" | "Enabled" | "FailedValidation";
    lastBackup?: string | null;
    lastSkipped?: string | null;
    validationErrors?: string[];
  };
}

export interface SecretKeySelector {
  name: string;
  key: string;
}

export interface BackupStorageLocation extends KubeObject {
  spec: {
    provider: string;
    accessMode?: "ReadOnly" | "ReadWrite";
    default?: boolean;
    objectStorage: {
      bucket: string;
      prefix?: string;
      caCert?: string;
      caCertRef?: SecretKeySelector;
    };
    config?: Record<string, string>;
    credential?: SecretKeySelector;
    backupSyncPeriod?: string | null;
    validationFrequency?: string | null;
  };
  status?: {
    phase?: "Available" | "Unavailable";
    message?: string;
    lastValidationTime?: string | null;
    lastSyncedTime?: string | null;
    accessMode?: "ReadOnly" | "ReadWrite";
  };
}

export interface BackupRepository extends KubeObject {
  spec: {
    volumeNamespace: string;
    backupStorageLocation: string;
    repositoryType?: "kopia" | "restic" | "";
    maintenanceFrequency: string;
    repositoryConfig?: Record<string, string> | null;
    resticIdentifier?: string;
  };
  status?: {
    phase?: "New" | "Ready" | "NotReady";
    message?: string;
    lastMaintenanceTime?: string | null;
    recentMaintenance?: {
      startTimestamp?: string | null;
      completeTimestamp?: string | null;
      result?: "Succeeded" | "Failed";
      message?: string;
    }[];
  };
}

export type DataPathPhase =
  | "New"
  | "Accepted"
  | "Prepared"
  | "InProgress"
  | "Canceling"
  | "Canceled"
  | "Completed"
  | "Failed";

/** What the four kinds that move volume data have in common. */
export interface DataPathStatus {
  phase?: DataPathPhase;
  message?: string;
  acceptedTimestamp?: string | null;
  startTimestamp?: string | null;
  completionTimestamp?: string | null;
  progress?: { totalBytes?: number; bytesDone?: number };
}

export interface PodReference {
  kind: "Pod";
  namespace: string;
  name: string;
  uid: string;
}

export interface PodVolumeBackup extends KubeObject {
  spec: {
    node: string;
    pod: PodReference;
    volume: string;
    backupStorageLocation: string;
    repoIdentifier: string;
    uploaderType?: string;
    tags?: Record<string, string>;
    uploaderSettings?: Record<string, string> | null;
    cancel?: boolean;
  };
  status?: DataPathStatus & { path?: string; snapshotID?: string; incrementalBytes?: number };
}

export interface PodVolumeRestore extends KubeObject {
  spec: {
    pod: PodReference;
    volume: string;
    backupStorageLocation: string;
    repoIdentifier: string;
    snapshotID: string;
    snapshotSize?: number;
    sourceNamespace: string;
    uploaderType?: string;
    uploaderSettings?: Record<string, string> | null;
    cancel?: boolean;
  };
  status?: DataPathStatus & { node?: string };
}

export interface DataUpload extends KubeObject {
  spec: {
    snapshotType: string;
    csiSnapshot?: {
      volumeSnapshot: string;
      storageClass: string;
      snapshotClass?: string;
      driver?: string;
    } | null;
    sourcePVC: string;
    sourceNamespace: string;
    datamover?: string;
    backupStorageLocation: string;
    operationTimeout: string;
    dataMoverConfig?: Record<string, string> | null;
    cancel?: boolean;
  };
  status?: DataPathStatus & {
    path?: string;
    snapshotID?: string;
    incrementalBytes?: number;
    dataMoverResult?: Record<string, string> | null;
    node?: string;
    nodeOS?: string;
    acceptedByNode?: string;
  };
}

export interface DataDownload extends KubeObject {
  spec: {
    targetVolume: { pvc: string; pv: string; namespace: string };
    snapshotID: string;
    snapshotSize?: number;
    sourceNamespace: string;
    backupStorageLocation: string;
    datamover?: string;
    operationTimeout: string;
    dataMoverConfig?: Record<string, string>;
    nodeOS?: string;
    cancel?: boolean;
  };
  status?: DataPathStatus & { node?: string; acceptedByNode?: string };
}

export interface DeleteBackupRequest extends KubeObject {
  spec: { backupName: string };
  status?: { phase?: "New" | "InProgress" | "Processed"; errors?: string[] | null };
}

export interface DownloadRequest extends KubeObject {
  spec: { target: { kind: string; name: string } };
  status?: { phase?: "New" | "Processed"; downloadURL?: string; expiration?: string | null };
}

export interface ServerStatusRequest extends KubeObject {
  status?: {
    phase?: "New" | "Processed";
    processedTimestamp?: string | null;
    serverVersion?: string;
    plugins?: { name: string; kind: string }[] | null;
  };
}

const velero = (resource: string, version = "v1"): ResourceRef => ({
  group: "velero.io",
  version,
  resource,
  namespaced: true,
});

type VeleroKind =
  | "backups"
  | "restores"
  | "schedules"
  | "backupStorageLocations"
  | "volumeSnapshotLocations"
  | "backupRepositories"
  | "podVolumeBackups"
  | "podVolumeRestores"
  | "deleteBackupRequests"
  | "downloadRequests"
  | "serverStatusRequests"
  | "dataUploads"
  | "dataDownloads";

/** Where each kind is served. */
export const VELERO: Readonly<Record<VeleroKind, ResourceRef>> = {
  backups: velero("backups"),
  restores: velero("restores"),
  schedules: velero("schedules"),
  backupStorageLocations: velero("backupstoragelocations"),
  volumeSnapshotLocations: velero("volumesnapshotlocations"),
  backupRepositories: velero("backuprepositories"),
  podVolumeBackups: velero("podvolumebackups"),
  podVolumeRestores: velero("podvolumerestores"),
  deleteBackupRequests: velero("deletebackuprequests"),
  downloadRequests: velero("downloadrequests"),
  serverStatusRequests: velero("serverstatusrequests"),
  dataUploads: velero("datauploads", "v2alpha1"),
  dataDownloads: velero("datadownloads", "v2alpha1"),
};
