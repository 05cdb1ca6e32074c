import type { CallOptions } from "@varve/core";
import type { BackupRun } from "../backup/action.ts";
import type { KubeObject } from "../kube/kube-api.ts";
import type { RestoreRun } from "../restore/action.ts";
import type { PodVolumeBackup } from "../velero/resources.ts";

/** File-system backup as backup and restore use it (spec section 4): makes resources, and waits for the node-agents. */
export interface PodVolumes {
  /**
   * Makes a PodVolumeBackup for each of the named volumes of a running pod that can be copied; what cannot is logged
   * with the reason and given back. Does not wait for the data.
   */
  backUp(
    run: BackupRun,
    pod: KubeObject,
    volumes: readonly string[],
    options: CallOptions,
  ): Promise<{
    readonly started: readonly PodVolumeBackup[];
    readonly skipped: readonly { readonly volume: string; readonly reason: string }[];
  }>;
  /** Waits until all of them are final, as they are then; those that fail or are not final in time are logged as errors. */
  wait(
    run: BackupRun,
    started: readonly PodVolumeBackup[],
    options: CallOptions,
  ): Promise<readonly PodVolumeBackup[]>;
  /**
   * For a pod that restore has just created: makes a PodVolumeRestore for every volume that has a copy, and waits until
   * all are final. Errors are logged.
   */
  restore(
    run: RestoreRun,
    pod: KubeObject,
    options: CallOptions & {
      readonly backups: readonly PodVolumeBackup[];
      readonly sourceNamespace: string;
    },
  ): Promise<void>;
}
