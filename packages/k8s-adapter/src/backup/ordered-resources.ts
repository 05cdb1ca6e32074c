import { groupResource } from "../kube/resource-catalog.ts";
import type { ResourceRef } from "../kube/kube-api.ts";

/** `orderedResources` of a Backup: type to names, in their order (semantics spec section 2.5 step 2). */
export function parseOrder(
  ordered: Readonly<Record<string, string>> | null | undefined,
): ReadonlyMap<string, readonly string[]> {
  return new Map(
    Object.entries(ordered ?? {}).map(([resource, names]) => [
      resource,
      names
        .split(",")
        .map((name) => name.trim())
        .filter((name) => name !== ""),
    ]),
  );
}

/** The names given for a type, by its plural with or without the group. */
export function orderOf(
  order: ReadonlyMap<string, readonly string[]>,
  type: ResourceRef,
): readonly string[] {
  return order.get(groupResource(type)) ?? order.get(type.resource) ?? [];
}

/** Named ones first, in that order, the others as they were; `missing` are named and not there. */
export function inOrder<T extends object>(
  items: readonly T[],
  names: readonly string[],
  nameOf: (item: T) => string,
): {
  readonly first: readonly T[];
  readonly rest: readonly T[];
  readonly missing: readonly string[];
} {
  const byName = new Map(items.map((item) => [nameOf(item), item]));
  const first = names.flatMap((name) => {
    const item = byName.get(name);
    return item === undefined ? [] : [item];
  });
  const taken = new Set(first);
  return {
    first: [...taken],
    rest: items.filter((item) => !taken.has(item)),
    missing: names.filter((name) => !byName.has(name)),
  };
}
