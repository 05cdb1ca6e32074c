import type { CallOptions } from "@varve/core";
import type { KubeObject, ObjectName, ResourceType } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Backup } from "../velero/resources.ts";
import type { RunLog } from "../server/run-log.ts";

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
}
