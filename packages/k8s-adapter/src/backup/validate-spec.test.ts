import { expect, test } from "vitest";
import type { BackupSpec } from "../velero/resources.ts";
import { filterProblems } from "./validate-spec.ts";

const BAD: Readonly<Record<string, BackupSpec>> = {
  "old and new style": { includedResources: ["pods"], includedClusterScopedResources: ["nodes"] },
  "* beside others": { includedResources: ["*", "pods"] },
  "* excluded": { excludedResources: ["*"] },
  "in both lists": { includedResources: ["pods"], excludedResources: ["pods"] },
  "scoped * beside others": { includedNamespaceScopedResources: ["*", "pods"] },
  "scoped * excluded with includes": {
    includedClusterScopedResources: ["nodes"],
    excludedClusterScopedResources: ["*"],
  },
  "only snapshots": {
    includedNamespaceScopedResources: ["volumesnapshots.snapshot.storage.k8s.io"],
  },
  "namespace * beside others": { includedNamespaces: ["*", "shop"] },
  "namespace * excluded": { excludedNamespaces: ["*"] },
  "namespace in both": { includedNamespaces: ["shop"], excludedNamespaces: ["shop"] },
  "illegal namespace": { includedNamespaces: ["Shop"] },
  "**": { includedNamespaces: ["a**"] },
  "empty brackets": { includedNamespaces: ["a[]"] },
  "open bracket": { includedNamespaces: ["a[b"] },
  braces: { includedNamespaces: ["{a,b}"] },
  "both selectors": {
    labelSelector: { matchLabels: { a: "b" } },
    orLabelSelectors: [{ matchLabels: { c: "d" } }],
  },
};

test.each(Object.entries(BAD))("a spec is refused: %s", (_why, spec) => {
  expect(filterProblems(spec)).not.toEqual([]);
});

test("specs of every style are accepted", () => {
  const good: BackupSpec[] = [
    {},
    { includedNamespaces: ["*"], excludedNamespaces: ["kube-*"] },
    { includedNamespaces: ["s?op", "bl*", "ns-[0-9]"] },
    { includedResources: ["po"], excludedResources: ["secrets"], includeClusterResources: false },
    { excludedClusterScopedResources: ["*"], includedNamespaceScopedResources: ["*"] },
  ];
  expect(good.flatMap(filterProblems)).toEqual([]);
});
