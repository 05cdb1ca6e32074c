import type { Environment } from "@varve/core";
import type { KubeApi } from "../kube/kube-api.ts";
import type { ResourceCatalog } from "../kube/resource-catalog.ts";
import type { Locations } from "../location/location.ts";
import type { Metrics } from "./metrics.ts";

/** What every controller of the server, and of a node-agent, is given. */
export interface Context {
  readonly kube: KubeApi;
  readonly catalog: ResourceCatalog;
  readonly locations: Locations;
  /** Where Velero's resources live. */
  readonly namespace: string;
  readonly environment: Environment;
  readonly settings: Settings;
  readonly metrics: Metrics;
}

/** Semantics spec section 0.8; milliseconds. */
export interface Settings {
  readonly defaultBackupTtlMs: number;
  readonly defaultStorageLocation: string;
  readonly defaultVolumesToFsBackup: boolean;
  readonly defaultSnapshotMoveData: boolean;
  readonly storeValidationMs: number;
  readonly backupSyncMs: number;
  readonly gcMs: number;
  readonly fsBackupTimeoutMs: number;
  /** After this a file-system copy is ended whose pod or node is gone; after ten times this, one whose node is not ready. */
  readonly lostCopyMs: number;
  readonly csiSnapshotTimeoutMs: number;
  readonly itemOperationTimeoutMs: number;
  readonly itemOperationPollMs: number;
  readonly resourceTimeoutMs: number;
  readonly terminatingResourceTimeoutMs: number;
  readonly defaultRepoMaintenanceMs: number;
  readonly concurrentBackups: number;
  readonly itemBlockWorkers: number;
  readonly scheduleSkipImmediately: boolean;
  /** An unset `onError` means Fail, as documented; false: as real Velero treats it (section 6.1). */
  readonly hooksFailByDefault: boolean;
  /** Empty: Velero's order. `high,-,low` otherwise. */
  readonly restoreResourcePriorities: string;
  /** Of the CSI snapshots and their data mover. */
  readonly csi: boolean;
  /** Velero's well-known password for new volume repositories instead of a random one: anybody can read those. */
  readonly publicRepositoryPassword: boolean;
  /** `restic` is what older installations ask for: backups warn of it, and Kopia writes all the same. */
  readonly uploaderType: "kopia" | "restic";
  /** A ceiling for the engine's memory; undefined: none. */
  readonly maxMemoryBytes: number | undefined;
  /** Where indexes and metadata of repositories are kept from one opening to the next; undefined: nowhere. */
  readonly cacheFolder: string | undefined;
  readonly cacheMaxBytes: number;
  /** Repositories are maintained by Jobs, whose pods are like those of this Deployment; undefined: in the server. */
  readonly maintenanceJobs:
    | { readonly deployment: string; readonly configMap: string | undefined }
    | undefined;
  /** What `restore-wait` runs as, and with which command; the Restore's UID comes as its last argument. */
  readonly restoreWait: { readonly image: string; readonly command: readonly string[] };
}

export const DEFAULT_SETTINGS: Settings = {
  defaultBackupTtlMs: 720 * 3_600_000,
  defaultStorageLocation: "default",
  defaultVolumesToFsBackup: false,
  defaultSnapshotMoveData: false,
  storeValidationMs: 60_000,
  backupSyncMs: 60_000,
  gcMs: 3_600_000,
  fsBackupTimeoutMs: 4 * 3_600_000,
  lostCopyMs: 30_000,
  csiSnapshotTimeoutMs: 600_000,
  itemOperationTimeoutMs: 4 * 3_600_000,
  itemOperationPollMs: 10_000,
  resourceTimeoutMs: 600_000,
  terminatingResourceTimeoutMs: 600_000,
  defaultRepoMaintenanceMs: 3_600_000,
  concurrentBackups: 1,
  itemBlockWorkers: 1,
  scheduleSkipImmediately: false,
  hooksFailByDefault: true,
  restoreResourcePriorities: "",
  csi: true,
  publicRepositoryPassword: false,
  uploaderType: "kopia",
  maxMemoryBytes: undefined,
  cacheFolder: undefined,
  cacheMaxBytes: 1000 * 2 ** 20,
  maintenanceJobs: undefined,
  restoreWait: { image: "varve/k8s-adapter:latest", command: ["varve-k8s", "restore-wait"] },
};
