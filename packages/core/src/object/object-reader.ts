import type { CallOptions } from "../base/environment.ts";
import { ByteReader } from "../base/cursor.ts";
import { VarveError } from "../base/errors.ts";
import type { Codecs } from "../compression/codec.ts";
import { decompressContent } from "../compression/content-compression.ts";
import type { ContentStore } from "../content/content-store.ts";
import { type IndexCheckpoint, type PlacedEntry, readIndexStream } from "./index-stream.ts";
import { type ObjectId, splitObjectId } from "./object-id.ts";
import type { ObjectEntry, ObjectReader } from "./object-store.ts";

export interface ObjectSource {
  readonly contents: ContentStore;
  readonly codecs: Codecs;
}

// Levels of indices, those of pieces that are long objects themselves included. Kopia writes two for a 100 TB file.
const MAX_DEPTH = 16;
const ENTRIES_PER_CHECKPOINT = 1024;
// No content holds more (spec §0), compressed or not.
const MAX_PIECE_LENGTH = 2 ** 28;
// What one call may allocate for its result.
const MAX_READ_LENGTH = 2 ** 31;

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** An open object that can also tell its pieces. */
interface OpenObject extends ObjectReader {
  /** Leaf pieces that overlap the range (all, empty ones too, without), some at a time, in order. */
  pieces(range: Range | undefined, options: CallOptions): AsyncIterable<readonly ObjectEntry[]>;
}

/** Opens an object of any depth (spec §5.1). Throws `content-not-found`, `corrupt`. */
export async function openObject(
  source: ObjectSource,
  id: ObjectId,
  options: CallOptions & { depth?: number } = {},
): Promise<OpenObject> {
  const { depth = 0, signal } = options;
  if (splitObjectId(id).indirections === 0) {
    const length = await leafLength(source, id, { signal });
    return new OpenPieces(source, new LeafPieces({ start: 0, length, object: id }));
  }
  const index = await openIndexOf(source, id, { depth, signal });
  const checkpoints: IndexCheckpoint[] = [];
  let count = 0;
  let size = 0;
  for await (const entries of readIndexStream(index.stream({ signal }), { what: `object ${id}` })) {
    for (const entry of entries) {
      if (count % ENTRIES_PER_CHECKPOINT === 0) {
        checkpoints.push({ streamOffset: entry.streamOffset, start: entry.start });
      }
      count++;
      size = entry.start + entry.length;
    }
  }
  return new OpenPieces(source, new IndexedPieces({ source, id, depth, index, checkpoints, size }));
}

/** The index stream of a long object; `depth` is how far it lies within others. */
export async function openIndexOf(
  source: ObjectSource,
  id: ObjectId,
  { depth, signal }: CallOptions & { depth: number },
): Promise<OpenObject> {
  if (depth >= MAX_DEPTH) {
    throw new VarveError("corrupt", `object ${id}: more than ${MAX_DEPTH} levels of indices`);
  }
  return await openObject(source, innerId(id), { depth: depth + 1, signal });
}

export function innerId(id: ObjectId): ObjectId {
  return id.slice(1) as ObjectId; // an id without its first `I` is that of its index stream, by spec §5.1
}

/** A piece that is a long object itself must bring the reader on, or pieces within pieces could go on for ever. */
export function requireShrinking(entry: ObjectEntry): void {
  if (entry.length === 0 && entry.object.startsWith("I")) {
    throw new VarveError("corrupt", `object ${entry.object}: an empty piece of an object`);
  }
}

interface Pieces {
  readonly size: number;
  pieces(range: Range | undefined, options: CallOptions): AsyncIterable<readonly ObjectEntry[]>;
}

class LeafPieces implements Pieces {
  readonly #entry: ObjectEntry;

  constructor(entry: ObjectEntry) {
    this.#entry = entry;
  }

  get size(): number {
    return this.#entry.length;
  }

  async *pieces(): AsyncGenerator<readonly ObjectEntry[]> {
    yield [this.#entry];
  }
}

/** Holds one place in a thousand of its index, so that the index of the largest file stays in storage. */
class IndexedPieces implements Pieces {
  readonly size: number;
  readonly #source: ObjectSource;
  readonly #id: ObjectId;
  readonly #depth: number;
  readonly #index: ObjectReader;
  readonly #checkpoints: readonly IndexCheckpoint[];

  constructor(options: {
    source: ObjectSource;
    id: ObjectId;
    depth: number;
    index: ObjectReader;
    checkpoints: readonly IndexCheckpoint[];
    size: number;
  }) {
    this.size = options.size;
    this.#source = options.source;
    this.#id = options.id;
    this.#depth = options.depth;
    this.#index = options.index;
    this.#checkpoints = options.checkpoints;
  }

  async *pieces(
    range: Range | undefined,
    { signal }: CallOptions,
  ): AsyncGenerator<readonly ObjectEntry[]> {
    const from = range === undefined ? this.#checkpoints[0] : this.#before(range.offset);
    if (from === undefined) {
      return;
    }
    const stream = this.#index.stream({ offset: from.streamOffset, signal });
    for await (const entries of readIndexStream(stream, { what: `object ${this.#id}`, from })) {
      const wanted = range === undefined ? entries : entries.filter(overlaps(range));
      yield* this.#leaves(wanted, range, { signal });
      const last = entries.at(-1);
      if (range !== undefined && last !== undefined && last.start >= range.offset + range.length) {
        return;
      }
    }
  }

  async *#leaves(
    entries: readonly PlacedEntry[],
    range: Range | undefined,
    { signal }: CallOptions,
  ): AsyncGenerator<readonly ObjectEntry[]> {
    let leaves: ObjectEntry[] = [];
    for (const entry of entries) {
      if (!entry.object.startsWith("I")) {
        leaves.push({ start: entry.start, length: entry.length, object: entry.object });
        continue;
      }
      yield leaves;
      leaves = [];
      requireShrinking(entry);
      const nested = await openObject(this.#source, entry.object, {
        depth: this.#depth + 1,
        signal,
      });
      requireLength(entry, nested.size);
      for await (const inner of nested.pieces(shift(range, entry), { signal })) {
        yield inner.map((piece) => ({ ...piece, start: entry.start + piece.start }));
      }
    }
    yield leaves;
  }

  #before(offset: number): IndexCheckpoint | undefined {
    let low = 0;
    let high = this.#checkpoints.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#checkpoints[middle] as IndexCheckpoint).start <= offset) {
        low = middle + 1; // middle < length
      } else {
        high = middle;
      }
    }
    return this.#checkpoints[low - 1];
  }
}

function overlaps(range: Range): (entry: ObjectEntry) => boolean {
  return ({ start, length }) =>
    start < range.offset + range.length && start + length > range.offset;
}

/** The part of a range that lies in a piece, seen from the piece. */
function shift(range: Range | undefined, { start, length }: ObjectEntry): Range | undefined {
  if (range === undefined) {
    return undefined;
  }
  const from = Math.max(range.offset, start);
  const to = Math.min(range.offset + range.length, start + length);
  return { offset: from - start, length: to - from };
}

export function requireLength({ object, length }: ObjectEntry, actual: number): void {
  if (actual !== length) {
    throw new VarveError("corrupt", `object ${object}: ${actual} bytes where ${length} are listed`);
  }
}

/** Reads bytes through the pieces; keeps the last one, for readers that want a little at a time. */
class OpenPieces implements OpenObject {
  readonly #source: ObjectSource;
  readonly #pieces: Pieces;
  #last: { readonly object: ObjectId; readonly data: Uint8Array } | undefined;

  constructor(source: ObjectSource, pieces: Pieces) {
    this.#source = source;
    this.#pieces = pieces;
  }

  get size(): number {
    return this.#pieces.size;
  }

  pieces(range: Range | undefined, options: CallOptions): AsyncIterable<readonly ObjectEntry[]> {
    return this.#pieces.pieces(range, options);
  }

  async read(range: Range, options: CallOptions = {}): Promise<Uint8Array> {
    this.#requireRange(range);
    if (range.length > MAX_READ_LENGTH) {
      throw new VarveError("range-invalid", `read ${range.length} bytes of an object at once`);
    }
    const result = new Uint8Array(range.length);
    let filled = 0;
    for await (const part of this.stream({ ...range, signal: options.signal })) {
      result.set(part, filled);
      filled += part.length;
    }
    return result;
  }

  async *stream(
    options: CallOptions & { offset?: number; length?: number } = {},
  ): AsyncGenerator<Uint8Array> {
    const { offset = 0, signal } = options;
    const range = { offset, length: options.length ?? this.size - offset };
    this.#requireRange(range);
    if (range.length === 0) {
      return;
    }
    for await (const pieces of this.#pieces.pieces(range, { signal })) {
      for (const piece of pieces) {
        const part = shift(range, piece) ?? range;
        if (part.length > 0) {
          const data = await this.#leaf(piece, { signal });
          yield data.subarray(part.offset, part.offset + part.length);
        }
      }
    }
  }

  async #leaf(piece: ObjectEntry, options: CallOptions): Promise<Uint8Array> {
    if (this.#last?.object !== piece.object) {
      const data = await readLeaf(this.#source, piece.object, {
        maxLength: piece.length,
        signal: options.signal,
      });
      this.#last = { object: piece.object, data };
    }
    requireLength(piece, this.#last.data.length);
    return this.#last.data;
  }

  #requireRange({ offset, length }: Range): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new VarveError(
        "range-invalid",
        `read ${length} bytes at ${offset} of an object of ${this.size}`,
      );
    }
  }
}

async function leafLength(
  source: ObjectSource,
  id: ObjectId,
  options: CallOptions,
): Promise<number> {
  const { compressed, contentId } = splitObjectId(id);
  if (compressed) {
    // Nothing records the length of what is compressed at object level.
    return (await readLeaf(source, id, { ...options, maxLength: MAX_PIECE_LENGTH })).length;
  }
  const info = source.contents.info(contentId);
  if (info === undefined) {
    throw new VarveError("content-not-found", `content ${contentId} of an object is in no index`);
  }
  return info.originalLength;
}

async function readLeaf(
  { contents, codecs }: ObjectSource,
  id: ObjectId,
  { maxLength, signal }: CallOptions & { maxLength: number },
): Promise<Uint8Array> {
  const { compressed, contentId } = splitObjectId(id);
  const data = await contents.read(contentId, { signal });
  if (!compressed) {
    return data;
  }
  const headerId = new ByteReader(data, { what: `object ${id}` }).u32();
  return decompressContent(data, { headerId, codecs, maxSize: maxLength });
}
