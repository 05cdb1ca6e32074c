import type { CallOptions } from "../base/environment.ts";
import type { Codec } from "../compression/codec.ts";
import type { ContentId, ContentPrefix } from "../index/content-id.ts";
import type { Splitter } from "../splitter/splitter.ts";
import type { ObjectId } from "./object-id.ts";

/** One piece of an object (spec §5.1): `length` bytes at `start` are the whole of `object`. */
export interface ObjectEntry {
  readonly start: number;
  readonly length: number;
  readonly object: ObjectId;
}

/** Something of an object, from one walk through it. */
export interface ObjectPart {
  /** Contents of index streams: what says which pieces there are. */
  readonly index: readonly ContentId[];
  /** Leaf pieces, in order. */
  readonly pieces: readonly ObjectEntry[];
}

export interface WriteObjectOptions extends CallOptions {
  readonly prefix?: ContentPrefix | undefined;
  /** Compression of the pieces; left out means none. */
  readonly codec?: Codec | undefined;
  /** Compression of the index stream of a long object. */
  readonly metadataCodec?: Codec | undefined;
  /** Left out: the repository's own. */
  readonly splitter?: Splitter | undefined;
}

export interface ObjectReader {
  /** Bytes. */
  readonly size: number;
  /** Exactly these bytes; throws `range-invalid` beyond the end, `corrupt`, `content-not-found`. */
  read(range: { offset: number; length: number }, options?: CallOptions): Promise<Uint8Array>;
  /** The whole object or a range of it, a content at a time, in order. */
  stream(options?: CallOptions & { offset?: number; length?: number }): AsyncIterable<Uint8Array>;
}

/** Byte streams of any length over contents. */
export interface ObjectStore {
  /** Splits, deduplicates and stores a stream on this thread. */
  write(
    data: AsyncIterable<Uint8Array>,
    options?: WriteObjectOptions,
  ): Promise<{ id: ObjectId; size: number }>;
  /** Makes one object of pieces that are stored already: contiguous from 0, ascending. An index stream is written when there is more than one. Kopia's prefix rule: the index of an object with prefix "" has prefix `x`. */
  assemble(
    entries: readonly ObjectEntry[],
    options?: CallOptions & {
      prefix?: ContentPrefix | undefined;
      metadataCodec?: Codec | undefined;
    },
  ): Promise<ObjectId>;
  /** Throws `content-not-found`, `corrupt`. */
  open(id: ObjectId, options?: CallOptions): Promise<ObjectReader>;
  /**
   * The leaf pieces in order, streamed, without reading file data: what restore plans from. A single-content object gives one
   * entry whose length is its original length.
   */
  pieces(id: ObjectId, options?: CallOptions): AsyncIterable<ObjectEntry>;
  /** The same pieces, some at a time, and the contents of the index streams: all that the object keeps alive. */
  parts(id: ObjectId, options?: CallOptions): AsyncIterable<ObjectPart>;
  /** All contents the object keeps alive, index streams included. */
  contents(id: ObjectId, options?: CallOptions): AsyncIterable<ContentId>;
}
