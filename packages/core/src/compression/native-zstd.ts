import { plainBytes } from "./run-decoder.ts";
import { openWasmZstd } from "./wasm-zstd.ts";
import type { ZstdProvider } from "./zstd.ts";

/**
 * zstd of the optional package @toondepauw/node-zstd, or `undefined` where it is not installed. It only compresses:
 * its decoder grows the output without end and is no faster than the WebAssembly one, which can be bounded.
 */
export async function openNativeZstd(): Promise<ZstdProvider | undefined> {
  const library = await import("@toondepauw/node-zstd").catch(() => undefined);
  if (library === undefined) {
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
