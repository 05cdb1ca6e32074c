import { VarveError } from "../base/errors.ts";
import { JsonRecord } from "../base/json.ts";
import type { Policy } from "./policy.ts";
import { type FieldType, POLICY_FIELDS } from "./policy-fields.ts";

/**
 * Policy documents as JSON (spec §6.6). A parsed policy keeps members that varve does not know where they stood, so that an
 * edit made with object spread writes them back.
 */

type Members = Readonly<Record<string, unknown>>;

/** A document of unknown origin. Throws `corrupt` naming `what`. */
export function policyFromJson(payload: unknown, what: string): Policy {
  const document = withKnownKeys(new JsonRecord(payload, what), []);
  return document; // every member that Policy declares was checked against the field table
}

/** The payload of a policy's manifest; sections without members are left out, unknown members are kept. */
export function policyToJson(policy: Policy): object {
  return withoutEmpty(policy as Members); // Policy is plain data, a tree of objects and lists
}

/** What the field table has at one place of the document: a field's type, or `section` when fields lie below. */
function kindAt(path: readonly string[]): FieldType | "section" | undefined {
  for (const field of POLICY_FIELDS) {
    if (path.every((name, index) => field.path[index] === name)) {
      return field.path.length === path.length ? field.type : "section";
    }
  }
  return undefined;
}

/** Known names at one place of the document, by their lower-case form: Go matches keys in any case. */
function knownKeys(path: readonly string[]): ReadonlyMap<string, string> {
  const below = POLICY_FIELDS.filter((field) =>
    path.every((name, index) => field.path[index] === name),
  );
  return new Map(
    below.map((field) => {
      const name = field.path[path.length] ?? "";
      return [name.toLowerCase(), name];
    }),
  );
}

function withKnownKeys(json: JsonRecord, path: readonly string[]): Members {
  const known = knownKeys(path);
  const entries = json.keys().flatMap((key): [string, unknown][] => {
    const name = known.get(key.toLowerCase());
    if (name === undefined) {
      return [[key, json.raw(key)]];
    }
    const kind = kindAt([...path, name]);
    const section = kind === "section" ? json.record(key) : undefined;
    const value =
      section === undefined
        ? checked(json, key, kind === "section" || kind === undefined ? "string" : kind)
        : withKnownKeys(section, [...path, name]);
    return value === undefined ? [] : [[name, value]];
  });
  return Object.fromEntries(entries);
}

function checked(json: JsonRecord, key: string, type: FieldType): unknown {
  switch (type) {
    case "integer":
      return json.integer(key);
    case "boolean":
      return json.boolean(key);
    case "string":
      return json.string(key);
    case "strings":
      return json.strings(key);
    case "times":
      return json.records(key)?.map(timeOfDay);
    default:
      return action(json.record(key));
  }
}

function timeOfDay(json: JsonRecord): { hour: number; min: number } {
  const hour = json.integer("hour") ?? 0;
  const min = json.integer("min") ?? 0;
  if (hour < 0 || hour > 23 || min < 0 || min > 59) {
    throw new VarveError("corrupt", `${json.what}: not a time of day`);
  }
  return { hour, min };
}

function action(json: JsonRecord | undefined): Members | undefined {
  if (json === undefined) {
    return undefined;
  }
  return withoutEmpty({
    path: json.string("path"),
    args: json.strings("args"),
    script: json.string("script"),
    timeout: json.integer("timeout"),
    mode: json.string("mode"),
  });
}

function withoutEmpty(members: Members): Members {
  return Object.fromEntries(
    Object.entries(members).flatMap(([key, value]) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        return value === undefined ? [] : [[key, value]];
      }
      const kept = withoutEmpty(value as Members); // an object, checked just now
      return Object.keys(kept).length === 0 ? [] : [[key, kept]];
    }),
  );
}
