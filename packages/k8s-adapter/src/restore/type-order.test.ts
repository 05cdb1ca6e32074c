import { expect, test } from "vitest";
import { inRestoreOrder } from "./type-order.ts";

const same = (name: string): string => name;

test("claim 9: security context constraints come before pods, and what is not in the list between", () => {
  const names = [
    "pods",
    "services",
    "widgets.example.com",
    "clusters.cluster.x-k8s.io",
    "deployments.apps",
    "namespaces",
    "securitycontextconstraints.security.openshift.io",
    "persistentvolumeclaims",
    "customresourcedefinitions.apiextensions.k8s.io",
  ];
  expect(inRestoreOrder(names, "", same)).toEqual([
    "securitycontextconstraints.security.openshift.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "namespaces",
    "persistentvolumeclaims",
    "pods",
    "services",
    "deployments.apps",
    "widgets.example.com",
    "clusters.cluster.x-k8s.io",
  ]);
});

test("a setting has the first and the last, around a dash", () => {
  const names = ["a", "b", "c", "d"];
  expect(inRestoreOrder(names, "c, b", same)).toEqual(["c", "b", "a", "d"]);
  expect(inRestoreOrder(names, "d,-,a", same)).toEqual(["d", "b", "c", "a"]);
});
