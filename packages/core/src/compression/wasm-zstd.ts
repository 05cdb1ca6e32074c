import { runDecoder, tooLong } from "./run-decoder.ts";
import type { ZstdProvider } from "./zstd.ts";
import { readZstdFrame } from "./zstd-frame.ts";

/** What is used of the package. Its functions are bound to one WebAssembly instance. */
interface Library {
  readonly compress: (data: Uint8Array, level: number) => Uint8Array;
  readonly decompress: (stream: Uint8Array, options: { defaultHeapSize: number }) => Uint8Array;
}

// Mutable on purpose: the package has one WebAssembly instance a thread, and a second `init` would swap its memory
// under functions already bound to the first.
let library: Promise<Library> | undefined;

/** zstd of @bokuweb/zstd-wasm, which runs everywhere. */
export async function openWasmZstd(): Promise<ZstdProvider> {
  library ??= import("@bokuweb/zstd-wasm").then(async (loaded) => {
    await loaded.init();
    return loaded;
  });
  const { compress, decompress } = await library;
  return {
    name: "zstd-wasm",
    compress,
    decompress(stream, maxSize) {
      const { contentSize, bound } = readZstdFrame(stream);
      if ((contentSize ?? 0) > maxSize) {
        throw tooLong("zstd", maxSize);
      }
      // The decoder fills one array: of the declared size, now known to be small enough, or of the one given here.
      const defaultHeapSize = Math.min(bound, maxSize);
      return runDecoder("zstd", maxSize, () => decompress(stream, { defaultHeapSize }));
    },
  };
}
