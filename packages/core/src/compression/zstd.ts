import { openNativeZstd } from "./native-zstd.ts";
import { openNodeZstd } from "./node-zstd.ts";
import { openWasmZstd } from "./node-wasm-zstd.ts";
import { VarveError } from "../base/errors.ts";

/** One implementation of zstd. Levels are those of the zstd library, 1 to 11. */
export interface ZstdProvider {
  /** For people. */
  readonly name: string;
  /** One frame with a window of at most 8 MiB, in `target` as a {@link Codec} does it. */
  readonly compress: (data: Uint8Array, level: number, target?: Uint8Array) => Uint8Array;
  /** As a {@link Codec} does it; left out where the stream has to be made for it. */
  readonly streamSize?: ((data: Uint8Array, level: number) => number) | undefined;
  /** Throws `corrupt` for a damaged stream and for output beyond `maxSize`, within the memory that `maxSize` allows. */
  readonly decompress: (stream: Uint8Array, maxSize: number) => Uint8Array;
}

/** `node`: node:zlib of Node 22.15 and later; `native`: @toondepauw/node-zstd, of short data; `wasm`: @bokuweb/zstd-wasm. */
export type ZstdChoice = "node" | "native" | "wasm";

const OPENERS: Readonly<Record<ZstdChoice, () => Promise<ZstdProvider | undefined>>> = {
  node: openNodeZstd,
  native: openNativeZstd,
  wasm: openWasmZstd,
};

/** The chosen implementation, or the fastest there is. Throws `unsupported` when the chosen one cannot run here. */
export async function openZstd(choice: ZstdChoice | undefined): Promise<ZstdProvider> {
  const order: readonly ZstdChoice[] = choice === undefined ? ["node", "native", "wasm"] : [choice];
  for (const name of order) {
    const provider = await OPENERS[name]();
    if (provider !== undefined) {
      return provider;
    }
  }
  throw new VarveError("unsupported", `zstd provider ${order.join(", ")} is not available`);
}
