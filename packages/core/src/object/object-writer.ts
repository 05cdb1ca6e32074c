import { READ_WINDOW_BYTES } from "../base/budget.ts";
import type { CallOptions } from "../base/environment.ts";
import { assert, VarveError } from "../base/errors.ts";
import type { Codec } from "../compression/codec.ts";
import { compressContent } from "../compression/content-compression.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ContentPrefix } from "../index/content-id.ts";
import type { Splitter } from "../splitter/splitter.ts";
import { encodeIndexStream } from "./index-stream.ts";
import { directObjectId, indirectObjectId, type ObjectId } from "./object-id.ts";
import type { ObjectEntry, WriteObjectOptions } from "./object-store.ts";

/** What the writer of objects needs of its repository. */
export interface ObjectWriterOptions {
  readonly contents: ContentStore;
  /** The repository's own: cuts objects that name no other, and index streams. */
  readonly splitter: Splitter;
  /** With 1, data is compressed here and not by the content store (spec §3.4, §5.1). */
  readonly indexVersion: number;
}

const FIRST_WINDOW_BYTES = 65_536;
// Kopia's prefix of the index stream of an object that has none itself (spec §5.2).
const INDEX_PREFIX = "x";

/** Turns streams into objects (spec §5.2). */
export class ObjectWriter {
  readonly #options: ObjectWriterOptions;

  constructor(options: ObjectWriterOptions) {
    this.#options = options;
  }

  async write(
    data: AsyncIterable<Uint8Array>,
    options: WriteObjectOptions,
  ): Promise<{ id: ObjectId; size: number }> {
    const { prefix, metadataCodec, signal } = options;
    const entries: ObjectEntry[] = [];
    let size = 0;
    for await (const chunk of chunksOf(data, options.splitter ?? this.#options.splitter)) {
      const object = await this.#piece(chunk, options);
      entries.push({ start: size, length: chunk.length, object });
      size += chunk.length;
    }
    return { id: await this.assemble(entries, { prefix, metadataCodec, signal }), size };
  }

  async assemble(
    entries: readonly ObjectEntry[],
    options: CallOptions & {
      prefix?: ContentPrefix | undefined;
      metadataCodec?: Codec | undefined;
    },
  ): Promise<ObjectId> {
    requireContiguous(entries);
    const [only] = entries;
    if (only !== undefined && entries.length === 1) {
      return only.object;
    }
    const { metadataCodec, signal } = options;
    const prefix =
      options.prefix === undefined || options.prefix === "" ? INDEX_PREFIX : options.prefix;
    const stream = encodeIndexStream(entries);
    const index = await this.write(stream, { prefix, codec: metadataCodec, metadataCodec, signal });
    return indirectObjectId(index.id);
  }

  async #piece(chunk: Uint8Array, options: WriteObjectOptions): Promise<ObjectId> {
    const { contents, indexVersion } = this.#options;
    const { prefix = "", codec, signal } = options;
    // spec §3.4: in a repository of index version 1 only data without a prefix is compressed at all.
    if (indexVersion === 1 && codec !== undefined && prefix === "") {
      const compressed = compressContent(chunk, codec);
      if (compressed !== undefined) {
        return directObjectId(await contents.write(compressed, { prefix, signal }), {
          compressed: true,
        });
      }
    }
    return directObjectId(await contents.write(chunk, { prefix, codec, signal }));
  }
}

function requireContiguous(entries: readonly ObjectEntry[]): void {
  let end = 0;
  for (const { start, length } of entries) {
    if (start !== end || !(length >= 0) || !Number.isSafeInteger(start + length)) {
      throw new VarveError(
        "invalid-argument",
        `assemble object: ${length} bytes at ${start} where ${end} was expected`,
      );
    }
    end = start + length;
  }
  if (entries.length === 0) {
    throw new VarveError("invalid-argument", "assemble object: no pieces");
  }
}

/**
 * The chunks of a stream, at least one, each valid until the next is asked for. The window starts small, since most
 * streams written here are directories, and never grows beyond its budget.
 */
async function* chunksOf(
  data: AsyncIterable<Uint8Array>,
  splitter: Splitter,
): AsyncGenerator<Uint8Array> {
  assert(splitter.maxSize <= READ_WINDOW_BYTES, "a chunk fits into the read window");
  let window = new Uint8Array(FIRST_WINDOW_BYTES);
  let filled = 0;
  let isEmpty = true;
  for await (const part of data) {
    for (let taken = 0; taken < part.length; ) {
      if (filled === window.length && window.length < READ_WINDOW_BYTES) {
        const grown = new Uint8Array(Math.min(window.length * 4, READ_WINDOW_BYTES));
        grown.set(window);
        window = grown;
      }
      const count = Math.min(part.length - taken, window.length - filled);
      window.set(part.subarray(taken, taken + count), filled);
      filled += count;
      taken += count;
      if (filled === READ_WINDOW_BYTES) {
        let start = 0;
        for (const end of splitter.cuts(window, false)) {
          yield window.subarray(start, end);
          start = end;
        }
        assert(start > 0, "a full window holds a whole chunk");
        isEmpty = false;
        window.copyWithin(0, start);
        filled -= start;
      }
    }
  }
  let start = 0;
  for (const end of splitter.cuts(window.subarray(0, filled), true)) {
    yield window.subarray(start, end);
    start = end;
    isEmpty = false;
  }
  if (isEmpty) {
    yield new Uint8Array(0); // spec §5.2: an empty object is one empty content
  }
}
