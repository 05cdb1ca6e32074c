import fastJsonPatch from "fast-json-patch";
import { parse } from "yaml";
import type { CallOptions } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import type { PatchSchemaOf } from "../kube/patch-schema.ts";
import { globMatch } from "../velero/glob.ts";
import { selectorMatches } from "../velero/label-selector.ts";
import type { LabelSelector } from "../velero/resources.ts";
import { type Fields, strategicMerge } from "./strategic-merge.ts";

/** Changes to objects while they are restored, from a ConfigMap: spec section 9.6. */

interface Patch {
  readonly operation: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: string;
}

interface Rule {
  readonly conditions: {
    readonly groupResource: string;
    readonly namespaces?: readonly string[] | null;
    readonly resourceNameRegex?: string;
    readonly labelSelector?: LabelSelector | null;
    readonly matches?: readonly { readonly path: string; readonly value: string }[] | null;
  };
  readonly patches?: readonly Patch[] | null;
  readonly mergePatches?: readonly { readonly patchData: string }[] | null;
  readonly strategicPatches?: readonly { readonly patchData: string }[] | null;
}

export type ResourceModifiers = readonly Rule[];

const OPERATIONS = ["add", "remove", "replace", "test", "move", "copy"];

/** Throws an error that says what is wrong with the ConfigMap. */
export function parseResourceModifiers(configMap: KubeObject): ResourceModifiers {
  const values = Object.values((configMap["data"] ?? {}) as Record<string, string>);
  if (values.length !== 1) {
    throw new Error("the ConfigMap of a resource modifier has one key");
  }
  const { version, resourceModifierRules } = (parse(values[0] ?? "") ?? {}) as {
    version?: unknown;
    resourceModifierRules?: unknown;
  };
  if (version !== "v1") {
    throw new Error(`resource modifiers of version ${JSON.stringify(version)} are not known`);
  }
  if (!Array.isArray(resourceModifierRules)) {
    throw new Error("resourceModifierRules is missing");
  }
  for (const rule of resourceModifierRules as Rule[]) {
    checkRule(rule);
  }
  return resourceModifierRules as Rule[]; // each was checked
}

function checkRule({ conditions, patches, mergePatches, strategicPatches }: Rule): void {
  if ((conditions?.groupResource ?? "") === "") {
    throw new Error("a resource modifier has no conditions.groupResource");
  }
  nameMatches(conditions, ""); // throws what is wrong with the expression
  const kinds = [patches, mergePatches, strategicPatches].filter((list) => (list?.length ?? 0) > 0);
  if (kinds.length !== 1) {
    throw new Error(
      `${conditions.groupResource}: one of patches, mergePatches and strategicPatches is needed`,
    );
  }
  for (const { operation, path } of patches ?? []) {
    if (!OPERATIONS.includes(operation) || (path ?? "") === "") {
      throw new Error(`${conditions.groupResource}: not a patch: ${operation} ${path}`);
    }
  }
}

/** The object as all matching rules make it; `problems` say which patches could not be applied. Throws the signal's reason. */
export async function modify(
  modifiers: ResourceModifiers,
  object: KubeObject,
  {
    groupResource,
    namespace,
    schemaOf,
    signal,
  }: CallOptions & {
    readonly groupResource: string;
    readonly namespace: string | undefined;
    readonly schemaOf: PatchSchemaOf;
  },
): Promise<{ readonly object: KubeObject; readonly problems: readonly string[] }> {
  const problems: string[] = [];
  const original = structuredClone(object);
  let current = object;
  for (const rule of modifiers) {
    if (matches(rule, original, { groupResource, namespace })) {
      try {
        current =
          (rule.strategicPatches?.length ?? 0) > 0
            ? await mergeStrategically(rule, current, { schemaOf, signal })
            : apply(rule, current);
      } catch (error) {
        signal?.throwIfAborted();
        problems.push(
          `resource modifier: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }
  }
  return { object: current, problems };
}

function matches(
  { conditions }: Rule,
  object: KubeObject,
  {
    groupResource,
    namespace,
  }: { readonly groupResource: string; readonly namespace: string | undefined },
): boolean {
  const { namespaces, labelSelector } = conditions;
  const inNamespace =
    namespace === undefined ||
    (namespaces?.length ?? 0) === 0 ||
    namespaces?.includes(namespace) === true;
  return (
    globMatch(conditions.groupResource, groupResource) &&
    inNamespace &&
    nameMatches(conditions, object.metadata.name) &&
    (labelSelector == null || selectorMatches(labelSelector, object.metadata.labels)) &&
    (conditions.matches ?? []).every(({ path, value }) => isAt(object, path, value))
  );
}

function nameMatches({ resourceNameRegex = "" }: Rule["conditions"], name: string): boolean {
  return new RegExp(resourceNameRegex).test(name);
}

function isAt(object: KubeObject, path: string, value: string): boolean {
  try {
    const found: unknown = fastJsonPatch.getValueByPointer(object, path);
    return JSON.stringify(found) === JSON.stringify(parse(value)) || found === value;
  } catch {
    return false; // there is nothing
  }
}

function apply({ patches, mergePatches }: Rule, object: KubeObject): KubeObject {
  if ((patches?.length ?? 0) > 0) {
    const operations = (patches ?? []).map(({ operation, path, from, value }) => ({
      op: operation,
      path,
      ...(from === undefined ? {} : { from }),
      ...(value === undefined ? {} : { value: patchValue(value) }),
    })) as fastJsonPatch.Operation[]; // operations were checked
    const copy = structuredClone(object);
    return fastJsonPatch.applyPatch(copy, operations, true).newDocument;
  }
  return (mergePatches ?? []).reduce<KubeObject>(
    (current, { patchData }) => mergeInto(current, parse(patchData)) as KubeObject,
    structuredClone(object),
  );
}

async function mergeStrategically(
  { strategicPatches }: Rule,
  object: KubeObject,
  { schemaOf, signal }: CallOptions & { readonly schemaOf: PatchSchemaOf },
): Promise<KubeObject> {
  const { apiVersion = "", kind = "" } = object;
  const schema = await schemaOf(apiVersion, kind, { signal });
  if (schema === undefined) {
    throw new Error(
      `strategicPatches are for built-in types: ${kind} of ${apiVersion} says nowhere how its lists are merged`,
    );
  }
  let merged: Fields = object;
  for (const { patchData } of strategicPatches ?? []) {
    const patch: unknown = parse(patchData);
    if (typeof patch !== "object" || patch === null || Array.isArray(patch)) {
      throw new Error("a strategic patch is no object");
    }
    merged = strategicMerge(merged, patch as Fields, schema); // it was looked at
  }
  if (typeof merged["metadata"] !== "object" || merged["metadata"] === null) {
    throw new Error("a strategic patch has left no metadata");
  }
  return merged as KubeObject; // it has metadata
}

/** Values are text: JSON where it is JSON, else the text itself. */
function patchValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** RFC 7396. */
function mergeInto(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) {
    return patch;
  }
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      delete result[key];
    } else {
      result[key] = mergeInto(result[key], value);
    }
  }
  return result;
}
