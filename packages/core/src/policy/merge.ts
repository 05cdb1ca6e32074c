import type { Policy } from "./policy.ts";
import { POLICY_FIELDS, type PolicyField, memberAt, nested } from "./policy-fields.ts";
import type { PolicyTarget } from "./policy-target.ts";
import { DEFAULT_POLICY } from "./default-policy.ts";

/** Where a value of an effective policy comes from. */
export type PolicyOrigin = PolicyTarget | "default";

export interface DefinedPolicy {
  readonly target: PolicyTarget;
  readonly policy: Policy;
}

export interface EffectivePolicy {
  readonly policy: Policy;
  /** By dotted member name, e.g. `retention.keepLatest`: who gave the value; several for merged lists, nearest first. */
  readonly origins: ReadonlyMap<string, readonly PolicyOrigin[]>;
}

interface Level {
  readonly origin: PolicyOrigin;
  readonly policy: Policy;
}

/**
 * Merges `own`, the target's own policy, with those that it inherits, nearest first (behaviour §2.3). A policy with `noParent`
 * ends the chain, and then the built-in defaults do not apply either, as in Kopia: what is unset stays unset, which means that
 * retention keeps everything, no dot-ignore file is read, nothing is compressed. Folder actions come from `own` alone; Kopia
 * forgets them when it has `noParent`, we do not.
 */
export function mergePolicies(options: {
  readonly own: DefinedPolicy | undefined;
  readonly inherited: readonly DefinedPolicy[];
}): EffectivePolicy {
  const own = options.own === undefined ? [] : [levelOf(options.own)];
  const chain = [...own, ...options.inherited.map(levelOf)];
  const end = chain.findIndex(({ policy }) => policy.noParent === true);
  const levels: readonly Level[] =
    end < 0 ? [...chain, { origin: "default", policy: DEFAULT_POLICY }] : chain.slice(0, end + 1);
  const origins = new Map<string, readonly PolicyOrigin[]>();
  const members = POLICY_FIELDS.map((field) => {
    const { value, from } = mergeField(field, field.rule === "own" ? own : levels);
    if (from.length > 0) {
      origins.set(field.path.join("."), from);
    }
    return [field.path, value] as const;
  });
  return { policy: nested(members), origins }; // the table places members as Policy declares them
}

function levelOf({ target, policy }: DefinedPolicy): Level {
  return { origin: target, policy };
}

interface Merged {
  readonly value: unknown;
  readonly from: readonly PolicyOrigin[];
}

function mergeField(field: PolicyField, levels: readonly Level[]): Merged {
  switch (field.rule) {
    case "own":
    case "first":
      return firstWith(field, levels, (value) => value !== undefined);
    case "first-set":
      return firstWith(
        field,
        levels,
        (value) =>
          value !== undefined &&
          value !== 0 &&
          value !== "" &&
          !(Array.isArray(value) && value.length === 0),
      );
    case "any-true":
      return firstWith(field, levels, (value) => value === true);
    default:
      return union(field, levels);
  }
}

function firstWith(
  field: PolicyField,
  levels: readonly Level[],
  counts: (value: unknown) => boolean,
): Merged {
  for (const { origin, policy } of levels) {
    const value = memberAt(policy, field.path);
    if (counts(value)) {
      return { value, from: [origin] };
    }
  }
  return { value: undefined, from: [] };
}

function union(field: PolicyField, levels: readonly Level[]): Merged {
  const items = new Map<string, unknown>();
  const from: PolicyOrigin[] = [];
  for (const { origin, policy } of levels) {
    const list = memberAt(policy, field.path);
    if (Array.isArray(list) && list.length > 0) {
      from.push(origin);
      for (const item of list) {
        items.set(sortKey(item), item);
      }
    }
    if (memberAt(policy, [...field.path.slice(0, -1), field.stopFlag ?? ""]) === true) {
      break;
    }
  }
  const sorted = [...items].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
  return { value: sorted.length === 0 ? undefined : sorted, from };
}

/** Strings sort as they are, times of day by hour and minute. */
function sortKey(item: unknown): string {
  return typeof item === "string"
    ? item
    : [memberAt(item, ["hour"]), memberAt(item, ["min"])]
        .map((part) => String(part).padStart(2, "0"))
        .join(":");
}
