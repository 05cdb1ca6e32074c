import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeObject, type ResourceType } from "../kube/kube-api.ts";
import { groupResource, type ResourceCatalog } from "../kube/resource-catalog.ts";
import type { Context } from "../server/context.ts";
import { matchesAny } from "../velero/glob.ts";
import type { Restore } from "../velero/resources.ts";

/** What can only be written onto an object that is there: its status, where it is asked for, and who owned its fields (spec section 9.3 step 9). */

const ANNOTATION = "velero.io/restore-status";
const MAX_ATTEMPTS = 5;

export function restoresStatus(
  { spec }: Restore,
  type: ResourceType,
  {
    object,
    catalog,
  }: { readonly object: KubeObject; readonly catalog: Pick<ResourceCatalog, "canonical"> },
): boolean {
  const said = object.metadata.annotations?.[ANNOTATION];
  if (said === "true" || said === "false") {
    return said === "true";
  }
  const { restoreStatus } = spec;
  if (restoreStatus === undefined || restoreStatus === null) {
    return false;
  }
  const canonical = (names: readonly string[] | null | undefined): string[] =>
    (names ?? []).map((name) => catalog.canonical(name));
  const name = groupResource(type);
  const includes = canonical(restoreStatus.includedResources);
  return (
    (includes.length === 0 || matchesAny(includes, name)) &&
    !matchesAny(canonical(restoreStatus.excludedResources), name)
  );
}

interface Restored extends CallOptions {
  readonly created: KubeObject;
  readonly fromBackup: KubeObject;
}

export async function withStatus(
  { kube }: Context,
  type: ResourceType,
  { created, fromBackup, signal }: Restored,
): Promise<void> {
  const { status } = fromBackup;
  if (status === undefined) {
    return;
  }
  let current = created;
  for (let attempt = 1; ; attempt++) {
    try {
      await kube.replace(type, { ...current, status }, { subresource: "status", signal });
      return;
    } catch (error) {
      if (!isKubeError(error, "conflict") || attempt === MAX_ATTEMPTS) {
        throw error;
      }
      const { namespace, name } = created.metadata;
      current = await kube.get(type, { namespace, name }, { signal });
    }
  }
}

/** As the backup has them, so that whoever applied the object before owns the same fields again. */
export async function withManagedFields(
  { kube }: Context,
  type: ResourceType,
  { created, fromBackup, signal }: Restored,
): Promise<void> {
  const { managedFields = [] } = fromBackup.metadata;
  if (managedFields.length > 0) {
    const { namespace, name } = created.metadata;
    await kube.mergePatch(type, { namespace, name }, { metadata: { managedFields } }, { signal });
  }
}
