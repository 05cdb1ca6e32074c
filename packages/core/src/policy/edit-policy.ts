import { isVarveError, VarveError } from "../base/errors.ts";
import type { Codecs } from "../compression/codec.ts";
import { SPLITTER_NAMES } from "../splitter/registry.ts";
import type { Policy } from "./policy.ts";
import { memberAt, POLICY_FIELDS } from "./policy-fields.ts";
import { policyFromJson } from "./policy-json.ts";

/** One member of a policy by its dotted name, as in `retention.keepLatest`: for whoever treats them as a table. */

/** `undefined` for what is not set there. */
export function policyMember(policy: Policy, name: string): unknown {
  return memberAt(policy, name.split("."));
}

/**
 * The same policy with one member set, or with `undefined` cleared. Throws `invalid-argument` for a name that no policy
 * has and for a value of another type.
 */
export function withPolicyMember(policy: Policy, name: string, value: unknown): Policy {
  const path = name.split(".");
  if (!POLICY_FIELDS.some((field) => field.path.join(".") === name)) {
    throw new VarveError("invalid-argument", `no policy has a member ${JSON.stringify(name)}`);
  }
  try {
    return policyFromJson(withMember(policy, path, value), "policy");
  } catch (cause) {
    if (!isVarveError(cause, "corrupt")) {
      throw cause;
    }
    throw new VarveError("invalid-argument", cause.message, { cause });
  }
}

/** Dotted names of members that varve does not know: of a newer Kopia, or misspelt. */
export function unknownPolicyMembers(policy: Policy): readonly string[] {
  return unknownBelow(policy, []);
}

/** Throws `invalid-argument` for a compression or splitter that nobody could apply. */
export function checkPolicyNames(policy: Policy, codecs: Codecs): void {
  const compressions = codecs.names.filter((name) => codecs.byName(name).writable);
  for (const { compressorName } of [policy.compression ?? {}, policy.metadataCompression ?? {}]) {
    checkName("compression", compressorName, ["none", ...compressions]);
  }
  checkName("splitter", policy.splitter?.algorithm, SPLITTER_NAMES);
}

/** "" means the same as nothing. */
function checkName(what: string, name: string | undefined, known: readonly string[]): void {
  if (name !== undefined && name !== "" && !known.includes(name)) {
    throw new VarveError(
      "invalid-argument",
      `no ${what} ${JSON.stringify(name)}: known are ${known.join(", ")}`,
    );
  }
}

type Members = Readonly<Record<string, unknown>>;

function withMember(document: unknown, path: readonly string[], value: unknown): Members {
  const members = isMembers(document) ? document : {};
  const [name = "", ...rest] = path;
  return {
    ...members,
    [name]: rest.length === 0 ? value : withMember(members[name], rest, value),
  };
}

function unknownBelow(document: unknown, path: readonly string[]): readonly string[] {
  const known = POLICY_FIELDS.filter((field) => path.every((name, i) => field.path[i] === name));
  if (known.length === 0) {
    return [path.join(".")];
  }
  const isField = known.some((field) => field.path.length === path.length);
  return isField || !isMembers(document)
    ? []
    : Object.keys(document).flatMap((name) => unknownBelow(document[name], [...path, name]));
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
