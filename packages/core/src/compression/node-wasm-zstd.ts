import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { assert } from "../base/errors.ts";
import { runDecoder, tooLong } from "./run-decoder.ts";
import type { ZstdProvider } from "./zstd.ts";
import { readZstdFrame } from "./zstd-frame.ts";

/** What is used of the package. Its functions are bound to one WebAssembly instance. */
interface Library {
  readonly decompress: (stream: Uint8Array, options: { defaultHeapSize: number }) => Uint8Array;
}

// What is used of it; `lib` has no DOM, where TypeScript declares it.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => object;
};

/** What its own `init`, which only knows how to wait, is made of, and what its functions call. Addresses and sizes are bytes. */
interface Internals {
  instantiateWasm?: (imports: object, receive: (instance: object) => unknown) => unknown;
  init(): unknown;
  /** All memory: another array when that has grown. */
  readonly HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(address: number): void;
  _ZSTD_createCCtx(): number;
  _ZSTD_compressBound(size: number): number;
  _ZSTD_isError(result: number): number;
  _ZSTD_compress_usingDict(
    context: number,
    target: number,
    targetSize: number,
    source: number,
    sourceSize: number,
    dictionary: number,
    dictionarySize: number,
    level: number,
  ): number;
}

interface Loaded {
  readonly library: Library;
  readonly internals: Internals;
  /** What zstd needs for compressing, used again for all of it: tables of a megabyte need not be made for each small content. */
  readonly context: number;
}

// Mutable on purpose: the package has one WebAssembly instance a thread, and a second `init` would swap its memory
// under functions already bound to the first.
let loaded: Loaded | undefined;

/** Compiles it when it is first needed: 60 ms that whoever lists snapshots need not wait for. */
function load(): Loaded {
  if (loaded === undefined) {
    const require = createRequire(import.meta.url);
    const main = require.resolve("@bokuweb/zstd-wasm");
    const { Module } = require(join(dirname(main), "module.js")) as { Module: Internals }; // of the one version that is depended on
    const bytes = readFileSync(join(dirname(main), "zstd.wasm"));
    Module.instantiateWasm = (imports, receive) =>
      receive(new WebAssembly.Instance(new WebAssembly.Module(bytes), imports));
    Module.init();
    const library = require(main) as Library; // its own types
    loaded = { library, internals: Module, context: Module._ZSTD_createCCtx() };
  }
  return loaded;
}

/** Only the instance's own memory is touched, so that nothing has to be collected afterwards. `use` is given the stream for as long as it runs. */
function compress<T>(data: Uint8Array, level: number, use: (stream: Uint8Array) => T): T {
  const { internals, context } = load();
  const bound = internals._ZSTD_compressBound(data.length);
  const source = internals._malloc(data.length + bound);
  const output = source + data.length;
  try {
    assert(source !== 0, "there is memory for a content");
    internals.HEAPU8.set(data, source);
    const size = internals._ZSTD_compress_usingDict(
      ...([context, output, bound, source, data.length, 0, 0, level] as const),
    );
    assert(internals._ZSTD_isError(size) === 0, "zstd compresses what has room");
    return use(internals.HEAPU8.subarray(output, output + size));
  } finally {
    internals._free(source);
  }
}

/** zstd of @bokuweb/zstd-wasm, for every machine that has Node. */
export async function openWasmZstd(): Promise<ZstdProvider> {
  return {
    name: "zstd-wasm",
    compress: (data, level, target) =>
      compress(data, level, (stream) => {
        if (target === undefined || target.length < stream.length) {
          return stream.slice();
        }
        target.set(stream);
        return target.subarray(0, stream.length);
      }),
    streamSize: (data, level) => compress(data, level, (stream) => stream.length),
    decompress(stream, maxSize) {
      const { contentSize, bound } = readZstdFrame(stream);
      if ((contentSize ?? 0) > maxSize) {
        throw tooLong("zstd", maxSize);
      }
      // The decoder fills one array: of the declared size, now known to be small enough, or of the one given here.
      const defaultHeapSize = Math.min(bound, maxSize);
      return runDecoder("zstd", maxSize, () =>
        load().library.decompress(stream, { defaultHeapSize }),
      );
    },
  };
}
