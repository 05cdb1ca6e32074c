import { expect, test } from "vitest";
import type { ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { BackupSpec } from "../velero/resources.ts";
import { createResourceFilter } from "./resource-filter.ts";

const type = (name: string, namespaced: boolean): ResourceType => {
  const [resource = "", ...group] = name.split(".");
  const described = { kind: resource, singular: "", shortNames: [], verbs: [], preferred: true };
  return { ...described, group: group.join("."), version: "v1", resource, namespaced };
};
const TYPES = [
  type("pods", true),
  type("configmaps", true),
  type("deployments.apps", true),
  type("volumesnapshots.snapshot.storage.k8s.io", true),
  type("namespaces", false),
  type("persistentvolumes", false),
  type("storageclasses.storage.k8s.io", false),
];
const SHORT: Readonly<Record<string, string>> = {
  po: "pods",
  deploy: "deployments.apps",
  storageclasses: "storageclasses.storage.k8s.io",
};
const catalog = {
  canonical: (name: string): string => SHORT[name] ?? name,
  resolve: (name: string): ResourceType | undefined =>
    TYPES.find((each) => groupResource(each) === (SHORT[name] ?? name)),
};

/** Types that are listed, and cluster-scoped ones that may come as related. */
function chosen(spec: BackupSpec, allNamespaces: boolean): [string[], string[]] {
  const filter = createResourceFilter(spec, catalog, { allNamespaces });
  const names = (types: ResourceType[]): string[] => types.map(groupResource);
  return [
    names(TYPES.filter((each) => filter.lists(each))),
    names(TYPES.filter((each) => !each.namespaced && filter.allows(each))),
  ];
}

const NAMESPACED = ["pods", "configmaps", "deployments.apps"];
const CLUSTER = ["namespaces", "persistentvolumes", "storageclasses.storage.k8s.io"];

test("includeClusterResources has three values", () => {
  expect(chosen({ includeClusterResources: true }, false)).toEqual([
    [...NAMESPACED, ...CLUSTER],
    CLUSTER,
  ]);
  expect(chosen({ includeClusterResources: false }, true)).toEqual([NAMESPACED, []]);
  const unset = { excludedResources: ["events"] };
  expect(chosen(unset, true)).toEqual([[...NAMESPACED, ...CLUSTER], CLUSTER]);
  expect(chosen(unset, false)).toEqual([[...NAMESPACED, "namespaces"], CLUSTER]);
});

test("old-style lists go by every spelling of a type, and bind related objects unless told otherwise", () => {
  const spec = { includedResources: ["po", "deploy"] };
  expect(chosen(spec, true)).toEqual([["pods", "deployments.apps"], []]);
  expect(chosen({ excludedResources: ["po", "*.apps"] }, false)[0]).toEqual([
    "configmaps",
    "namespaces",
  ]);
});

test("no filter at all lists everything, also after the automatic excludes were written", () => {
  const excludes = {
    excludedNamespaceScopedResources: ["volumesnapshots.snapshot.storage.k8s.io"],
    excludedClusterScopedResources: ["volumesnapshotcontents.snapshot.storage.k8s.io"],
  };
  for (const spec of [{}, excludes]) {
    expect(chosen(spec, true)).toEqual([[...NAMESPACED, ...CLUSTER], CLUSTER]);
    expect(chosen(spec, false)).toEqual([[...NAMESPACED, "namespaces"], CLUSTER]);
  }
});

test("filters by scope: cluster-scoped includes list, and only excludes bind related objects", () => {
  const spec = {
    includedNamespaceScopedResources: ["configmaps", "storageclasses"],
    includedClusterScopedResources: ["storageclasses", "po"],
  };
  const listed = ["configmaps", "namespaces", "storageclasses.storage.k8s.io"];
  expect(chosen(spec, false)).toEqual([listed, CLUSTER]);
  expect(chosen({ excludedClusterScopedResources: ["*"] }, true)).toEqual([NAMESPACED, []]);
});

test("a policy's lists add to those of the spec, which come first", () => {
  const policy = { excludedNamespaceScopedResources: ["po", "configmaps"] };
  const spec = { includedNamespaceScopedResources: ["pods", "deploy"] };
  const filter = createResourceFilter(spec, catalog, { allNamespaces: false, policy });
  expect(TYPES.filter((each) => each.namespaced && filter.lists(each)).map(groupResource)).toEqual([
    "pods",
    "deployments.apps",
  ]);
});
