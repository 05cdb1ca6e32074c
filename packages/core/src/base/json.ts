import { fromUtf8, utf8 } from "./bytes.ts";
import { VarveError } from "./errors.ts";

/**
 * JSON as Kopia's Go library reads and writes it (spec, general JSON rules): keys match in any case,
 * unknown keys are ignored, `null` means absent, and `<`, `>`, `&`, U+2028, U+2029 are escaped.
 */

/** Parses bytes of unknown origin. Throws `corrupt` naming `what`. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new VarveError("corrupt", `${what}: not valid JSON`, { cause });
  }
}

/** Compact JSON with Go's string escapes, as UTF-8, without a final newline. Members that are `undefined` are left out. */
export function encodeJson(value: unknown, options: { indent?: number } = {}): Uint8Array {
  return utf8(goJsonText(value, options));
}

/** Like {@link encodeJson}, as text. */
export function goJsonText(value: unknown, options: { indent?: number } = {}): string {
  // An escaped backslash is matched first so that what follows it is not taken for an escape. JSON.stringify
  // escapes lone surrogates; Go replaces them.
  return JSON.stringify(value, undefined, options.indent).replace(
    /\\\\|[<>&\u2028\u2029]|\\ud[89a-f][0-9a-f]{2}/g,
    (match) => (match === "\\\\" ? match : (GO_ESCAPES[match] ?? "\ufffd")),
  );
}

const GO_ESCAPES: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/**
 * Checked access to one JSON object of unknown origin. Each getter returns `undefined` for an absent or
 * `null` member and throws `corrupt` for a wrong type; `require…` forms throw `corrupt` for absence too.
 */
export class JsonRecord {
  readonly what: string;
  readonly #members: Readonly<Record<string, unknown>>;

  constructor(value: unknown, what: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new VarveError("corrupt", `${what}: not a JSON object`);
    }
    this.what = what;
    this.#members = value as Readonly<Record<string, unknown>>; // checked above
  }

  static parse(bytes: Uint8Array, what: string): JsonRecord {
    return new JsonRecord(parseJson(bytes, what), what);
  }

  keys(): readonly string[] {
    return Object.keys(this.#members);
  }

  /** The member as it is: exact key first, then a key that differs only in case. */
  raw(key: string): unknown {
    if (Object.hasOwn(this.#members, key)) {
      return this.#members[key] ?? undefined;
    }
    const lower = key.toLowerCase();
    for (const name in this.#members) {
      if (name.length === key.length && name.toLowerCase() === lower) {
        return this.#members[name] ?? undefined;
      }
    }
    return undefined;
  }

  string(key: string): string | undefined {
    const value = this.raw(key);
    return value === undefined || typeof value === "string" ? value : this.#wrong(key, "string");
  }

  boolean(key: string): boolean | undefined {
    const value = this.raw(key);
    return value === undefined || typeof value === "boolean" ? value : this.#wrong(key, "boolean");
  }

  /** A safe integer. */
  integer(key: string): number | undefined {
    const value = this.raw(key);
    return value === undefined || (typeof value === "number" && Number.isSafeInteger(value))
      ? value
      : this.#wrong(key, "integer");
  }

  record(key: string): JsonRecord | undefined {
    const value = this.raw(key);
    return value === undefined ? undefined : new JsonRecord(value, `${this.what}.${key}`);
  }

  array(key: string): readonly unknown[] | undefined {
    const value = this.raw(key);
    return value === undefined || Array.isArray(value) ? value : this.#wrong(key, "array");
  }

  records(key: string): readonly JsonRecord[] | undefined {
    return this.array(key)?.map(
      (item, index) => new JsonRecord(item, `${this.what}.${key}[${index}]`),
    );
  }

  strings(key: string): readonly string[] | undefined {
    return this.array(key)?.map((item) =>
      typeof item === "string" ? item : this.#wrong(key, "list of strings"),
    );
  }

  /** A map from string to string. */
  stringMap(key: string): Readonly<Record<string, string>> | undefined {
    const record = this.record(key);
    return record === undefined
      ? undefined
      : Object.fromEntries(record.keys().map((name) => [name, record.requireString(name)]));
  }

  requireString(key: string): string {
    return this.string(key) ?? this.#missing(key);
  }

  requireInteger(key: string): number {
    return this.integer(key) ?? this.#missing(key);
  }

  requireRecord(key: string): JsonRecord {
    return this.record(key) ?? this.#missing(key);
  }

  #wrong(key: string, expected: string): never {
    throw new VarveError("corrupt", `${this.what}: ${JSON.stringify(key)} is not a ${expected}`);
  }

  #missing(key: string): never {
    throw new VarveError("corrupt", `${this.what}: ${JSON.stringify(key)} is missing`);
  }
}
