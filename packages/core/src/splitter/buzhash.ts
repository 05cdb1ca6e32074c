import { BUZHASH_TABLE } from "./buzhash-table.ts";
import { createDynamicSplitter, HASH_WINDOW_BYTES } from "./dynamic.ts";
import { buzhashRound } from "./scan-assembly.ts";
import type { RollingHash, ScanKernel } from "./scan-kernel.ts";
import type { Splitter } from "./splitter.ts";

/** What the kernel of BUZHASH rolls. */
export const BUZHASH: RollingHash = {
  table: BUZHASH_TABLE,
  round: buzhashRound,
  lookBehind: HASH_WINDOW_BYTES,
};

/** Kopia's DYNAMIC rule with its 32-bit BUZHASH (spec §5.4). */
export function createBuzhashSplitter(
  name: string,
  averageSize: number,
  kernel: ScanKernel | undefined,
): Splitter {
  const scan = kernel ?? scanBuzhash;
  return createDynamicSplitter(name, averageSize, (window, first, last, mask) => {
    const hash = buzhash(window, first);
    return (hash & mask) === 0 ? first : scan(window, first, last, mask, hash);
  });
}

/** {@link ScanKernel} where WebAssembly is forbidden. */
function scanBuzhash(...[window, first, last, mask, start]: Parameters<ScanKernel>): number {
  const table = BUZHASH_TABLE; // a local: module runners turn an import into a property, ten times slower
  let hash = start;
  // Hot loop: one rotation, two table reads a byte. Leaving byte: rotating by 64 is rotating by 0.
  for (let end = first; end < last; ) {
    hash =
      ((hash << 1) | (hash >>> 31)) ^
      (table[window[end - 64] as number] as number) ^ // 0 <= end - 64, end < last <= length
      (table[window[end] as number] as number); // a byte is below 256
    end++;
    if ((hash & mask) === 0) {
      return end;
    }
  }
  return -1;
}

/** BUZHASH of the 64 bytes before `end`, as a signed 32-bit number. */
export function buzhash(window: Uint8Array, end: number): number {
  let hash = 0;
  for (let index = end - HASH_WINDOW_BYTES; index < end; index++) {
    hash = ((hash << 1) | (hash >>> 31)) ^ (BUZHASH_TABLE[window[index] as number] as number); // as above
  }
  return hash;
}
