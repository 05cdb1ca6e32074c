import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { runDecoder, tooLong } from "./run-decoder.ts";
import type { ZstdProvider } from "./zstd.ts";
import { readZstdFrame } from "./zstd-frame.ts";

/** What is used of the package. Its functions are bound to one WebAssembly instance. */
interface Library {
  readonly compress: (data: Uint8Array, level: number) => Uint8Array;
  readonly decompress: (stream: Uint8Array, options: { defaultHeapSize: number }) => Uint8Array;
}

// What is used of it; `lib` has no DOM, where TypeScript declares it.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => object;
};

/** What its own `init`, which only knows how to wait, is made of. */
interface Internals {
  readonly Module: {
    instantiateWasm?: (imports: object, receive: (instance: object) => unknown) => unknown;
    init(): unknown;
  };
}

// Mutable on purpose: the package has one WebAssembly instance a thread, and a second `init` would swap its memory
// under functions already bound to the first.
let library: Library | undefined;

/** Compiles it when it is first needed: 60 ms that whoever lists snapshots need not wait for. */
function load(): Library {
  if (library === undefined) {
    const require = createRequire(import.meta.url);
    const main = require.resolve("@bokuweb/zstd-wasm");
    const { Module } = require(join(dirname(main), "module.js")) as Internals; // of the one version that is depended on
    const bytes = readFileSync(join(dirname(main), "zstd.wasm"));
    Module.instantiateWasm = (imports, receive) =>
      receive(new WebAssembly.Instance(new WebAssembly.Module(bytes), imports));
    Module.init();
    library = require(main) as Library; // its own types
  }
  return library;
}

/** zstd of @bokuweb/zstd-wasm, for every machine that has Node. */
export async function openWasmZstd(): Promise<ZstdProvider> {
  return {
    name: "zstd-wasm",
    compress: (data, level) => load().compress(data, level),
    decompress(stream, maxSize) {
      const { contentSize, bound } = readZstdFrame(stream);
      if ((contentSize ?? 0) > maxSize) {
        throw tooLong("zstd", maxSize);
      }
      // The decoder fills one array: of the declared size, now known to be small enough, or of the one given here.
      const defaultHeapSize = Math.min(bound, maxSize);
      return runDecoder("zstd", maxSize, () => load().decompress(stream, { defaultHeapSize }));
    },
  };
}
