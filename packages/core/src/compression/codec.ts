/** One compression of the format (spec §3.4). Streams only: the 4-byte header id is not part of them. */
export interface Codec {
  /** Kopia's name, e.g. `zstd-fastest`. */
  readonly name: string;
  /** Recorded in the index entry and before the stream; 0x1000..0x1502. */
  readonly headerId: number;
  /** False for what may only be read (`lz4`): then `compress` throws `unsupported`. */
  readonly writable: boolean;
  /** For people: the implementation that was picked, e.g. `node-zlib`. */
  readonly provider: string;
  /** `target`, which may be memory of `data`, is where the stream may be put if it fits; else it is a new array. */
  compress(data: Uint8Array, target?: Uint8Array): Uint8Array;
  /** How long the stream of `data` is, found out without leaving anything to collect where that is possible. */
  streamSize(data: Uint8Array): number;
  /** Throws `corrupt` for a damaged stream and for output longer than `maxSize` bytes, without allocating more. */
  decompress(stream: Uint8Array, maxSize: number): Uint8Array;
}

/** All codecs of the format, ready to use. */
export interface Codecs {
  /** For people: which implementation of zstd was picked, e.g. `node-zstd`. */
  readonly zstdProvider: string;
  /** The codec of a Kopia name. Throws `invalid-argument` for a name the format does not have; `none` and `""` are not codecs. */
  byName(name: string): Codec;
  /** The codec of a header id. Throws `format-unsupported` for an unknown one. */
  byHeaderId(headerId: number): Codec;
  readonly names: readonly string[];
}
