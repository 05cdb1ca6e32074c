import { createRequire } from "node:module";
import type * as NodeZstd from "@toondepauw/node-zstd";
import { plainBytes } from "./run-decoder.ts";
import { openWasmZstd } from "./node-wasm-zstd.ts";
import type { ZstdProvider } from "./zstd.ts";

/**
 * The library gives memory for each stream that comes back when garbage is collected, and then in pieces that hardly
 * fit anything: a backup of 1 GiB in contents of 2 MiB took 500 MB instead of 150. Longer contents are for the
 * WebAssembly one, at little more than half the speed.
 */
const MAX_SIZE = 512 * 1024;

/**
 * zstd of the optional package @toondepauw/node-zstd, or `undefined` where it is not installed. It only compresses, and
 * nothing long: its decoder grows the output without end and is no faster than the WebAssembly one, which can be bounded.
 */
export async function openNativeZstd(): Promise<ZstdProvider | undefined> {
  let library: typeof NodeZstd;
  try {
    library = createRequire(import.meta.url)("@toondepauw/node-zstd") as typeof NodeZstd; // its own types
  } catch {
    return undefined;
  }
  const { Encoder } = library;
  const wasm = await openWasmZstd();
  return {
    name: "node-zstd",
    compress: (data, level, target) =>
      data.length > MAX_SIZE
        ? wasm.compress(data, level, target)
        : plainBytes(
            new Encoder(level).encodeSync(
              Buffer.from(data.buffer, data.byteOffset, data.byteLength),
            ),
          ),
    streamSize: wasm.streamSize,
    decompress: wasm.decompress,
  };
}
