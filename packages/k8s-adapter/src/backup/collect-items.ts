import { errorMessage, type CallOptions } from "@varve/core";
import type { KubeObject, ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import { selectorMatches, selectorText } from "../velero/label-selector.ts";
import { LABEL } from "../velero/labels.ts";
import type { LabelSelector } from "../velero/resources.ts";
import type { BackupRun } from "./action.ts";
import type { NamespaceFilter } from "./namespace-filter.ts";
import { inOrder, orderOf, parseOrder } from "./ordered-resources.ts";
import type { ResourceFilter } from "./resource-filter.ts";
import type { Spill, SpillSlot } from "./spill.ts";

/** What a backup takes: semantics spec section 2.4. */
export interface BackupFilters {
  readonly resources: ResourceFilter;
  readonly namespaces: NamespaceFilter;
  /** One list each; none: one list of everything. */
  readonly selectors: readonly LabelSelector[];
}

export interface ItemName {
  readonly type: ResourceType;
  readonly namespace: string | undefined;
  readonly name: string;
}

export interface CollectedItem extends ItemName {
  readonly slot: SpillSlot;
  /** Named in `orderedResources`. */
  readonly ordered: boolean;
}

/** Tells objects of one backup apart. */
export function itemKey({ type, namespace, name }: ItemName): string {
  return `${groupResource(type)}/${namespace ?? ""}/${name}`;
}

export function itemOf(type: ResourceType, object: KubeObject): ItemName {
  return { type, namespace: object.metadata.namespace, name: object.metadata.name };
}

/** Why an object is not stored; `undefined` when it is. `mustInclude`: as an action asks (spec 2.4). */
export function whyLeftOut(
  filters: BackupFilters,
  type: ResourceType,
  object: KubeObject,
  { mustInclude = false }: { readonly mustInclude?: boolean } = {},
): string | undefined {
  const { metadata } = object;
  if (metadata.deletionTimestamp !== undefined) {
    return "it is being deleted";
  }
  if (mustInclude) {
    return undefined;
  }
  if (metadata.labels?.[LABEL.excludeFromBackup] === "true") {
    return `it has the label ${LABEL.excludeFromBackup}`;
  }
  if (metadata.namespace !== undefined && !filters.namespaces.includes(metadata.namespace)) {
    return "its namespace is not included";
  }
  return filters.resources.allows(type) ? undefined : "its type is not included";
}

/**
 * Lists everything first (spec 2.5 step 1), each object once, in the order in which it is to be stored. What cannot be
 * listed is an error in the log, and the rest goes on.
 */
export async function collectItems(
  run: BackupRun,
  filters: BackupFilters,
  spill: Spill,
  options: CallOptions,
): Promise<readonly CollectedItem[]> {
  const { catalog } = run.context;
  const order = parseOrder(run.backup.spec.orderedResources);
  const all: CollectedItem[] = [];
  for (const type of catalog.types.filter((each) => filters.resources.lists(each))) {
    if (groupResource(type) === "namespaces") {
      continue; // which are stored depends on what is found in them
    }
    const found = await collectType(run, filters, { type, spill }, options);
    const names = orderOf(order, type);
    const { first, rest, missing } = inOrder(found, names, ({ namespace, name }) =>
      namespace === undefined ? name : `${namespace}/${name}`,
    );
    for (const name of missing) {
      run.log.warn(`orderedResources: ${name} is not there`, { resource: groupResource(type) });
    }
    all.push(...first.map((item) => ({ ...item, ordered: true })), ...rest);
  }
  return [...all, ...(await collectNamespaces(run, filters, { all, spill }, options))];
}

async function collectType(
  run: BackupRun,
  filters: BackupFilters,
  { type, spill }: { type: ResourceType; spill: Spill },
  { signal }: CallOptions,
): Promise<CollectedItem[]> {
  const { listed } = filters.namespaces;
  const namespaces = type.namespaced && listed !== "all" ? listed : [undefined];
  const selectors = filters.selectors.length === 0 ? [{}] : filters.selectors;
  const found = new Map<string, CollectedItem>();
  for (const namespace of namespaces) {
    for (const selector of selectors) {
      const labelSelector = selectorText(selector);
      try {
        const query = { namespace, signal, ...(labelSelector === "" ? {} : { labelSelector }) };
        for await (const object of run.context.kube.list(type, query)) {
          const item = itemOf(type, object);
          if (!found.has(itemKey(item)) && whyLeftOut(filters, type, object) === undefined) {
            found.set(itemKey(item), { ...item, slot: await spill.add(object), ordered: false });
          }
        }
      } catch (error) {
        signal?.throwIfAborted();
        run.log.error("Error listing items", { resource: groupResource(type), namespace, error });
      }
    }
  }
  run.log.info(`listed ${found.size} items`, { resource: groupResource(type) });
  return [...found.values()];
}

/** Namespaces that match a selector, or pass the filter, or hold what is stored (spec 2.4). */
async function collectNamespaces(
  run: BackupRun,
  filters: BackupFilters,
  { all, spill }: { all: readonly CollectedItem[]; spill: Spill },
  { signal }: CallOptions,
): Promise<readonly CollectedItem[]> {
  const type = run.context.catalog.resolve("namespaces");
  if (type === undefined || !filters.resources.lists(type)) {
    return [];
  }
  const inUse = new Set(all.map(({ namespace }) => namespace));
  const { namespaces, selectors } = filters;
  const needsContent = namespaces.everything && selectors.length > 0;
  const found: CollectedItem[] = [];
  try {
    for await (const object of run.context.kube.list(type, { signal })) {
      const { name, labels } = object.metadata;
      const wanted =
        !needsContent ||
        inUse.has(name) ||
        selectors.some((selector) => selectorMatches(selector, labels));
      if (
        wanted &&
        namespaces.includes(name) &&
        isActive(object) &&
        whyLeftOut(filters, type, object) === undefined
      ) {
        found.push({ ...itemOf(type, object), slot: await spill.add(object), ordered: false });
      }
    }
  } catch (error) {
    signal?.throwIfAborted();
    run.log.error(`Error listing namespaces: ${errorMessage(error)}`, { resource: "namespaces" });
  }
  return found;
}

function isActive(namespace: KubeObject): boolean {
  const status = namespace["status"] as { phase?: string } | undefined; // the API server's schema
  return (status?.phase ?? "Active") === "Active";
}
