import { concatBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import type { ContentId } from "../index/content-id.ts";
import { splitObjectId } from "../object/object-id.ts";
import { RECORD_HEAD } from "../snapshot/directory.ts";
import type { EntryText } from "../snapshot/entry-text.ts";
import { ENTRY_HEAD, type KeptEntries } from "../snapshot/kept-entries.ts";
import {
  countOf,
  FACTS,
  GID,
  LINK,
  MODE,
  NANOS,
  type PackedListing,
  SECONDS,
  SIZE,
  TYPE_BITS,
  UID,
} from "../source/packed-listing.ts";

const [QUOTE, BACKSLASH, COMMA, OPEN, CLOSE] = [0x22, 0x5c, 0x2c, 0x7b, 0x7d];
/** Whether JSON as Go writes it has escapes for a name. */
// oxlint-disable-next-line no-control-regex
const ESCAPED = /[\u0000-\u001f"\\<>&\u2028\u2029]/;

/**
 * Compares a listing with the record of an earlier backup, bytes with bytes: an entry is unchanged when the record holds the very
 * text that would be written for it now, up to the object id. That takes 1 us an entry; by objects it is 5. Whatever is in doubt (escapes
 * in names, ids in an uncommon form, another order, damage) is not kept here but compared with care by those who called.
 */
export class EntryMatcher {
  readonly #record: Uint8Array;
  readonly #listing: PackedListing;
  readonly #count: number;
  readonly #names: Uint8Array;
  readonly #isPlain: boolean;
  readonly #mayKeep: Uint8Array;
  readonly #isStored: (id: ContentId) => boolean;
  readonly #text: EntryText;
  /** The record as text, when its characters lie where its bytes do. */
  readonly #ascii: string | undefined;
  /** By place in the listing: 1 for what is kept. */
  readonly kept: Uint8Array;
  keptCount = 0;
  /** Sizes of the files and links that are kept. */
  keptBytes = 0;
  readonly #ranges: Uint32Array;
  readonly #totals = { files: 0, symlinks: 0, sizeBytes: 0, seconds: -Infinity, nanos: 0 };
  /** Place in the record; at an entry's brace, or where nothing more is understood. */
  #at: number;
  #live = 0;
  #nameStart = 0;

  constructor(options: {
    readonly record: Uint8Array;
    readonly listing: PackedListing;
    /** By place in the listing: 1 for files and links that may be kept. */
    readonly mayKeep: Uint8Array;
    readonly isStored: (id: ContentId) => boolean;
    /** Used for one directory after another, so that it need not learn anew how modes and owners are written. */
    readonly text: EntryText;
  }) {
    const { record, listing } = options;
    this.#record = record;
    this.#listing = listing;
    this.#count = countOf(listing);
    this.#names = utf8(`${listing.names}/`);
    this.#isPlain = !ESCAPED.test(listing.names);
    this.#mayKeep = options.mayKeep;
    this.#isStored = options.isStored;
    this.#text = options.text;
    const text = fromUtf8(record);
    this.#ascii = text.length === record.length ? text : undefined;
    this.kept = new Uint8Array(this.#count);
    this.#ranges = new Uint32Array(this.#count * 2);
    this.#at = startsWith(record, 0, RECORD_HEAD) ? RECORD_HEAD.length : record.length;
    this.#skipDirectories();
  }

  /** Goes on for about `limit` entries; false when there is no more to do. */
  step(limit: number): boolean {
    for (let steps = 0; steps < limit; steps++) {
      if (this.#live >= this.#count || this.#record[this.#at] !== OPEN) {
        return false;
      }
      this.#stepOnce();
    }
    return true;
  }

  /** What was kept, if anything. */
  result(): KeptEntries | undefined {
    const { files, symlinks, sizeBytes, seconds, nanos } = this.#totals;
    if (this.keptCount === 0) {
      return undefined;
    }
    const maxTimeNs = BigInt(seconds) * 1_000_000_000n + BigInt(nanos);
    return {
      record: this.#record,
      ranges: this.#ranges.slice(0, this.keptCount * 2),
      totals: { files, symlinks, sizeBytes, maxTimeNs },
    };
  }

  /** Compares one live entry with one of the record, and leaves at least one of them behind. */
  #stepOnce(): void {
    const mode = this.#fact(MODE);
    const nameEnd = this.#names.indexOf(0x2f, this.#nameStart);
    if (this.#mayKeep[this.#live] !== 1 || this.#isEscaped(nameEnd)) {
      this.#nextLive(nameEnd);
      return;
    }
    const order = this.#compareNames(nameEnd);
    if (order < 0) {
      this.#nextLive(nameEnd); // new
      return;
    }
    let end = 0;
    if (order === 0) {
      end = this.#endOfSame(this.#at + ENTRY_HEAD.length + nameEnd - this.#nameStart);
      if (end > 0) {
        this.#keep(end, (mode & TYPE_BITS) === LINK);
      }
      this.#nextLive(nameEnd);
    }
    this.#at = afterEntry(this.#record, end > 0 ? end : entryEnd(this.#record, this.#at));
  }

  #isEscaped(nameEnd: number): boolean {
    return (
      !this.#isPlain &&
      ESCAPED.test(new TextDecoder().decode(this.#names.subarray(this.#nameStart, nameEnd)))
    );
  }

  /** Of the live name against the record's; above 0 also when the record's is not plain. */
  #compareNames(nameEnd: number): number {
    const record = this.#record;
    if (!startsWith(record, this.#at, ENTRY_HEAD)) {
      return 1;
    }
    let at = this.#at + ENTRY_HEAD.length;
    for (let index = this.#nameStart; index < nameEnd; index++, at++) {
      const live = this.#names[index] as number; // index < nameEnd
      const there = record[at];
      if (there !== live) {
        return there === undefined || there === QUOTE || there === BACKSLASH ? 1 : live - there;
      }
    }
    return record[at] === QUOTE ? 0 : record[at] === BACKSLASH ? 1 : -1;
  }

  /** Where the entry ends when it says, from `at` where its name does, what the live one would, of an object that is stored; else 0. */
  #endOfSame(at: number): number {
    const mode = this.#fact(MODE);
    const length = this.#text.write({
      isLink: (mode & TYPE_BITS) === LINK,
      mode: mode & 0o7777,
      sizeBytes: this.#fact(SIZE),
      seconds: this.#fact(SECONDS),
      nanos: this.#fact(NANOS),
      uid: this.#fact(UID),
      gid: this.#fact(GID),
    });
    const { bytes } = this.#text;
    for (let index = 0; index < length; index++) {
      if (this.#record[at + index] !== bytes[index]) {
        return 0;
      }
    }
    const end = this.#record.indexOf(QUOTE, at + length);
    return length > 0 && this.#record[end + 1] === CLOSE && this.#isStoredObject(at + length, end)
      ? end + 2
      : 0;
  }

  #isStoredObject(start: number, end: number): boolean {
    const text = this.#ascii?.slice(start, end) ?? fromUtf8(this.#record.subarray(start, end));
    try {
      return this.#isStored(splitObjectId(text).contentId);
    } catch {
      return false; // no object id
    }
  }

  #keep(end: number, isLink: boolean): void {
    const totals = this.#totals;
    this.kept[this.#live] = 1;
    this.#ranges[this.keptCount * 2] = this.#at;
    this.#ranges[this.keptCount * 2 + 1] = end;
    this.keptCount++;
    this.keptBytes += this.#fact(SIZE);
    if (isLink) {
      totals.symlinks++;
    } else {
      totals.files++;
      totals.sizeBytes += this.#fact(SIZE);
    }
    const [seconds, nanos] = [this.#fact(SECONDS), this.#fact(NANOS)];
    if (seconds > totals.seconds || (seconds === totals.seconds && nanos > totals.nanos)) {
      totals.seconds = seconds;
      totals.nanos = nanos;
    }
  }

  #skipDirectories(): void {
    const record = this.#record;
    while (record[this.#at] === OPEN && startsWith(record, this.#at, ENTRY_HEAD)) {
      if (!startsWith(record, stringEnd(record, this.#at + ENTRY_HEAD.length), DIRECTORY_TYPE)) {
        return;
      }
      this.#at = afterEntry(record, entryEnd(record, this.#at));
    }
  }

  #fact(place: number): number {
    return this.#listing.facts[this.#live * FACTS + place] as number; // live < count
  }

  #nextLive(nameEnd: number): void {
    this.#live++;
    this.#nameStart = nameEnd + 1;
  }
}

const DIRECTORY_TYPE: Uint8Array = utf8(',"type":"d"');

function startsWith(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  for (let index = 0; index < expected.length; index++) {
    if (bytes[at + index] !== expected[index]) {
      return false;
    }
  }
  return true;
}

/** After the quotation mark that ends the string whose first character is at `at`; the length when none does. */
function stringEnd(bytes: Uint8Array, start: number): number {
  for (let at = start; at < bytes.length; at++) {
    if (bytes[at] === QUOTE) {
      return at + 1;
    }
    at += bytes[at] === BACKSLASH ? 1 : 0;
  }
  return bytes.length;
}

/** After the brace that closes the one at `at`; the length when none does. */
function entryEnd(bytes: Uint8Array, start: number): number {
  let depth = 0;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = stringEnd(bytes, at + 1) - 1;
    } else if (byte === OPEN) {
      depth++;
    } else if (byte === CLOSE && --depth === 0) {
      return at + 1;
    }
  }
  return bytes.length;
}

function afterEntry(bytes: Uint8Array, end: number): number {
  return bytes[end] === COMMA ? end + 1 : end;
}

/** The record without its kept entries: what is left to compare with care, and damaged if the whole is. */
export function withoutKept({ record, ranges }: KeptEntries): Uint8Array {
  const parts: Uint8Array[] = [RECORD_HEAD];
  let start = RECORD_HEAD.length;
  for (let index = 0; index <= ranges.length; index += 2) {
    const isLast = index === ranges.length;
    const from = record[start] === COMMA ? start + 1 : start;
    const end = isLast ? record.length : (ranges[index] as number) - 1; // before its comma, or the bracket
    if (end > from) {
      if (parts.length > 1 && record[from] === OPEN) {
        parts.push(Uint8Array.of(COMMA));
      }
      parts.push(record.subarray(from, end));
    }
    start = isLast ? end : (ranges[index + 1] as number); // they come in pairs
  }
  return concatBytes(parts);
}
