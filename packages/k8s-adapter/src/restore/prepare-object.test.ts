import { expect, test } from "vitest";
import type { KubeObject } from "../kube/kube-api.ts";
import { isSame, mergePatchOf, resetObject, whySkipped } from "./prepare-object.ts";

test("what the server had set is gone", () => {
  const object: KubeObject = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: "a",
      namespace: "n",
      uid: "1",
      resourceVersion: "2",
      creationTimestamp: "2026-01-01T00:00:00Z",
      ownerReferences: [{ apiVersion: "v1", kind: "X", name: "x", uid: "3" }],
      labels: { l: "1" },
      finalizers: ["f"],
      managedFields: [],
    },
    data: { k: "v" },
    status: { ready: true },
  };
  resetObject(object);
  expect(object).toEqual({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "a", namespace: "n", labels: { l: "1" }, finalizers: ["f"] },
    data: { k: "v" },
  });
});

test("what ended is not restored", () => {
  const pod = (phase: string): KubeObject => ({ metadata: { name: "p" }, status: { phase } });
  expect(whySkipped("pods", pod("Succeeded"))).toBeDefined();
  expect(whySkipped("pods", pod("Running"))).toBeUndefined();
  const job = { metadata: { name: "j" }, status: { completionTime: "2026-01-01T00:00:00Z" } };
  expect(whySkipped("jobs.batch", job)).toBeDefined();
  expect(whySkipped("deployments.apps", job)).toBeUndefined();
});

test("two are the same whatever else the server has put on one", () => {
  const wanted = {
    metadata: { name: "a", labels: { "velero.io/restore-name": "r2" } },
    data: { k: "v" },
  };
  const existing = {
    metadata: {
      name: "a",
      uid: "1",
      labels: { "velero.io/restore-name": "r1" },
      annotations: {},
    },
    data: { k: "v" },
    status: {},
  };
  expect(isSame(existing, wanted)).toBe(true);
  expect(isSame({ ...existing, data: { k: "w" } }, wanted)).toBe(false);
});

test("a merge patch holds what differs, and nulls for what goes", () => {
  expect(
    mergePatchOf({ a: 1, b: { c: 1, d: [1] }, e: 1 }, { a: 1, b: { c: 2, d: [1, 2] } }),
  ).toEqual({
    b: { c: 2, d: [1, 2] },
    e: null,
  });
  expect(mergePatchOf({ a: { b: 1 } }, { a: { b: 1 } })).toBeUndefined();
});
