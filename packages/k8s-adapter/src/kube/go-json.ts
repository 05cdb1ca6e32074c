import { LosslessNumber, parse as parseLossless } from "lossless-json";

/**
 * JSON as Go programs read and write it: integers beyond 2^53 keep all digits, object keys are sorted, and `<`, `>`,
 * `&` and the line separators are escaped (semantics spec section 3.2).
 */

// Enough digits that a number might not survive as a double; most documents have none and take the fast way.
const LONG_NUMBER = /\d{16}/;

/** Throws `SyntaxError`. */
export function decodeJson(text: string): unknown {
  return LONG_NUMBER.test(text) ? parseLossless(text, undefined, parseNumber) : JSON.parse(text);
}

function parseNumber(text: string): number | LosslessNumber {
  const value = Number(text);
  return /^-?\d+$/.test(text) && !Number.isSafeInteger(value) ? new LosslessNumber(text) : value;
}

/** Compact unless `indent` says how many spaces. Members that are `undefined` are left out. */
export function encodeJson(value: unknown, { indent = 0 }: { indent?: number } = {}): string {
  return encode(value, indent, indent === 0 ? "" : "\n");
}

function encode(value: unknown, indent: number, newline: string): string {
  if (value instanceof LosslessNumber) {
    return value.toString();
  }
  if (typeof value !== "object" || value === null) {
    return typeof value === "string" ? encodeString(value) : (JSON.stringify(value) ?? "null");
  }
  const inner = newline === "" ? "" : newline + " ".repeat(indent);
  if (Array.isArray(value)) {
    const items = value.map((item) => encode(item, indent, inner));
    return items.length === 0 ? "[]" : `[${inner}${items.join(`,${inner}`)}${newline}]`;
  }
  const colon = newline === "" ? ":" : ": ";
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => encodeString(key) + colon + encode(member, indent, inner));
  return members.length === 0 ? "{}" : `{${inner}${members.join(`,${inner}`)}${newline}}`;
}

const ESCAPED = /[<>&\u2028\u2029]/g;

function encodeString(text: string): string {
  return JSON.stringify(text).replaceAll(
    ESCAPED,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
