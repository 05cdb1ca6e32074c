import { utf8 } from "../base/bytes.ts";
import type { DirectorySummary } from "./entry.ts";

/** Files and links that a new record takes over from an earlier one: their text as it stands there, never an object each. */
export interface KeptEntries {
  readonly record: Uint8Array;
  /** Start and end of each entry's text in `record`, ascending; the text is what `encodeDirectory` would write, its name without escapes. */
  readonly ranges: Uint32Array;
  readonly totals: Pick<DirectorySummary, "files" | "symlinks" | "sizeBytes" | "maxTimeNs">;
}

/** What every entry's text begins with, up to the first byte of its name. */
export const ENTRY_HEAD: Uint8Array = utf8('{"name":"');
const QUOTE = 0x22;
const COMMA: Uint8Array = utf8(",");

/** Text of an entry that is not kept, and the UTF-8 of its name. */
export interface NewEntry {
  readonly name: Uint8Array;
  readonly text: Uint8Array;
}

/**
 * The texts of kept and new entries in the order of their names, with commas between them. `added` is in that order.
 * Nothing when a name occurs on both sides.
 */
export function mergeTexts(
  { record, ranges }: KeptEntries,
  added: readonly NewEntry[],
): readonly Uint8Array[] | undefined {
  const parts: Uint8Array[] = [];
  let start = 0;
  let end = 0;
  const endRun = (next: number): void => {
    if (end > start) {
      parts.push(record.subarray(start, end));
    }
    start = next;
    end = next;
  };
  let rest = 0;
  for (let index = 0; index < ranges.length; index += 2) {
    const from = ranges[index] as number; // index < length
    if (from !== end + 1) {
      endRun(from); // what lies between was not kept
    }
    for (; rest < added.length; rest++) {
      const { name, text } = added[rest] as NewEntry; // rest < length
      const order = compareName(name, record, from + ENTRY_HEAD.length);
      if (order === 0) {
        return undefined;
      }
      if (order > 0) {
        break;
      }
      endRun(from);
      parts.push(text);
    }
    end = ranges[index + 1] as number; // they come in pairs
  }
  endRun(end);
  parts.push(...added.slice(rest).map(({ text }) => text));
  return parts.flatMap((part, index) => (index === 0 ? [part] : [COMMA, part]));
}

/** Bytewise order of `name` and the one that stands in `record` from `at` to a quotation mark. */
function compareName(name: Uint8Array, record: Uint8Array, at: number): number {
  for (let index = 0; index < name.length; index++) {
    const there = record[at + index] as number; // a kept name ends before the record does
    if (there === QUOTE) {
      return 1;
    }
    if (name[index] !== there) {
      return (name[index] as number) - there;
    }
  }
  return record[at + name.length] === QUOTE ? 0 : -1;
}
