import { describe, expect, test } from "vitest";
import { type PatchSchema, patchSchemas } from "../kube/patch-schema.ts";
import { type Fields, strategicMerge } from "./strategic-merge.ts";

/** That a real API server makes the same of it is shown on the cluster. */

const reference = (name: string): object => ({
  allOf: [{ $ref: `#/components/schemas/io.k8s.api.core.v1.${name}` }],
});
const keyed = (name: string, key: string): object => ({
  type: "array",
  items: reference(name),
  "x-kubernetes-patch-strategy": "merge",
  "x-kubernetes-patch-merge-key": key,
});
const DOCUMENT = {
  components: {
    schemas: {
      "io.k8s.api.core.v1.Pod": {
        "x-kubernetes-group-version-kind": [{ group: "", version: "v1", kind: "Pod" }],
        properties: {
          containers: keyed("Container", "name"),
          strategy: { ...reference("Strategy"), "x-kubernetes-patch-strategy": "retainKeys" },
          labels: { type: "object", additionalProperties: { type: "string" } },
          finalizers: { type: "array", "x-kubernetes-patch-strategy": "merge" },
          args: { type: "array", items: { type: "string" } },
        },
      },
      "io.k8s.api.core.v1.Container": { properties: { ports: keyed("Port", "port") } },
      "org.example.v1.Thing": {
        "x-kubernetes-group-version-kind": [{ group: "example.org", version: "v1", kind: "Thing" }],
      },
    },
  },
};
const schemaOf = patchSchemas(async () => DOCUMENT);
const pod = (await schemaOf("v1", "Pod")) as PatchSchema; // it is there
const merge = (before: Fields, patch: Fields): Fields => strategicMerge(before, patch, pod);
const named = (...names: string[]): object[] => names.map((name) => ({ name }));

test("members are merged, and null removes one", () => {
  const before = { labels: { a: "1", b: "2" }, kept: { x: 1 } };
  expect(merge(before, { labels: { a: null, c: "3" }, other: { gone: null, y: 1 } })).toEqual({
    labels: { b: "2", c: "3" },
    kept: { x: 1 },
    other: { y: 1 },
  });
  expect(before).toEqual({ labels: { a: "1", b: "2" }, kept: { x: 1 } });
});

describe("a list", () => {
  test("of objects is merged by its key, and what is new comes first", () => {
    const before = { containers: [{ name: "a", image: "1", ports: [{ port: 1 }] }, { name: "b" }] };
    const patch = {
      containers: [{ name: "new" }, { name: "a", image: "2", ports: [{ port: 2 }] }],
    };
    expect(merge(before, patch)["containers"]).toEqual([
      { name: "new" },
      { name: "a", image: "2", ports: [{ port: 2 }, { port: 1 }] },
      { name: "b" },
    ]);
  });

  test("without a strategy is replaced", () => {
    expect(merge({ args: ["a", "b"] }, { args: ["c"] })).toEqual({ args: ["c"] });
  });

  test("of values becomes the union, or loses some", () => {
    const before = { finalizers: ["a", "b"] };
    expect(merge(before, { finalizers: ["c", "a"] })).toEqual({ finalizers: ["c", "a", "b"] });
    expect(merge(before, { "$deleteFromPrimitiveList/finalizers": ["a"] })).toEqual({
      finalizers: ["b"],
    });
  });

  test("stands in the order that the patch gives", () => {
    const patch = { "$setElementOrder/containers": named("c", "a") };
    expect(merge({ containers: named("a", "b", "c") }, patch)).toEqual({
      containers: named("b", "c", "a"),
    });
    const wrong = { ...patch, containers: named("a", "c") };
    expect(() => merge({ containers: [] }, wrong)).toThrow("another order");
  });
});

describe("$patch", () => {
  test("delete removes an element, or all members", () => {
    const patch = { containers: [{ $patch: "delete", name: "a" }], labels: { $patch: "delete" } };
    expect(merge({ containers: named("a", "b"), labels: { a: "1" } }, patch)).toEqual({
      containers: named("b"),
      labels: {},
    });
  });

  test("replace takes what the patch has instead", () => {
    const patch = {
      containers: [...named("c"), { $patch: "replace" }],
      labels: { $patch: "replace", b: "2" },
    };
    expect(merge({ containers: named("a", "b"), labels: { a: "1" } }, patch)).toEqual({
      containers: named("c"),
      labels: { b: "2" },
    });
  });
});

test("$retainKeys removes all members but those", () => {
  const before = { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } } };
  const patch = { strategy: { $retainKeys: ["type"], type: "Recreate" } };
  expect(merge(before, patch)).toEqual({ strategy: { type: "Recreate" } });
});

test.each([
  { $patch: "merge" },
  { containers: [{ $patch: "turn", name: "a" }] },
  { containers: [{ image: "no key" }] },
  { strategy: { $retainKeys: ["type"], rollingUpdate: {} } },
  { strategy: { $retainKeys: "type" } },
  { "$deleteFromPrimitiveList/finalizers": "a" },
])("what the server refuses is an error: %j", (patch) => {
  const before = { containers: named("a"), strategy: { type: "x" }, finalizers: ["a"] };
  expect(() => merge(before, patch)).toThrow(Error);
});

test("custom resources, and what is no type, have no schema", async () => {
  expect(await schemaOf("example.org/v1", "Thing")).toBeUndefined();
  expect(await schemaOf("v1", "Nothing")).toBeUndefined();
  expect(await schemaOf("../v1", "Pod")).toBeUndefined();
  expect(await patchSchemas(async () => "hostile")("v1", "Pod")).toBeUndefined();
});
