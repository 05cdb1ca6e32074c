import { createDynamicSplitter, type FindCut } from "./dynamic.ts";
import { GEAR_TABLE } from "./gear-table.ts";
import type { GearKernel } from "./gear-kernel.ts";
import type { Splitter } from "./splitter.ts";

/**
 * FastCDC, with the cuts of fastcdc 1.0.5 for chunks of half to twice `averageSize`: those sizes leave nothing of its
 * normalisation, so it is the DYNAMIC rule over a gear hash that starts anew after the smallest size. Not one of
 * Kopia's splitters: a policy may name it, the format blob must not.
 */
export function createFastCdcSplitter(
  name: string,
  averageSize: number,
  kernel: GearKernel | undefined,
): Splitter {
  return createDynamicSplitter(name, averageSize, (window, first, last, mask) =>
    findGearCut(kernel, window, first, last, mask >>> 1),
  );
}

/** {@link FindCut} whose hash begins at `first`, so that the first end it can give is `first + 1`. */
function findGearCut(
  kernel: GearKernel | undefined,
  ...[window, first, last, mask]: Parameters<FindCut>
): number {
  let hash = 0;
  let end = first;
  if (kernel !== undefined) {
    // The kernel takes whole steps; a block stays in the processor's cache between its copy and its scan.
    for (let left = last - end; left >= kernel.step; left = last - end) {
      const size = Math.min(kernel.block.length, left - (left % kernel.step));
      kernel.block.set(window.subarray(end, end + size));
      const hit = kernel.scan(size, mask, hash);
      if (hit > 0) {
        return end + hit;
      }
      hash = kernel.hash();
      end += size;
    }
  }
  const table = GEAR_TABLE; // a local: module runners turn an import into a property, ten times slower
  while (end < last) {
    hash = (hash >>> 1) + (table[window[end] as number] as number); // end < length, a byte is below 256
    end++;
    if ((hash & mask) === 0) {
      return end;
    }
  }
  return -1;
}
