import { formatTime } from "../velero/duration.ts";
import type { BackupRun, RelatedItem, StartedOperation } from "./action.ts";
import type { ItemName } from "./collect-items.ts";

/** Work that goes on after an object is stored, as it stands in `-itemoperations.json.gz` (semantics spec section 3.1). */
export interface ItemOperation {
  readonly spec: {
    readonly backupName: string;
    readonly backupUID: string;
    readonly backupItemAction: string;
    readonly resourceIdentifier: ResourceIdentifier;
    readonly operationID: string;
    readonly postOperationItems: readonly ResourceIdentifier[] | null;
  };
  status: {
    phase: "New" | "InProgress" | "Completed" | "Failed";
    error?: string | undefined;
    nCompleted?: number | undefined;
    nTotal?: number | undefined;
    operationUnits?: string | undefined;
    description?: string | undefined;
    created?: string | undefined;
    started?: string | undefined;
    updated?: string | undefined;
  };
}

/** Go gives these keys capitals. */
export interface ResourceIdentifier {
  readonly Group: string;
  readonly Resource: string;
  readonly Namespace: string;
  readonly Name: string;
}

export function newOperation(
  { backup, context }: BackupRun,
  action: string,
  { type, namespace = "", name }: ItemName,
  { id, postItems }: StartedOperation,
): ItemOperation {
  const now = formatTime(context.environment.nowMs());
  return {
    spec: {
      backupName: backup.metadata.name,
      backupUID: backup.metadata.uid ?? "",
      backupItemAction: action,
      resourceIdentifier: {
        Group: type.group,
        Resource: type.resource,
        Namespace: namespace,
        Name: name,
      },
      operationID: id,
      postOperationItems: postItems.map(identifier),
    },
    status: { phase: "InProgress", created: now, started: now },
  };
}

/** What an identifier names, for the catalog. */
export function relatedItem({ Group, Resource, Namespace, Name }: ResourceIdentifier): RelatedItem {
  return {
    groupResource: Group === "" ? Resource : `${Resource}.${Group}`,
    ...(Namespace === "" ? {} : { namespace: Namespace }),
    name: Name,
  };
}

export function isOpen({ status }: ItemOperation): boolean {
  return status.phase === "New" || status.phase === "InProgress";
}

function identifier({ groupResource, namespace = "", name }: RelatedItem): ResourceIdentifier {
  const dot = groupResource.indexOf(".");
  return {
    Group: dot < 0 ? "" : groupResource.slice(dot + 1),
    Resource: dot < 0 ? groupResource : groupResource.slice(0, dot),
    Namespace: namespace,
    Name: name,
  };
}
