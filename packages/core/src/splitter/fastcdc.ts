import { createDynamicSplitter } from "./dynamic.ts";
import { GEAR_TABLE } from "./gear-table.ts";
import { gearRound } from "./scan-assembly.ts";
import type { RollingHash, ScanKernel } from "./scan-kernel.ts";
import type { Splitter } from "./splitter.ts";

/** What the kernel of FastCDC rolls. */
export const GEAR: RollingHash = { table: GEAR_TABLE, round: gearRound, lookBehind: 0 };

/**
 * FastCDC, with the cuts of fastcdc 1.0.5 for chunks of half to twice `averageSize`: those sizes leave nothing of its
 * normalisation, so it is the DYNAMIC rule over a gear hash that starts anew after the smallest size. Not one of
 * Kopia's splitters: a policy may name it, the format blob must not.
 */
export function createFastCdcSplitter(
  name: string,
  averageSize: number,
  kernel: ScanKernel | undefined,
): Splitter {
  const scan = kernel ?? scanGear;
  return createDynamicSplitter(name, averageSize, (window, first, last, mask) =>
    scan(window, first, last, mask >>> 1, 0),
  );
}

/** {@link ScanKernel} where WebAssembly is forbidden. */
function scanGear(...[window, first, last, mask, start]: Parameters<ScanKernel>): number {
  const table = GEAR_TABLE; // a local: module runners turn an import into a property, ten times slower
  let hash = start;
  for (let end = first; end < last; ) {
    hash = (hash >>> 1) + (table[window[end] as number] as number); // end < length, a byte is below 256
    end++;
    if ((hash & mask) === 0) {
      return end;
    }
  }
  return -1;
}
