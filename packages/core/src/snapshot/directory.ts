import { concatBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { assert, VarveError, errorMessage } from "../base/errors.ts";
import { JsonRecord, goJsonText } from "../base/json.ts";
import {
  entryFromJson,
  entryToJson,
  isExactEntry,
  isExactSummary,
  summaryFromJson,
  summaryToJson,
} from "./entry-json.ts";
import { bytesOfName, compareNames, nameKey, nameOfBytes, nameProblem } from "./entry-name.ts";
import type { DirectoryEntry, DirectorySummary } from "./entry.ts";
import { type KeptEntries, mergeTexts } from "./kept-entries.ts";
import { EMPTY_SUMMARY } from "./summary.ts";

/**
 * Directory records (spec §6.4): one object with prefix `k` for each directory, byte for byte what Kopia writes, so that
 * equal directories have equal ids whoever wrote them. Records are read as hostile input: an entry that could
 * harm a restore is set aside with its reason and never among `entries`.
 */

const STREAM = "kopia:directory";

/** An entry that was set aside; `name` is as found, for people only. */
export interface DamagedEntry {
  readonly name: string;
  readonly reason: string;
}

export interface DirectoryRecord {
  /** In the record's order; names are safe as single path components, and unique. */
  readonly entries: readonly DirectoryEntry[];
  readonly summary: DirectorySummary;
  readonly damaged: readonly DamagedEntry[];
  /** True when the record says nothing that the members above do not hold. */
  readonly exact: boolean;
}

/**
 * The record's bytes: directories first, then the rest, each bytewise by UTF-8 name. Names with `nameBytes` whose text
 * collides with another get a suffix. Throws `invalid-argument` for names that must not be stored and for two equal ones.
 */
export function encodeDirectory(options: {
  readonly entries: readonly DirectoryEntry[];
  readonly summary: DirectorySummary;
  /** Entries besides, taken over as they are; then no name of `entries` may have `nameBytes`. */
  readonly kept?: KeptEntries | undefined;
}): Uint8Array {
  const entries = withUniqueNames(options.entries).sort(
    (a, b) =>
      Number(b.type === "directory") - Number(a.type === "directory") ||
      compareNames(a.name, b.name),
  );
  if (options.kept !== undefined) {
    return withKept(options.kept, entries, options.summary);
  }
  return utf8(
    `${goJsonText({
      stream: STREAM,
      // Go's empty list is null.
      entries: entries.length === 0 ? null : entries.map(entryToJson),
      summary: summaryToJson(options.summary),
    })}\n`,
  );
}

/** What a record begins with, up to the first entry. */
export const RECORD_HEAD: Uint8Array = utf8(`{"stream":"${STREAM}","entries":[`);

/** `entries` are sorted; kept ones are files and links, at least one. */
function withKept(
  kept: KeptEntries,
  entries: readonly DirectoryEntry[],
  summary: DirectorySummary,
): Uint8Array {
  const texts = entries.map((entry) => {
    assert(entry.nameBytes === undefined, "names beside kept entries are plain");
    return { name: utf8(entry.name), text: utf8(goJsonText(entryToJson(entry))) };
  });
  const directories = entries.filter(({ type }) => type === "directory").length;
  const merged = mergeTexts(kept, texts.slice(directories));
  if (merged === undefined) {
    throw new VarveError("invalid-argument", "directory entry: a kept name occurs twice");
  }
  const before = texts.slice(0, directories).map(({ text }) => `${fromUtf8(text)},`);
  const tail = utf8(`],"summary":${goJsonText(summaryToJson(summary))}}\n`);
  return concatBytes([RECORD_HEAD, utf8(before.join("")), ...merged, tail]);
}

/** Reads a record of unknown origin. Throws `corrupt` naming `what` when it is not a directory record at all. */
export function parseDirectory(bytes: Uint8Array, what: string): DirectoryRecord {
  const json = JsonRecord.parse(bytes, what);
  if (json.string("stream") !== STREAM) {
    throw new VarveError("corrupt", `${what}: not a directory record`);
  }
  const entries: DirectoryEntry[] = [];
  const damaged: DamagedEntry[] = [];
  const seen = new Set<string>();
  let exact =
    json.keys().join() === "stream,entries,summary" && isExactSummary(json.raw("summary"));
  for (const value of json.array("entries") ?? []) {
    exact &&= isExactEntry(value);
    try {
      const entry = entryFromJson(value);
      const key = nameKey(entry);
      const problem = nameProblem(entry) ?? (seen.has(key) ? "name occurs twice" : undefined);
      if (problem === undefined) {
        seen.add(key);
        entries.push(entry);
      } else {
        damaged.push({ name: entry.name, reason: problem });
      }
    } catch (error) {
      damaged.push({ name: foundName(value), reason: errorMessage(error) });
    }
  }
  const summary = summaryFromJson(json.raw("summary")) ?? EMPTY_SUMMARY;
  return { entries, summary, damaged, exact: exact && damaged.length === 0 };
}

/** A copy of the entries, checked, with texts made unique: `a\xff` and `a\xfe` are both `a\ufffd` to Kopia. */
function withUniqueNames(entries: readonly DirectoryEntry[]): DirectoryEntry[] {
  const plain = entries.filter((entry) => entry.nameBytes === undefined);
  // In an order that depends on the names alone, so that equal directories give equal bytes.
  const odd = entries
    .filter((entry) => entry.nameBytes !== undefined)
    .sort((a, b) => compareNames(nameKey(a), nameKey(b)));
  const keys = new Set<string>();
  for (const entry of entries) {
    const problem = nameProblem(entry);
    if (problem !== undefined || keys.size === keys.add(nameKey(entry)).size) {
      throw new VarveError(
        "invalid-argument",
        `directory entry ${JSON.stringify(entry.name)}: ${problem ?? "name occurs twice"}`,
      );
    }
  }
  const names = new Set(plain.map((entry) => entry.name));
  return plain.concat(odd.map((entry) => ({ ...entry, name: uniqueName(entry, names) })));
}

function uniqueName(entry: DirectoryEntry, names: Set<string>): string {
  const base = nameOfBytes(bytesOfName(entry)).name;
  let name = base;
  for (let number = 1; names.has(name); number++) {
    name = `${base}~${number}`;
  }
  names.add(name);
  return name;
}

function foundName(value: unknown): string {
  const name: unknown =
    typeof value === "object" && value !== null && "name" in value ? value.name : undefined;
  return typeof name === "string" ? name : "";
}
