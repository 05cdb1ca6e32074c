import { concatBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { JsonRecord } from "../base/json.ts";
import { type ObjectId, parseObjectId } from "./object-id.ts";
import type { ObjectEntry } from "./object-store.ts";

/**
 * The JSON that lists the pieces of a long object (spec §5.1), written and read as a stream: that of a 10 TB file has
 * 200 MB. What is read is hostile until checked: entries must be contiguous, and no part of the stream that must be
 * held at once may be long.
 */

/** An entry and where its text starts in the stream. */
export interface PlacedEntry extends ObjectEntry {
  readonly streamOffset: number;
}

/** A place from which an index stream can be read on. */
export interface IndexCheckpoint {
  /** Where the entry's text starts in the stream. */
  readonly streamOffset: number;
  /** The entry's own start in the object. */
  readonly start: number;
}

const ENTRIES_PER_PART = 1000;
// Far more than Kopia writes for a header or an entry (150 bytes).
const MAX_TEXT_BYTES = 4096;
// Bounds the entries that are decoded at once.
const STEP_BYTES = 65_536;
// Kopia writes one at most; each costs the reader time without bringing it nearer to the end.
const MAX_EMPTY_PIECES = 1000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COMMA = 0x2c;
const SPACES: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** The bytes that Kopia would write for `entries`. */
export async function* encodeIndexStream(
  entries: readonly ObjectEntry[],
): AsyncGenerator<Uint8Array> {
  yield utf8('{"stream":"kopia:indirect","entries":[');
  for (let first = 0; first < entries.length; first += ENTRIES_PER_PART) {
    const part = entries.slice(first, first + ENTRIES_PER_PART).map(entryText);
    yield utf8(`${first === 0 ? "" : ","}${part.join(",")}`);
  }
  yield utf8("]}\n");
}

function entryText({ start, length, object }: ObjectEntry): string {
  const members = [
    ...(start === 0 ? [] : [`"s":${start}`]),
    ...(length === 0 ? [] : [`"l":${length}`]),
    `"o":"${object}"`,
  ];
  return `{${members.join(",")}}`;
}

/**
 * The entries of an index stream, some at a time, in order; with `from`, `stream` starts at that checkpoint. Throws
 * `corrupt` naming `what` for anything but contiguous entries from the start.
 */
export async function* readIndexStream(
  stream: AsyncIterable<Uint8Array>,
  options: { what: string; from?: IndexCheckpoint | undefined },
): AsyncGenerator<readonly PlacedEntry[]> {
  const scanner = new Scanner(options.what, options.from);
  for await (const chunk of stream) {
    for (let offset = 0; offset < chunk.length; offset += STEP_BYTES) {
      yield scanner.push(chunk.subarray(offset, offset + STEP_BYTES));
    }
  }
  scanner.finish();
}

class Scanner {
  readonly #what: string;
  #state: "header" | "entries" | "trailer";
  /** Bytes of an unfinished header, entry or trailer; `#restOffset` is where they start in the stream. */
  #rest: Uint8Array = new Uint8Array(0);
  #restOffset: number;
  /** Where the next entry must start in the object. */
  #nextStart: number;
  #emptyPieces = 0;

  constructor(what: string, from: IndexCheckpoint | undefined) {
    this.#what = what;
    this.#state = from === undefined ? "header" : "entries";
    this.#restOffset = from?.streamOffset ?? 0;
    this.#nextStart = from?.start ?? 0;
  }

  push(chunk: Uint8Array): readonly PlacedEntry[] {
    const bytes = this.#rest.length === 0 ? chunk : concatBytes([this.#rest, chunk]);
    const entries: PlacedEntry[] = [];
    let position = this.#state === "header" ? this.#header(bytes) : 0;
    if (this.#state === "entries") {
      position = this.#entries(bytes, position, entries);
    }
    // An unfinished header or entry must be short; a trailer that grows is none.
    if (bytes.length - position > MAX_TEXT_BYTES) {
      throw this.#corrupt("a part of it is too long", this.#restOffset + position);
    }
    this.#rest = bytes.slice(position);
    this.#restOffset += position;
    return entries;
  }

  finish(): void {
    const rest = fromUtf8(this.#rest);
    if (this.#state === "header") {
      // Without any bracket the list of entries is null or absent: an object without pieces.
      const record = this.#parse(rest);
      if (record.raw("entries") !== undefined) {
        throw this.#corrupt("its entries are no list", this.#restOffset);
      }
    } else if (this.#state === "entries") {
      throw this.#corrupt("it ends early", this.#restOffset);
    } else {
      this.#parse(`{"entries":[${rest}`);
    }
  }

  /** Everything up to the first bracket must be the beginning of an object whose last key is `entries`. */
  #header(bytes: Uint8Array): number {
    const bracket = findOutsideStrings(bytes, OPEN_BRACKET);
    if (bracket < 0) {
      return 0;
    }
    const record = this.#parse(
      `${fromUtf8(bytes.subarray(0, bracket + 1).slice(0, MAX_TEXT_BYTES))}]}`,
    );
    if (record.keys().at(-1)?.toLowerCase() !== "entries") {
      throw this.#corrupt("it does not begin with its entries", this.#restOffset);
    }
    this.#state = "entries";
    return bracket + 1;
  }

  /** Returns where the first unfinished entry, or the trailer, starts. */
  #entries(bytes: Uint8Array, from: number, entries: PlacedEntry[]): number {
    let position = from;
    for (; position < bytes.length; position++) {
      const byte = bytes[position] as number; // position < length
      if (byte === OPEN_BRACE) {
        const end = endOfObject(bytes, position);
        if (end < 0) {
          return position;
        }
        entries.push(this.#entry(bytes.subarray(position, end), this.#restOffset + position));
        position = end - 1;
      } else if (byte === CLOSE_BRACKET) {
        this.#state = "trailer";
        return position;
      } else if (byte !== COMMA && !SPACES.has(byte)) {
        throw this.#corrupt("not an entry", this.#restOffset + position);
      }
    }
    return position;
  }

  #entry(text: Uint8Array, streamOffset: number): PlacedEntry {
    const record = JsonRecord.parse(text, this.#what);
    const start = record.integer("s") ?? 0;
    const length = record.integer("l") ?? 0;
    this.#emptyPieces += length === 0 ? 1 : 0;
    if (
      start !== this.#nextStart ||
      length < 0 ||
      !Number.isSafeInteger(start + length) ||
      this.#emptyPieces > MAX_EMPTY_PIECES
    ) {
      throw this.#corrupt(`piece of ${length} bytes at ${start}`, streamOffset);
    }
    this.#nextStart = start + length;
    return { start, length, object: this.#object(record.requireString("o")), streamOffset };
  }

  #object(text: string): ObjectId {
    try {
      return parseObjectId(text);
    } catch (cause) {
      throw new VarveError("corrupt", `${this.#what}: bad object id in a piece`, { cause });
    }
  }

  #parse(text: string): JsonRecord {
    return JsonRecord.parse(utf8(text), this.#what);
  }

  #corrupt(problem: string, offset: number): VarveError {
    return new VarveError("corrupt", `${this.#what}: ${problem}, at byte ${offset} of the index`);
  }
}

function findOutsideStrings(bytes: Uint8Array, wanted: number): number {
  let inString = false;
  for (let position = 0; position < bytes.length; position++) {
    const byte = bytes[position];
    if (inString && byte === BACKSLASH) {
      position++;
    } else if (byte === QUOTE) {
      inString = !inString;
    } else if (!inString && byte === wanted) {
      return position;
    }
  }
  return -1;
}

/** The end (exclusive) of the object whose brace is at `start`; negative when it is not all there. */
function endOfObject(bytes: Uint8Array, start: number): number {
  let depth = 0;
  let inString = false;
  for (let position = start; position < bytes.length; position++) {
    const byte = bytes[position];
    if (inString) {
      if (byte === BACKSLASH) {
        position++;
      } else if (byte === QUOTE) {
        inString = false;
      }
    } else if (byte === QUOTE) {
      inString = true;
    } else if (byte === OPEN_BRACE) {
      depth++;
    } else if (byte === CLOSE_BRACE) {
      depth--;
      if (depth === 0) {
        return position + 1;
      }
    }
  }
  return -1;
}
