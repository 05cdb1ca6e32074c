import * as zlib from "node:zlib";
import { plainBytes, runDecoder, tooLong } from "./run-decoder.ts";
import type { ZstdProvider } from "./zstd.ts";
import { readZstdFrame } from "./zstd-frame.ts";

/** What Node 22.15 added to node:zlib; the type declarations of Node 20 lack it. */
interface NodeZstd {
  zstdCompressSync(
    data: Uint8Array,
    options: { params: Record<number, number>; pledgedSrcSize: number },
  ): Uint8Array;
  zstdDecompressSync(
    stream: Uint8Array,
    options: { maxOutputLength: number; chunkSize: number },
  ): Uint8Array;
}

const COMPRESSION_LEVEL = 100; // ZSTD_c_compressionLevel, by zstd's stable numbering

/** zstd of node:zlib, or `undefined` where Node is too old. */
export async function openNodeZstd(): Promise<ZstdProvider | undefined> {
  const node = zlib as unknown as Partial<NodeZstd>; // checked below, where present it is so
  const { zstdCompressSync, zstdDecompressSync } = node;
  if (zstdCompressSync === undefined || zstdDecompressSync === undefined) {
    return undefined;
  }
  return {
    name: "node-zlib",
    compress(data, level) {
      const params = { [COMPRESSION_LEVEL]: level };
      return plainBytes(zstdCompressSync(data, { params, pledgedSrcSize: data.length }));
    },
    decompress(stream, maxSize) {
      // The walk refuses huge windows, which the decoder would allocate; maxOutputLength bounds the output.
      const { contentSize, bound } = readZstdFrame(stream);
      if ((contentSize ?? 0) > maxSize) {
        throw tooLong("zstd", maxSize);
      }
      const maxOutputLength = Math.max(1, maxSize);
      const chunkSize = Math.max(64, Math.min(bound, maxSize, 1024 * 1024));
      return runDecoder("zstd", maxSize, () =>
        zstdDecompressSync(stream, { maxOutputLength, chunkSize }),
      );
    },
  };
}
