/**
 * The compressions of Kopia's format by name and by header id (spec §3.4). A codec turns bytes into a stream and back;
 * it never decides whether to compress (content-compression.ts), and it never trusts a stream: what comes from storage
 * is decoded within the size the caller allows.
 */
import { VarveError } from "../base/errors.ts";
import type { Codec, Codecs } from "./codec.ts";
import { decompressLz4 } from "./node-lz4.ts";
import {
  compressDeflate,
  compressGzip,
  DEFAULT_LEVEL,
  decompressDeflate,
  decompressGzip,
} from "./node-zlib.ts";
import { decompressS2 } from "./s2-decoder.ts";
import { compressS2 } from "./s2-encoder.ts";
import { openZstd, type ZstdChoice, type ZstdProvider } from "./zstd.ts";

type Family = "gzip" | "zstd" | "s2" | "lz4" | "deflate";

// Levels are those of the family's library; only the stream's family is part of the format. S2 and LZ4 have none.
// Kopia's `zstd-fastest` makes 5 % less of database pages than level 1, and as much as level 2.
const CODECS: readonly (readonly [string, number, Family, number])[] = [
  ["gzip", 0x1000, "gzip", DEFAULT_LEVEL],
  ["gzip-best-speed", 0x1001, "gzip", 1],
  ["gzip-best-compression", 0x1002, "gzip", 9],
  ["zstd", 0x1100, "zstd", 3],
  ["zstd-fastest", 0x1101, "zstd", 2],
  ["zstd-better-compression", 0x1102, "zstd", 7],
  ["zstd-best-compression", 0x1103, "zstd", 11],
  ["s2-default", 0x1200, "s2", 0],
  ["s2-better", 0x1201, "s2", 0],
  ["s2-parallel-4", 0x1202, "s2", 0],
  ["s2-parallel-8", 0x1203, "s2", 0],
  ["pgzip", 0x1300, "gzip", DEFAULT_LEVEL],
  ["pgzip-best-speed", 0x1301, "gzip", 1],
  ["pgzip-best-compression", 0x1302, "gzip", 9],
  ["lz4", 0x1400, "lz4", 0],
  ["deflate-default", 0x1500, "deflate", DEFAULT_LEVEL],
  ["deflate-best-speed", 0x1501, "deflate", 1],
  ["deflate-best-compression", 0x1502, "deflate", 9],
];

interface CodecFamily {
  readonly name: string;
  readonly writable: boolean;
  compress(data: Uint8Array, level: number, target?: Uint8Array): Uint8Array;
  readonly streamSize?: ((data: Uint8Array, level: number) => number) | undefined;
  decompress(stream: Uint8Array, maxSize: number): Uint8Array;
}

/**
 * Every codec of the format. `zstd` forces one implementation instead of the fastest there is; throws `unsupported`
 * when that one cannot run here.
 */
export async function openCodecs(options: { zstd?: ZstdChoice | undefined } = {}): Promise<Codecs> {
  const zstd = await openZstd(options.zstd);
  const families = familiesWith(zstd);
  const codecs = CODECS.map(
    ([name, headerId, family, level]): Codec => ({
      name,
      headerId,
      writable: families[family].writable,
      provider: families[family].name,
      compress: (data, target) => families[family].compress(data, level, target),
      streamSize: (data) =>
        families[family].streamSize?.(data, level) ?? families[family].compress(data, level).length,
      decompress: (stream, maxSize) => families[family].decompress(stream, maxSize),
    }),
  );
  const byName = new Map(codecs.map((codec) => [codec.name, codec]));
  const byHeaderId = new Map(codecs.map((codec) => [codec.headerId, codec]));
  return {
    zstdProvider: zstd.name,
    names: codecs.map((codec) => codec.name),
    byName(name) {
      const codec = byName.get(name);
      if (codec === undefined) {
        throw new VarveError("invalid-argument", `unknown compression ${JSON.stringify(name)}`);
      }
      return codec;
    },
    byHeaderId(headerId) {
      const codec = byHeaderId.get(headerId);
      if (codec === undefined) {
        throw new VarveError("format-unsupported", `compression id 0x${headerId.toString(16)}`);
      }
      return codec;
    },
  };
}

function familiesWith(zstd: ZstdProvider): Readonly<Record<Family, CodecFamily>> {
  return {
    zstd: { writable: true, ...zstd },
    gzip: { name: "node-zlib", writable: true, compress: compressGzip, decompress: decompressGzip },
    s2: { name: "varve", writable: true, compress: compressS2, decompress: decompressS2 },
    lz4: { name: "lz4js", writable: false, compress: refuseLz4, decompress: decompressLz4 },
    deflate: {
      name: "node-zlib",
      writable: true,
      compress: compressDeflate,
      decompress: decompressDeflate,
    },
  };
}

function refuseLz4(): never {
  throw new VarveError("unsupported", "lz4 may only be read: Kopia no longer knows it");
}
