import type { ResourceType } from "../kube/kube-api.ts";
import { groupResource, type ResourceCatalog } from "../kube/resource-catalog.ts";
import { matchesAny } from "../velero/glob.ts";
import type { BackupSpec } from "../velero/resources.ts";

/**
 * Which types a backup takes: by listing, and as what belongs to something it takes (semantics spec section 2.4). Two
 * styles of lists with rules of their own; "everything" is decided on the user's own lists, before what the controller
 * excludes on its own.
 */
export interface ResourceFilter {
  /** The objects of the type are listed. */
  lists(type: ResourceType): boolean;
  /** An object of the type may be stored, be it listed or related to one that is. */
  allows(type: ResourceType): boolean;
  /** How cluster scope was chosen, for the log. */
  readonly clusterScope: string;
}

/** These enter only through the CSI actions (spec 1.2). */
export const AUTO_EXCLUDED_NAMESPACED = "volumesnapshots.snapshot.storage.k8s.io";
export const AUTO_EXCLUDED_CLUSTER = "volumesnapshotcontents.snapshot.storage.k8s.io";
const AUTO_EXCLUDED = [AUTO_EXCLUDED_NAMESPACED, AUTO_EXCLUDED_CLUSTER];

/** Of a resource policy (spec 2.6). */
export interface IncludeExcludePolicy {
  readonly includedClusterScopedResources?: readonly string[];
  readonly excludedClusterScopedResources?: readonly string[];
  readonly includedNamespaceScopedResources?: readonly string[];
  readonly excludedNamespaceScopedResources?: readonly string[];
}

export function usesOldFilters(spec: BackupSpec): boolean {
  return (
    filled(spec.includedResources) ||
    filled(spec.excludedResources) ||
    typeof spec.includeClusterResources === "boolean"
  );
}

export function usesNewFilters(spec: BackupSpec): boolean {
  return [
    spec.includedClusterScopedResources,
    spec.excludedClusterScopedResources,
    spec.includedNamespaceScopedResources,
    spec.excludedNamespaceScopedResources,
  ].some(filled);
}

export function filled(list: readonly string[] | null | undefined): boolean {
  return (list?.length ?? 0) > 0;
}

/** `allNamespaces`: the user's namespace filter is "everything". */
export function createResourceFilter(
  spec: BackupSpec,
  catalog: Pick<ResourceCatalog, "canonical" | "resolve">,
  { allNamespaces, policy }: { allNamespaces: boolean; policy?: IncludeExcludePolicy | undefined },
): ResourceFilter {
  return usesOldFilters(spec)
    ? oldFilter(spec, catalog, allNamespaces)
    : newFilter(spec, catalog, { allNamespaces, policy: policy ?? {} });
}

function oldFilter(
  spec: BackupSpec,
  catalog: Pick<ResourceCatalog, "canonical">,
  allNamespaces: boolean,
): ResourceFilter {
  const canonical = (names: readonly string[] | null | undefined): string[] =>
    (names ?? []).map((name) => catalog.canonical(name));
  const includes = canonical(spec.includedResources);
  const excludes = [...canonical(spec.excludedResources), ...AUTO_EXCLUDED];
  const cluster = spec.includeClusterResources ?? undefined;
  const included = (name: string): boolean =>
    includes.length === 0 || includes.includes("*") || matchesAny(includes, name);
  return {
    lists: (type) => {
      const name = groupResource(type);
      return (
        included(name) &&
        !matchesAny(excludes, name) &&
        (type.namespaced || (cluster ?? (allNamespaces || name === "namespaces")))
      );
    },
    allows: (type) => {
      const name = groupResource(type);
      const wanted = type.namespaced ? included(name) : (cluster ?? included(name));
      return wanted && !matchesAny(excludes, name);
    },
    clusterScope:
      cluster === undefined
        ? `includeClusterResources is not set: ${allNamespaces ? "all cluster-scoped types" : "only what belongs to stored objects"}`
        : `includeClusterResources is ${cluster}`,
  };
}

interface Scope {
  readonly includes: readonly string[];
  readonly excludes: readonly string[];
}

function newFilter(
  spec: BackupSpec,
  catalog: Pick<ResourceCatalog, "canonical" | "resolve">,
  { allNamespaces, policy }: { allNamespaces: boolean; policy: IncludeExcludePolicy },
): ResourceFilter {
  const scope = (
    namespaced: boolean,
    lists: readonly (readonly string[] | null | undefined)[],
  ): Scope => {
    const [includes = [], excludes = [], moreIncludes = [], moreExcludes = []] = lists.map((list) =>
      (list ?? [])
        .filter((name) => (catalog.resolve(name)?.namespaced ?? namespaced) === namespaced)
        .map((name) => catalog.canonical(name))
        .filter((name) => !AUTO_EXCLUDED.includes(name)),
    );
    // What the spec itself says about a name stays; excludes of the policy go before its includes.
    const allExcludes = [...excludes, ...moreExcludes.filter((name) => !includes.includes(name))];
    return {
      includes: [...includes, ...moreIncludes.filter((name) => !allExcludes.includes(name))],
      excludes: allExcludes,
    };
  };
  const namespaced = scope(true, [
    spec.includedNamespaceScopedResources,
    spec.excludedNamespaceScopedResources,
    policy.includedNamespaceScopedResources,
    policy.excludedNamespaceScopedResources,
  ]);
  const cluster = scope(false, [
    spec.includedClusterScopedResources,
    spec.excludedClusterScopedResources,
    policy.includedClusterScopedResources,
    policy.excludedClusterScopedResources,
  ]);
  const everything =
    allNamespaces &&
    cluster.includes.length + cluster.excludes.length === 0 &&
    namespaced.excludes.length === 0 &&
    namespaced.includes.every((name) => name === "*");
  const excluded = (name: string, { excludes }: Scope): boolean =>
    AUTO_EXCLUDED.includes(name) || matchesAny(excludes, name);
  const listed = (name: string, { namespaced: isNamespaced }: ResourceType): boolean =>
    isNamespaced
      ? namespaced.includes.length === 0 || matchesAny(namespaced.includes, name)
      : everything || name === "namespaces" || matchesAny(cluster.includes, name);
  return {
    lists: (type) => {
      const name = groupResource(type);
      return listed(name, type) && !excluded(name, type.namespaced ? namespaced : cluster);
    },
    allows: (type) => {
      const name = groupResource(type);
      return type.namespaced
        ? listed(name, type) && !excluded(name, namespaced)
        : !excluded(name, cluster);
    },
    clusterScope: everything
      ? "no filter at all: all cluster-scoped types"
      : cluster.includes.length > 0
        ? `listed cluster-scoped types: ${cluster.includes.join(", ")}`
        : "only what belongs to stored objects",
  };
}
