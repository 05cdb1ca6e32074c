import { InvalidArgumentError } from "commander";
import { parseDuration } from "../velero/duration.ts";
import type { LabelSelector } from "../velero/resources.ts";

/** Values of flags, as `velero` takes them. */

/** `a,b`; may be given more than once. */
export function list(text: string, before: string[] = []): string[] {
  return [
    ...before,
    ...text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== ""),
  ];
}

/** `key=value,other=value`; may be given more than once. */
export function map(text: string, before: Record<string, string> = {}): Record<string, string> {
  const pairs = list(text).map((pair) => {
    const at = pair.indexOf("=");
    if (at <= 0) {
      throw new InvalidArgumentError(`not key=value: ${pair}`);
    }
    return [pair.slice(0, at), pair.slice(at + 1)] as const;
  });
  return { ...before, ...Object.fromEntries(pairs) };
}

/** `old:new,…`; may be given more than once. */
export function mappings(
  text: string,
  before: Record<string, string> = {},
): Record<string, string> {
  const pairs = list(text).map((pair) => {
    const [from = "", to = "", ...more] = pair.split(":");
    if (from === "" || to === "" || more.length > 0) {
      throw new InvalidArgumentError(`not old:new: ${pair}`);
    }
    return [from, to] as const;
  });
  return { ...before, ...Object.fromEntries(pairs) };
}

/** A Go duration. */
export function duration(text: string): string {
  if (parseDuration(text) === undefined) {
    throw new InvalidArgumentError("not a duration such as 720h or 10m");
  }
  return text;
}

/** `true`, `false`, or the flag alone. */
export function boolean(text: string): boolean {
  if (text !== "true" && text !== "false") {
    throw new InvalidArgumentError("neither true nor false");
  }
  return text === "true";
}

/** `key=value,key2!=value,key3,!key4,key5 in (a,b)`, as kubectl takes it. */
export function selector(text: string): LabelSelector {
  const matchLabels: Record<string, string> = {};
  const matchExpressions: NonNullable<LabelSelector["matchExpressions"]> = [];
  for (const term of text.split(/,(?![^(]*\))/).map((part) => part.trim())) {
    const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(term);
    const compared = /^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$/.exec(term);
    if (set !== null) {
      const [, key = "", verb, values = ""] = set;
      matchExpressions.push({
        key,
        operator: verb === "in" ? "In" : "NotIn",
        values: list(values),
      });
    } else if (compared !== null) {
      const [, key = "", operator, value = ""] = compared;
      if (operator === "!=") {
        matchExpressions.push({ key, operator: "NotIn", values: [value] });
      } else {
        matchLabels[key] = value;
      }
    } else if (/^!?[^\s=!]+$/.test(term)) {
      const operator = term.startsWith("!") ? "DoesNotExist" : "Exists";
      matchExpressions.push({ key: term.replace(/^!/, ""), operator });
    } else {
      throw new InvalidArgumentError(`not a label selector: ${term}`);
    }
  }
  return {
    ...(Object.keys(matchLabels).length === 0 ? {} : { matchLabels }),
    ...(matchExpressions.length === 0 ? {} : { matchExpressions }),
  };
}

/** One or more selectors, with ` or ` between them. */
export function orSelectors(text: string): LabelSelector[] {
  return text.split(" or ").map(selector);
}

/** `pods=ns1/a,ns1/b;persistentvolumes=pv1`. */
export function ordered(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split(";").map((part) => {
      const [kind = "", names = ""] = part.split("=");
      if (kind.trim() === "" || names === "") {
        throw new InvalidArgumentError(`not kind=name,…: ${part}`);
      }
      return [kind.trim(), names];
    }),
  );
}

/** `name=key` of a Secret. */
export function secretKey(text: string): { name: string; key: string } {
  const [name = "", key = ""] = text.split("=");
  if (name === "" || key === "") {
    throw new InvalidArgumentError("not secret=key");
  }
  return { name, key };
}
