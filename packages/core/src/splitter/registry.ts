/**
 * The splitters by name: those of Kopia's format (spec §5.3) and FastCDC, which only a policy may name. Cut points are
 * part of what a repository deduplicates by, so no change here may ever move one.
 */
import { BUZHASH, createBuzhashSplitter } from "./buzhash.ts";
import { createDynamicSplitter } from "./dynamic.ts";
import { createFastCdcSplitter, GEAR } from "./fastcdc.ts";
import { createFixedSplitter } from "./fixed.ts";
import { findRabinKarpCut } from "./rabin-karp.ts";
import { openScanKernel } from "./scan-kernel.ts";
import type { Splitter } from "./splitter.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

const SIZES: ReadonlyMap<string, number> = new Map([
  ["128K", 128 * KIB],
  ["256K", 256 * KIB],
  ["512K", 512 * KIB],
  ["1M", MIB],
  ["2M", 2 * MIB],
  ["4M", 4 * MIB],
  ["8M", 8 * MIB],
]);

const LEGACY_NAMES: ReadonlyMap<string, string> = new Map([
  ["FIXED", "FIXED-4M"],
  ["DYNAMIC", "DYNAMIC-4M-BUZHASH"],
]);

/** What Kopia cuts with unless told otherwise. */
export const DEFAULT_KOPIA_SPLITTER: string = "DYNAMIC-4M-BUZHASH";

/** Every name that stock Kopia accepts in a format blob, the two legacy ones included. */
export const KOPIA_SPLITTER_NAMES: readonly string[] = [
  ...namesOf((size) => `FIXED-${size}`),
  ...namesOf((size) => `DYNAMIC-${size}-BUZHASH`),
  ...namesOf((size) => `DYNAMIC-${size}-RABINKARP`),
  ...LEGACY_NAMES.keys(),
];

/** Every name {@link createSplitter} knows. */
export const SPLITTER_NAMES: readonly string[] = [
  ...KOPIA_SPLITTER_NAMES,
  ...namesOf((size) => `FASTCDC-${size}`),
];

/** True for a name that stock Kopia accepts in a format blob. */
export function isKopiaSplitter(name: string): boolean {
  return KOPIA_SPLITTER_NAMES.includes(name);
}

/** The splitter of a name, `undefined` for an unknown one. It may be used for any number of streams, one thread at a time. */
export function createSplitter(name: string): Splitter | undefined {
  const match = /^(FIXED|DYNAMIC|FASTCDC)-([0-9]+[KM])(|-BUZHASH|-RABINKARP)$/.exec(
    LEGACY_NAMES.get(name) ?? name,
  );
  const size = SIZES.get(match?.[2] ?? "");
  if (match === null || size === undefined) {
    return undefined;
  }
  switch (`${match[1]}${match[3]}`) {
    case "FIXED":
      return createFixedSplitter(name, size);
    case "DYNAMIC-BUZHASH":
      return createBuzhashSplitter(name, size, openScanKernel(BUZHASH));
    case "DYNAMIC-RABINKARP":
      return createDynamicSplitter(name, size, findRabinKarpCut);
    case "FASTCDC":
      return createFastCdcSplitter(name, size, openScanKernel(GEAR));
    default:
      return undefined;
  }
}

function namesOf(name: (size: string) => string): string[] {
  return [...SIZES.keys()].map(name);
}
