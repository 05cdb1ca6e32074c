import { expect, test } from "vitest";
import type { KubeApi, ResourceType } from "./kube-api.ts";
import { inBackupOrder, openResourceCatalog } from "./open-catalog.ts";
import { groupResource } from "./resource-catalog.ts";

const ALL_VERBS = ["create", "delete", "get", "list", "watch"];

function type(name: string, more: Partial<ResourceType> = {}): ResourceType {
  const [resource = "", ...group] = name.split(".");
  return {
    resource,
    group: group.join("."),
    version: "v1",
    namespaced: true,
    kind: `${resource.slice(0, 1).toUpperCase()}${resource.slice(1, -1)}`,
    singular: resource.slice(0, -1),
    shortNames: [],
    verbs: ALL_VERBS,
    preferred: true,
    ...more,
  };
}

test("pods, claims and volumes come first, extensions last, and what lives twice is taken once", () => {
  const types = [
    type("bindings", { verbs: ["create"] }),
    type("configmaps"),
    type("events"),
    type("persistentvolumes"),
    type("pods"),
    type("persistentvolumeclaims"),
    type("deployments.extensions"),
    type("ingresses.extensions"),
    type("deployments.apps"),
    type("events.events.k8s.io"),
  ];
  expect(inBackupOrder(types).map(groupResource)).toEqual([
    "pods",
    "persistentvolumeclaims",
    "persistentvolumes",
    "configmaps",
    "events",
    "deployments.apps",
    "ingresses.extensions",
  ]);
});

test("claim 14: a type has many names, and the first group keeps the bare ones", async () => {
  const types = [
    type("pods", { shortNames: ["po"] }),
    type("deployments.apps", { shortNames: ["deploy"] }),
    type("pods.metrics.k8s.io", { kind: "PodMetrics", verbs: ["get", "list"] }),
  ];
  const catalog = await openResourceCatalog({
    discover: async () => ({ types, failed: [] }),
  } as Partial<KubeApi> as KubeApi); // the only call that a catalog makes
  const names = ["po", "Pod", "pods", "deploy", "deployment.apps", "deployments.apps", "nothing"];
  expect(names.map((name) => catalog.canonical(name))).toEqual([
    "pods",
    "pods",
    "pods",
    "deployments.apps",
    "deployments.apps",
    "deployments.apps",
    "nothing",
  ]);
  expect(catalog.canonical("pods.metrics.k8s.io")).toBe("pods.metrics.k8s.io");
  expect(catalog.forKind("apps/v1", "Deployment")?.resource).toBe("deployments");
});
