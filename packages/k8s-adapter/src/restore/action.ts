import type { CallOptions } from "@varve/core";
import type { OperationProgress, RelatedItem } from "../backup/action.ts";
import type { KubeObject, ResourceType } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { RunLog } from "../server/run-log.ts";
import type { Backup, Restore } from "../velero/resources.ts";

export interface RestoreRun {
  readonly context: Context;
  readonly restore: Restore;
  readonly backup: Backup;
  readonly log: RunLog;
}

export interface RestoreItem {
  readonly type: ResourceType;
  /** As it will be created; may be changed in place. Its namespace is still the source's. */
  readonly object: KubeObject;
  /** As it stood in the backup. */
  readonly fromBackup: KubeObject;
}

/** Something done to every object of some types before it is created: spec section 9.5. Throws: an error of the item, which is not created. */
export interface RestoreAction {
  readonly name: string;
  appliesTo(type: ResourceType): boolean;
  execute(
    run: RestoreRun,
    item: RestoreItem,
    options: CallOptions,
  ): Promise<{
    readonly object: KubeObject;
    readonly related?: readonly RelatedItem[];
    readonly skip?: boolean;
    readonly operationId?: string;
  }>;
  progress?(run: RestoreRun, operationId: string, options: CallOptions): Promise<OperationProgress>;
  cancel?(run: RestoreRun, operationId: string, options: CallOptions): Promise<void>;
}
