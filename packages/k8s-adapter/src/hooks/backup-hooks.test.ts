import { expect, test } from "vitest";
import { parseHookCommand, parseHookTimeout } from "./hook-annotations.ts";
import { hooksOfPod } from "./backup-hooks.ts";

const catalog = { canonical: (name: string): string => (name === "po" ? "pods" : name) };
const warnings: string[] = [];
const log = { info: () => {}, warn: (text: string) => warnings.push(text), error: () => {} };
const pod = (annotations: Record<string, string> = {}) => ({
  metadata: { name: "p", namespace: "shop", labels: { app: "web" }, annotations },
});
const hook = (selectors: object) => ({
  hooks: { resources: [{ name: "h", ...selectors, pre: [{ exec: { command: ["true"] } }] }] },
});

test("a hook is for pods in its namespaces, of its types and labels", () => {
  const count = (selectors: object): number =>
    hooksOfPod(pod(), "pre", hook(selectors), { catalog, log }).length;
  expect(count({})).toBe(1);
  expect(count({ includedNamespaces: ["sh*"], includedResources: ["po"] })).toBe(1);
  expect(count({ includedNamespaces: ["blog"] })).toBe(0);
  expect(count({ excludedNamespaces: ["shop"] })).toBe(0);
  expect(count({ includedResources: ["deployments.apps"] })).toBe(0);
  expect(count({ excludedResources: ["po"] })).toBe(0);
  expect(count({ labelSelector: { matchLabels: { app: "db" } } })).toBe(0);
});

test("an annotation without a phase is a pre hook, and the one with the phase is taken first", () => {
  const own = pod({
    "hook.backup.velero.io/command": "one arg",
    "hook.backup.velero.io/on-error": "Sometimes",
    "hook.backup.velero.io/timeout": "soon",
  });
  expect(hooksOfPod(own, "pre", hook({}), { catalog, log })).toEqual([
    {
      source: "annotation",
      name: "<from-annotation>",
      index: 0,
      container: undefined,
      command: ["one arg"],
      onError: undefined,
      timeoutMs: 30_000,
    },
  ]);
  expect(warnings).toHaveLength(1);
  expect(hooksOfPod(own, "post", hook({}), { catalog, log })).toEqual([]);
});

test("commands in annotations: a JSON list, or one argument", () => {
  expect(parseHookCommand('["a", "b c"]')).toEqual(["a", "b c"]);
  for (const text of ["[1]", "[", "a b", ""]) {
    expect(parseHookCommand(text)).toEqual([text]);
  }
  expect(parseHookTimeout("2s")).toEqual({ ms: 2000, bad: false });
  expect(parseHookTimeout("0s")).toEqual({ ms: 30_000, bad: false });
});
