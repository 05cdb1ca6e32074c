import type { Splitter } from "./splitter.ts";

/** Bytes under the rolling hash of Kopia's DYNAMIC splitters (spec §5.4). */
export const HASH_WINDOW_BYTES: number = 64;

/**
 * The smallest `end` in `[first, last]` for which the rolling hash of `window[end - 64, end)` has no bit of `mask`
 * set, or -1. `first` is at least 64.
 */
export type FindCut = (window: Uint8Array, first: number, last: number, mask: number) => number;

/**
 * Kopia's DYNAMIC rule over any rolling hash (spec §5.4): chunks of half to twice `averageSize`, a power of two from
 * 128 KiB. The hash never reaches before the chunk, so nothing is hashed up to 64 bytes before the minimum.
 */
export function createDynamicSplitter(
  name: string,
  averageSize: number,
  findCut: FindCut,
): Splitter {
  const minSize = averageSize / 2;
  const maxSize = averageSize * 2;
  const mask = averageSize - 1;
  return {
    name,
    maxSize,
    cuts(window, atEnd) {
      const ends: number[] = [];
      let start = 0;
      while (window.length - start >= minSize) {
        const last = Math.min(start + maxSize, window.length);
        const hit = findCut(window, start + minSize, last, mask);
        if (hit < 0 && last - start < maxSize) {
          break;
        }
        start = hit < 0 ? last : hit;
        ends.push(start);
      }
      if (atEnd && start < window.length) {
        ends.push(window.length);
      }
      return Uint32Array.from(ends);
    },
  };
}
