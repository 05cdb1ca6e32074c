import { fromBase64, toBase64 } from "../base/bytes.ts";
import { VarveError, errorMessage } from "../base/errors.ts";
import { formatTimeNs, parseTimeNs } from "../base/time.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import type { DirectoryEntry, DirectorySummary, EntryMeta } from "./entry.ts";

/**
 * Directory entries and summaries as JSON values, with Kopia's member order and omissions (spec §6.4). Directories
 * have up to millions of entries: plain member access here, no record objects, no closures an entry.
 */

/** POSIX setuid, setgid, sticky and their places among Go's mode bits (spec §6.4). */
const SPECIAL_BITS = [
  [0o4000, 0o40000000],
  [0o2000, 0o20000000],
  [0o1000, 0o4000000],
] as const;

const TYPE_LETTERS = { directory: "d", file: "f", symlink: "s" } as const;
const MAX_ID = 2 ** 32 - 1;

/** Members in Kopia's order; `undefined` ones are left out by the encoder. */
export function entryToJson(entry: DirectoryEntry): object {
  return {
    name: entry.name === "" ? undefined : entry.name,
    type: TYPE_LETTERS[entry.type],
    mode: entry.mode === 0 ? undefined : encodeMode(entry.mode),
    size: entry.sizeBytes === 0 ? undefined : entry.sizeBytes,
    mtime: entry.mtimeNs === 0n ? undefined : formatTimeNs(entry.mtimeNs),
    uid: entry.uid === 0 ? undefined : entry.uid,
    gid: entry.gid === 0 ? undefined : entry.gid,
    obj: entry.object,
    summ: entry.summary === undefined ? undefined : summaryToJson(entry.summary),
    nameBytes: entry.nameBytes === undefined ? undefined : toBase64(entry.nameBytes),
  };
}

/** Members in Kopia's order. */
export function summaryToJson(summary: DirectorySummary): object {
  return {
    size: summary.sizeBytes,
    files: summary.files,
    symlinks: summary.symlinks,
    dirs: summary.directories,
    maxTime: formatTimeNs(summary.maxTimeNs),
    incomplete: summary.incomplete === "" ? undefined : summary.incomplete,
    numFailed: summary.failed,
    numIgnoredErrors: summary.ignoredErrors === 0 ? undefined : summary.ignoredErrors,
    errors:
      summary.errors.length === 0
        ? undefined
        : summary.errors.map(({ path, error }) => ({ path, error })),
  };
}

/** An entry of unknown origin; its name is not judged here. Throws `corrupt` saying what is wrong with it. */
export function entryFromJson(value: unknown): DirectoryEntry {
  const json = members(value);
  if (json === undefined) {
    throw new VarveError("corrupt", "not a JSON object");
  }
  const type = entryType(json["type"]);
  const summary = json["summ"] == null ? undefined : summaryFromJson(json["summ"]);
  const nameBytes = json["nameBytes"] ?? json["namebytes"];
  return {
    name: wellFormed(text(json["name"], "name")),
    type,
    mode: parseMode(json["mode"]),
    sizeBytes: type === "directory" ? 0 : count(json["size"], Number.MAX_SAFE_INTEGER, "size"),
    mtimeNs: json["mtime"] == null ? 0n : parseTimeNs(text(json["mtime"], "mtime")),
    uid: count(json["uid"], MAX_ID, "uid"),
    gid: count(json["gid"], MAX_ID, "gid"),
    object: objectId(json["obj"]),
    ...(summary === undefined ? {} : { summary }),
    ...(nameBytes == null ? {} : { nameBytes: fromBase64(text(nameBytes, "nameBytes")) }),
  };
}

/**
 * A summary of unknown origin. It is only information, so damage must not stand between people and their files:
 * what cannot be understood counts as 0, and a summary that is no object as none.
 */
export function summaryFromJson(value: unknown): DirectorySummary | undefined {
  const json = members(value);
  if (json === undefined) {
    return undefined;
  }
  const incomplete = json["incomplete"];
  return {
    sizeBytes: countOrZero(json["size"]),
    files: countOrZero(json["files"]),
    symlinks: countOrZero(json["symlinks"]),
    directories: countOrZero(json["dirs"]),
    maxTimeNs: timeOrZero(json["maxTime"] ?? json["maxtime"]),
    ...(typeof incomplete === "string" && incomplete !== "" ? { incomplete } : {}),
    failed: countOrZero(json["numFailed"] ?? json["numfailed"]),
    ignoredErrors: countOrZero(json["numIgnoredErrors"] ?? json["numignorederrors"]),
    errors: errorsFromJson(json["errors"]),
  };
}

function encodeMode(mode: number): string {
  let goMode = mode & 0o777;
  for (const [posix, go] of SPECIAL_BITS) {
    goMode |= (mode & posix) === 0 ? 0 : go;
  }
  return `0${goMode.toString(8)}`;
}

function parseMode(value: unknown): number {
  if (value == null) {
    return 0;
  }
  const goMode = parseOctal(text(value, "mode"));
  let mode = goMode & 0o777;
  if (mode === goMode) {
    return mode;
  }
  for (const [posix, go] of SPECIAL_BITS) {
    mode |= (goMode & go) === 0 ? 0 : posix;
  }
  return mode;
}

/** A zero and up to eleven digits. Every entry has one: no regular expression. */
function parseOctal(digits: string): number {
  let value = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = digits.charCodeAt(index) - 0x30;
    if (!(digit >= 0 && digit < 8)) {
      value = Number.NaN;
    }
    value = value * 8 + digit;
  }
  if (Number.isNaN(value) || digits.length > 12 || !digits.startsWith("0")) {
    throw new VarveError("corrupt", "mode is not an octal number");
  }
  return value;
}

function entryType(value: unknown): EntryMeta["type"] {
  switch (value) {
    case "d":
      return "directory";
    case "f":
      return "file";
    case "s":
      return "symlink";
    default:
      throw new VarveError("corrupt", `unknown type ${shown(value)}`);
  }
}

function objectId(value: unknown): ObjectId {
  try {
    return parseObjectId(text(value, "obj"));
  } catch (cause) {
    throw new VarveError("corrupt", errorMessage(cause), { cause });
  }
}

function text(value: unknown, what: string): string {
  if (value == null) {
    return "";
  }
  if (typeof value !== "string") {
    throw new VarveError("corrupt", `${what} is not a string`);
  }
  return value;
}

function count(value: unknown, max: number, what: string): number {
  if (value == null) {
    return 0;
  }
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max) {
    throw new VarveError("corrupt", `${what} is not a number from 0 to ${max}: ${shown(value)}`);
  }
  return value;
}

function countOrZero(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

function timeOrZero(value: unknown): bigint {
  try {
    return typeof value === "string" ? parseTimeNs(value) : 0n;
  } catch {
    return 0n;
  }
}

function errorsFromJson(value: unknown): DirectorySummary["errors"] {
  if (!Array.isArray(value)) {
    return [];
  }
  return value.flatMap((item: unknown) => {
    const json = members(item);
    return json === undefined
      ? []
      : [{ path: textOrEmpty(json["path"]), error: textOrEmpty(json["error"]) }];
  });
}

function textOrEmpty(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** JSON allows an escaped half of a surrogate pair; Go replaces it as we do. */
function wellFormed(name: string): string {
  return /[\ud800-\udfff]/.test(name) ? name.replace(/\p{Surrogate}/gu, "\ufffd") : name;
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 40) ?? "absent";
}

const EXACT_KEYS: ReadonlySet<string> = new Set(
  (
    "name type mode size mtime uid gid obj summ nameBytes " +
    "files symlinks dirs maxTime incomplete numFailed numIgnoredErrors errors path error"
  ).split(" "),
);

/** False when an entry or its summary has members that are not exactly ours, which writing it anew would change. */
export function isExactEntry(value: unknown): boolean {
  const json = members(value);
  return json === value && (json?.["summ"] == null || isExactSummary(json["summ"]));
}

/** The same of a summary. */
export function isExactSummary(value: unknown): boolean {
  return members(value) === value;
}

/** The members of a JSON object, with lower-case copies of keys that are not exactly ours: Go matches in any case. */
function members(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return undefined;
  }
  const json = value as Readonly<Record<string, unknown>>; // checked above
  for (const key in json) {
    if (!EXACT_KEYS.has(key)) {
      return Object.fromEntries(
        Object.entries(json).flatMap(([key, item]) =>
          EXACT_KEYS.has(key) ? [[key, item]] : [[key.toLowerCase(), item]],
        ),
      );
    }
  }
  return json;
}
