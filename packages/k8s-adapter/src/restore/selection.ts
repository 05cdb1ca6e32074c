import type { ResourceType } from "../kube/kube-api.ts";
import { groupResource, type ResourceCatalog } from "../kube/resource-catalog.ts";
import { matchesAny } from "../velero/glob.ts";
import { selectorMatches } from "../velero/label-selector.ts";
import type { RestoreSpec } from "../velero/resources.ts";

/** What of a backup a restore takes: spec section 9.2. */
export interface RestoreSelection {
  /** Its objects are gone through. */
  lists(type: ResourceType): boolean;
  /** It may enter because another object needs it. */
  allows(type: ResourceType): boolean;
  includesNamespace(namespace: string): boolean;
  selects(type: ResourceType, labels: Readonly<Record<string, string>> | undefined): boolean;
}

/** Types that are never restored; they are written into the spec's excludes, too. */
export const NEVER_RESTORED: readonly string[] = [
  "nodes",
  "events",
  "events.events.k8s.io",
  "backups.velero.io",
  "restores.velero.io",
  "resticrepositories.velero.io",
  "csinodes.storage.k8s.io",
  "volumeattachments.storage.k8s.io",
  "backuprepositories.velero.io",
];

/** What snapshots of volumes need passes every filter. */
const FORCED = ["datauploads.velero.io", "volumesnapshotcontents.snapshot.storage.k8s.io"];

export function createRestoreSelection(
  spec: RestoreSpec,
  catalog: Pick<ResourceCatalog, "canonical">,
): RestoreSelection {
  const canonical = (names: readonly string[] | null | undefined): string[] =>
    (names ?? []).map((name) => catalog.canonical(name));
  const types = listFilter(canonical(spec.includedResources), [
    ...canonical(spec.excludedResources),
    ...NEVER_RESTORED,
  ]);
  const [includedNamespaces, excludedNamespaces] = [
    spec.includedNamespaces ?? [],
    spec.excludedNamespaces ?? [],
  ];
  const namespaces = listFilter(includedNamespaces, excludedNamespaces);
  const allNamespaces =
    excludedNamespaces.length === 0 && includedNamespaces.every((name) => name === "*");
  const cluster = spec.includeClusterResources ?? undefined;
  const selectors = [
    ...(spec.labelSelector == null ? [] : [spec.labelSelector]),
    ...(spec.orLabelSelectors ?? []),
  ];
  const isForced = (type: ResourceType): boolean => FORCED.includes(groupResource(type));
  return {
    lists: (type) =>
      isForced(type) ||
      (types(groupResource(type)) && (type.namespaced || (cluster ?? allNamespaces))),
    allows: (type) =>
      isForced(type) || (types(groupResource(type)) && (type.namespaced || cluster !== false)),
    includesNamespace: namespaces,
    selects: (type, labels) =>
      isForced(type) ||
      selectors.length === 0 ||
      selectors.some((selector) => selectorMatches(selector, labels)),
  };
}

function listFilter(
  includes: readonly string[],
  excludes: readonly string[],
): (name: string) => boolean {
  return (name) =>
    (includes.length === 0 || matchesAny(includes, name)) && !matchesAny(excludes, name);
}
