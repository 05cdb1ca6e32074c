import { createRequire } from "node:module";
import type * as NodeZstd from "@toondepauw/node-zstd";
import { plainBytes } from "./run-decoder.ts";
import { openWasmZstd } from "./node-wasm-zstd.ts";
import type { ZstdProvider } from "./zstd.ts";

/**
 * zstd of the optional package @toondepauw/node-zstd, or `undefined` where it is not installed. It only compresses:
 * its decoder grows the output without end and is no faster than the WebAssembly one, which can be bounded.
 */
export async function openNativeZstd(): Promise<ZstdProvider | undefined> {
  let library: typeof NodeZstd;
  try {
    library = createRequire(import.meta.url)("@toondepauw/node-zstd") as typeof NodeZstd; // its own types
  } catch {
    return undefined;
  }
  const { Encoder } = library;
  const { decompress } = await openWasmZstd();
  return {
    name: "node-zstd",
    compress: (data, level) =>
      plainBytes(
        new Encoder(level).encodeSync(Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
      ),
    decompress,
  };
}
