import type { CallOptions } from "@varve/core";
import type { KubeObject, ObjectName, ResourceType } from "../kube/kube-api.ts";
import type { NativeSnapshot } from "../native-snapshots/native-snapshot.ts";
import type { Context } from "../server/context.ts";
import type { Backup } from "../velero/resources.ts";
import type { RunLog } from "../server/run-log.ts";
import type { VolumeChoice } from "./volume-choice.ts";
import type { VolumeInfo } from "./volume-info.ts";

/** Another object that belongs to one that is stored. */
export interface RelatedItem extends ObjectName {
  /** `resource` or `resource.group`. */
  readonly groupResource: string;
}

/** Work that goes on after the object is stored; kept in `-itemoperations.json.gz` (spec 3.1). */
export interface StartedOperation {
  readonly id: string;
  /** Read again, and stored anew, when it has ended. */
  readonly postItems: readonly RelatedItem[];
}

export interface OperationProgress {
  readonly completed: boolean;
  readonly error?: string | undefined;
  readonly nCompleted?: number | undefined;
  readonly nTotal?: number | undefined;
  readonly units?: string | undefined;
  readonly description?: string | undefined;
}

export interface BackupRun {
  readonly context: Context;
  readonly backup: Backup;
  readonly log: RunLog;
  /** Objects are stored again as they are after their operations have ended: nothing new is begun. */
  readonly finalizing?: boolean | undefined;
  /** Absent where nothing is stored: when operations are asked for their progress. */
  readonly volumes?: VolumeChoices | undefined;
}

/** What has been decided about the volumes of one backup (spec 2.6). */
export interface VolumeChoices {
  /** Of a claim; `fs-backup` when a pod that uses it copies it. `volume` is its PV. */
  forClaim(
    claim: KubeObject,
    volume: KubeObject | undefined,
    options: CallOptions,
  ): Promise<VolumeChoice>;
}

/** What an action did about volumes, for `-volumeinfo.json.gz` (spec 3.4) and the counters of the status. */
export interface VolumeReport {
  readonly infos: readonly VolumeInfo[];
  readonly csiSnapshotsAttempted?: number | undefined;
  readonly csiSnapshotsCompleted?: number | undefined;
  readonly nativeSnapshots?: readonly NativeSnapshot[] | undefined;
}

/** Something done to every object of some types before it is stored: spec section 2.5. Throws: the object is not stored. */
export interface BackupAction {
  /** Velero's own name where Velero has it: `velero.io/pod`. Actions run in the order of their names. */
  readonly name: string;
  appliesTo(type: ResourceType): boolean;
  /** `object` may be changed in place. `undefined`: it is not to be stored. */
  execute(
    run: BackupRun,
    item: { readonly type: ResourceType; readonly object: KubeObject },
    options: CallOptions,
  ): Promise<
    | {
        readonly object: KubeObject;
        readonly related?: readonly RelatedItem[];
        readonly operation?: StartedOperation;
      }
    | undefined
  >;
  progress?(run: BackupRun, operationId: string, options: CallOptions): Promise<OperationProgress>;
  cancel?(run: BackupRun, operationId: string, options: CallOptions): Promise<void>;
  /** Asked when all objects are stored, and again when the operations have ended. */
  report?(run: BackupRun, options: CallOptions): Promise<VolumeReport>;
  /** Called once the final data is stored: what was needed until then goes. May be called again after a restart. */
  finish?(run: BackupRun, options: CallOptions): Promise<void>;
}
