import { constants, deflateRawSync, gunzipSync, gzipSync, inflateRawSync } from "node:zlib";
import { plainBytes, runDecoder } from "./run-decoder.ts";

/** gzip (one member or several) and raw DEFLATE through node:zlib, at levels of zlib. */

/** zlib's own default level. */
export const DEFAULT_LEVEL: number = constants.Z_DEFAULT_COMPRESSION;

export function compressGzip(data: Uint8Array, level: number): Uint8Array {
  return plainBytes(gzipSync(data, { level }));
}

export function compressDeflate(data: Uint8Array, level: number): Uint8Array {
  return plainBytes(deflateRawSync(data, { level }));
}

/** Throws `corrupt`. */
export function decompressGzip(stream: Uint8Array, maxSize: number): Uint8Array {
  return runDecoder("gzip", maxSize, () => gunzipSync(stream, bounds(maxSize)));
}

/** Throws `corrupt`. */
export function decompressDeflate(stream: Uint8Array, maxSize: number): Uint8Array {
  return runDecoder("deflate", maxSize, () => inflateRawSync(stream, bounds(maxSize)));
}

// zlib stops at maxOutputLength, which must be at least 1; output is gathered in pieces of chunkSize, at least 64.
function bounds(maxSize: number): { maxOutputLength: number; chunkSize: number } {
  return {
    maxOutputLength: Math.max(1, maxSize),
    chunkSize: Math.min(Math.max(64, maxSize), 256 * 1024),
  };
}
