import { BUZHASH_TABLE } from "./buzhash-table.ts";
import { HASH_WINDOW_BYTES } from "./dynamic.ts";

/** {@link FindCut} with Kopia's 32-bit BUZHASH (spec §5.4). */
export function findBuzhashCut(
  window: Uint8Array,
  first: number,
  last: number,
  mask: number,
): number {
  const table = BUZHASH_TABLE; // a local: module runners turn an import into a property, ten times slower
  let hash = buzhash(window, first);
  // Hot loop: one rotation, two table reads a byte. Leaving byte: rotating by 64 is rotating by 0.
  for (let end = first; ; end++) {
    if ((hash & mask) === 0) {
      return end;
    }
    if (end >= last) {
      return -1;
    }
    hash =
      ((hash << 1) | (hash >>> 31)) ^
      (table[window[end - 64] as number] as number) ^ // 0 <= end - 64, end < last <= length
      (table[window[end] as number] as number); // a byte is below 256
  }
}

/** BUZHASH of the 64 bytes before `end`, as a signed 32-bit number. */
export function buzhash(window: Uint8Array, end: number): number {
  let hash = 0;
  for (let index = end - HASH_WINDOW_BYTES; index < end; index++) {
    hash = ((hash << 1) | (hash >>> 31)) ^ (BUZHASH_TABLE[window[index] as number] as number); // as above
  }
  return hash;
}
