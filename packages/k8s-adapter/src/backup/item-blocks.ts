import type { CallOptions } from "@varve/core";
import type { KubeObject, ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { BackupRun } from "./action.ts";
import type { ClusterView } from "./cluster-view.ts";
import { type CollectedItem, itemKey, type ItemName, itemOf } from "./collect-items.ts";
import { podClaims } from "./volume-choice.ts";

/** Objects that are stored together: between the hooks of all their pods (semantics spec section 2.5 step 3). */
export interface ItemBlock {
  readonly members: readonly { readonly type: ResourceType; readonly object: KubeObject }[];
}

/**
 * Every item once: pods with their claims, claims with the pods that use them and with those of their volume group,
 * transitively; ordered items of one type that follow one another; all others alone.
 */
export async function* itemBlocks(
  run: BackupRun,
  items: readonly CollectedItem[],
  view: ClusterView,
  options: CallOptions,
): AsyncIterable<ItemBlock> {
  const taken = new Set<string>();
  for (let at = 0; at < items.length; ) {
    const seeds: ItemName[] = [];
    let next = at;
    do {
      const item = items[next];
      if (item !== undefined) {
        seeds.push(item);
      }
      next++;
    } while (
      items[next]?.ordered === true &&
      sameType(items[next], items[at]) &&
      items[at]?.ordered
    );
    at = next;
    const members = await closure(run, seeds, { view, taken }, options);
    if (members.length > 0) {
      yield { members };
    }
  }
}

function sameType(a: CollectedItem | undefined, b: CollectedItem | undefined): boolean {
  return a !== undefined && b !== undefined && groupResource(a.type) === groupResource(b.type);
}

async function closure(
  run: BackupRun,
  seeds: readonly ItemName[],
  { view, taken }: { readonly view: ClusterView; readonly taken: Set<string> },
  options: CallOptions,
): Promise<ItemBlock["members"]> {
  const members: { type: ResourceType; object: KubeObject }[] = [];
  const waiting = [...seeds];
  for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
    if (taken.has(itemKey(item))) {
      continue;
    }
    taken.add(itemKey(item));
    const fields = {
      resource: groupResource(item.type),
      namespace: item.namespace,
      name: item.name,
    };
    try {
      const object = await view.object(item.type, item, options);
      if (object === undefined) {
        run.log.warn("a related item is not there", fields);
        continue;
      }
      members.push({ type: item.type, object });
      waiting.push(...(await neighbours(run, item.type, object, view, options)));
    } catch (error) {
      options.signal?.throwIfAborted();
      run.log.error("Error getting item", { ...fields, error });
    }
  }
  return members;
}

async function neighbours(
  run: BackupRun,
  type: ResourceType,
  object: KubeObject,
  view: ClusterView,
  options: CallOptions,
): Promise<readonly ItemName[]> {
  const { catalog, kube } = run.context;
  const pods = catalog.resolve("pods");
  const claims = catalog.resolve("persistentvolumeclaims");
  const { namespace = "", name, labels } = object.metadata;
  if (pods === undefined || claims === undefined) {
    return [];
  }
  if (groupResource(type) === "pods") {
    return podClaims(object).map((claim) => ({ type: claims, namespace, name: claim }));
  }
  if (groupResource(type) !== "persistentvolumeclaims") {
    return [];
  }
  const found = (await view.podsOfClaim({ namespace, name }, options)).map((pod) =>
    itemOf(pods, pod),
  );
  const groupKey = run.backup.spec.volumeGroupSnapshotLabelKey ?? "";
  const group = labels?.[groupKey] ?? "";
  if (group !== "") {
    const labelSelector = `${groupKey}=${group}`;
    for await (const claim of kube.list(claims, { namespace, labelSelector, ...options })) {
      found.push(itemOf(claims, claim));
    }
  }
  return found;
}
