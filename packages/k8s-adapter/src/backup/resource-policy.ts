import { errorMessage, VarveError } from "@varve/core";
import { parse } from "yaml";
import type { KubeObject } from "../kube/kube-api.ts";
import { parseQuantity } from "../velero/quantity.ts";
import type { IncludeExcludePolicy } from "./resource-filter.ts";

/**
 * The resource policy of a Backup: YAML in a ConfigMap, that says which volumes are treated how (semantics spec
 * section 2.6). Strict: a member that it does not know is an error, as a typing mistake would silently lose data.
 */
export interface ResourcePolicy {
  readonly volumePolicies: readonly VolumePolicy[];
  readonly includeExclude: IncludeExcludePolicy | undefined;
}

export type VolumeAction = "skip" | "fs-backup" | "snapshot" | "custom";

interface VolumePolicy {
  readonly matches: (volume: VolumeFacts) => boolean;
  readonly action: VolumeAction;
}

/** What conditions look at. */
export interface VolumeFacts {
  readonly capacityBytes?: number | undefined;
  readonly storageClass?: string | undefined;
  readonly nfs?: { readonly server?: string; readonly path?: string } | undefined;
  readonly csi?:
    | { readonly driver?: string; readonly volumeAttributes?: Readonly<Record<string, string>> }
    | undefined;
  /** The member that holds the source: `emptyDir`, `nfs`, `csi`, … */
  readonly volumeType?: string | undefined;
  readonly pvcLabels?: Readonly<Record<string, string>> | undefined;
  readonly pvcPhase?: string | undefined;
}

/** Of the ConfigMap that `spec.resourcePolicy` names. Throws `invalid-argument`. */
export function parseResourcePolicy(configMap: KubeObject): ResourcePolicy {
  const data = record(configMap["data"] ?? {}, "data");
  const [text, ...others] = Object.values(data);
  if (typeof text !== "string" || others.length > 0) {
    throw bad(`ConfigMap ${configMap.metadata.name} must have exactly one key`);
  }
  let parsed: unknown;
  try {
    parsed = parse(text, { maxAliasCount: 0, logLevel: "error" });
  } catch (error) {
    throw bad(`ConfigMap ${configMap.metadata.name}: ${errorMessage(error)}`);
  }
  const policy = record(parsed, "the policy");
  known(policy, ["version", "volumePolicies", "includeExcludePolicy"], "the policy");
  if (policy["version"] !== "v1") {
    throw bad(`version is ${JSON.stringify(policy["version"])}, not v1`);
  }
  return {
    volumePolicies: list(policy["volumePolicies"], "volumePolicies").map(volumePolicy),
    includeExclude:
      policy["includeExcludePolicy"] == null
        ? undefined
        : includeExclude(record(policy["includeExcludePolicy"], "includeExcludePolicy")),
  };
}

/** The action of the first policy that matches. */
export function policyAction(
  policy: ResourcePolicy | undefined,
  volume: VolumeFacts,
): VolumeAction | undefined {
  return policy?.volumePolicies.find(({ matches }) => matches(volume))?.action;
}

function volumePolicy(value: unknown): VolumePolicy {
  const policy = record(value, "a volume policy");
  known(policy, ["conditions", "action"], "a volume policy");
  const action = record(policy["action"], "action");
  known(action, ["type", "parameters"], "action");
  const { type } = action;
  if (type !== "skip" && type !== "fs-backup" && type !== "snapshot" && type !== "custom") {
    throw bad(`${JSON.stringify(type)} is not an action`);
  }
  return { action: type, matches: conditions(record(policy["conditions"] ?? {}, "conditions")) };
}

type Condition = (volume: VolumeFacts) => boolean;

const CONDITIONS: Readonly<Record<string, (value: unknown) => Condition>> = {
  capacity,
  storageClass: (value) => {
    const classes = strings(value, "storageClass");
    return ({ storageClass }) => storageClass !== undefined && classes.includes(storageClass);
  },
  nfs: (value) => {
    const wanted = record(value, "nfs");
    known(wanted, ["server", "path"], "nfs");
    return ({ nfs }) =>
      nfs !== undefined &&
      (wanted["server"] ?? nfs.server) === nfs.server &&
      (wanted["path"] ?? nfs.path) === nfs.path;
  },
  csi: (value) => {
    const wanted = record(value, "csi");
    known(wanted, ["driver", "volumeAttributes"], "csi");
    const attributes = Object.entries(record(wanted["volumeAttributes"] ?? {}, "volumeAttributes"));
    return ({ csi }) =>
      csi !== undefined &&
      (wanted["driver"] ?? csi.driver) === csi.driver &&
      attributes.every(([key, attribute]) => csi.volumeAttributes?.[key] === attribute);
  },
  volumeTypes: (value) => {
    const types = strings(value, "volumeTypes");
    return ({ volumeType }) => volumeType !== undefined && types.includes(volumeType);
  },
  pvcLabels: (value) => {
    const labels = Object.entries(record(value, "pvcLabels"));
    return ({ pvcLabels }) => labels.every(([key, label]) => pvcLabels?.[key] === label);
  },
  pvcPhase: (value) => {
    const phases = strings(value, "pvcPhase");
    return ({ pvcPhase }) => pvcPhase !== undefined && phases.includes(pvcPhase);
  },
};

function conditions(given: Readonly<Record<string, unknown>>): Condition {
  known(given, Object.keys(CONDITIONS), "conditions");
  const all = Object.entries(given).flatMap(([name, value]) => {
    const condition = CONDITIONS[name];
    return condition === undefined || value == null ? [] : [condition(value)];
  });
  return (volume) => all.every((condition) => condition(volume));
}

/** `min,max`, both inclusive; either may be blank. */
function capacity(value: unknown): Condition {
  const sides = typeof value === "string" ? value.split(",").map((side) => side.trim()) : [];
  const [min, max] = sides.map((side) => (side === "" ? null : parseQuantity(side)));
  if (
    sides.length !== 2 ||
    min === undefined ||
    max === undefined ||
    (min !== null && max !== null && min > max)
  ) {
    throw bad(`capacity ${JSON.stringify(value)} is not "min,max"`);
  }
  return ({ capacityBytes }) =>
    capacityBytes !== undefined &&
    capacityBytes >= (min ?? 0) &&
    capacityBytes <= (max ?? Number.POSITIVE_INFINITY);
}

const SCOPED = [
  "includedClusterScopedResources",
  "excludedClusterScopedResources",
  "includedNamespaceScopedResources",
  "excludedNamespaceScopedResources",
] as const;

function includeExclude(value: Readonly<Record<string, unknown>>): IncludeExcludePolicy {
  known(value, SCOPED, "includeExcludePolicy");
  return Object.fromEntries(
    SCOPED.map((member) => [member, value[member] == null ? [] : strings(value[member], member)]),
  );
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad(`${what} is not a mapping`);
  }
  return value as Record<string, unknown>; // an object that is no array
}

function list(value: unknown, what: string): readonly unknown[] {
  if (value != null && !Array.isArray(value)) {
    throw bad(`${what} is not a list`);
  }
  return value ?? [];
}

function strings(value: unknown, what: string): readonly string[] {
  const items = list(value, what);
  if (!items.every((item) => typeof item === "string")) {
    throw bad(`${what} is not a list of texts`);
  }
  return items;
}

function known(
  value: Readonly<Record<string, unknown>>,
  names: readonly string[],
  what: string,
): void {
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw bad(`${what} has an unknown member ${JSON.stringify(unknown)}`);
  }
}

function bad(message: string): VarveError {
  return new VarveError("invalid-argument", `resource policy: ${message}`);
}
