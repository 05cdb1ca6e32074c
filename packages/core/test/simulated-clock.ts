import type { Environment } from "../src/base/environment.ts";

/** A clock that goes on to the first sleeper's end when everybody sleeps. */
export function simulatedClock(): { environment: Environment; nowMs: () => number } {
  let nowMs = 1_000_000;
  const sleepers: { atMs: number; wake: () => void }[] = [];
  const advance = (): void => {
    sleepers.sort((a, b) => a.atMs - b.atMs);
    const first = sleepers.shift();
    if (first !== undefined) {
      nowMs = Math.max(nowMs, first.atMs);
      first.wake();
    }
  };
  const environment: Environment = {
    nowMs: () => nowMs,
    sleep: (ms, { signal } = {}) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        sleepers.push({ atMs: nowMs + ms, wake: resolve });
        setImmediate(advance);
      }),
    randomBytes: (size) => new Uint8Array(size),
    log: () => {},
  };
  return { environment, nowMs: () => nowMs };
}
