import { performance } from "node:perf_hooks";
import { formatBytes, printJson, printTable } from "../output.ts";

/** How fast one thing is on this machine. */
export interface Measurement {
  readonly name: string;
  /** Which implementation was picked. */
  readonly provider: string;
  readonly bytesPerSecond: number;
  /** More columns. */
  readonly details?: Readonly<Record<string, string | number>>;
}

export interface RunLimits {
  /** Calls at most. */
  readonly repeat: number;
  /** No further call is made after this. */
  readonly budgetMs: number;
}

/** Bytes per second of `work`, which handles `bytes` each time; the first call is not counted, but for slow ones. */
export function throughput(bytes: number, limits: RunLimits, work: () => void): number {
  const warmUpMs = timed(work);
  if (warmUpMs > limits.budgetMs) {
    return perSecond(bytes, warmUpMs);
  }
  const started = performance.now();
  let calls = 0;
  let elapsedMs = 0;
  while (calls < limits.repeat && elapsedMs < limits.budgetMs) {
    work();
    calls++;
    elapsedMs = performance.now() - started;
  }
  return perSecond(bytes * calls, elapsedMs);
}

function timed(work: () => void): number {
  const started = performance.now();
  work();
  return performance.now() - started;
}

function perSecond(bytes: number, ms: number): number {
  return Math.round((bytes / Math.max(ms, 0.001)) * 1000);
}

/** Fastest first, with the flag that would choose it. */
export function printMeasurements(
  measurements: readonly Measurement[],
  options: { readonly benchmark: string; readonly json: boolean },
): void {
  const sorted = [...measurements].sort((a, b) => b.bytesPerSecond - a.bytesPerSecond);
  if (options.json) {
    printJson({
      benchmark: options.benchmark,
      results: sorted.map(({ details, ...measured }) => ({ ...measured, ...details })),
    });
    return;
  }
  const columns = Object.keys(sorted[0]?.details ?? {});
  printTable(
    ["Name", "Provider", ">Speed", ...columns.map((column) => `>${column}`)],
    sorted.map(({ name, provider, bytesPerSecond, details }) => [
      name,
      provider,
      `${formatBytes(bytesPerSecond)}/s`,
      ...columns.map((column) => String(details?.[column] ?? "")),
    ]),
  );
}

/** Bytes that do not compress, the same for the same seed (xorshift32). */
export function pseudoRandomBytes(size: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4));
  let state = seed | 1;
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return new Uint8Array(words.buffer, 0, size);
}

/** Text of made-up words, the same for the same seed: about what source code compresses to. */
export function pseudoRandomText(size: number, seed: number): Uint8Array {
  const random = pseudoRandomBytes(size, seed);
  const text = new Uint8Array(size);
  for (let index = 0; index < size; index++) {
    // each byte picks one of a few words, cubed so that some are much more frequent than others
    const pick = Math.floor(((random[index] ?? 0) / 256) ** 3 * WORDS.length);
    const word = WORDS[pick] ?? "";
    for (let at = 0; at < word.length && index < size; at++, index++) {
      text[index] = word.charCodeAt(at);
    }
    if (index < size) {
      text[index] = 0x20;
    }
  }
  return text;
}

const WORDS: readonly string[] = Array.from({ length: 200 }, (_, index) =>
  ((index * 7919 + 104_729) ** 2).toString(36).slice(0, 2 + (index % 9)),
);
