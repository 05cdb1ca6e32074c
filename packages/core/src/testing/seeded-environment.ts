import type { Environment, LogEvent } from "../base/environment.ts";

/** An {@link Environment} that repeats itself: nothing in it comes from the machine. */
export interface SeededEnvironment extends Environment {
  /** Moves the clock. */
  advance(ms: number): void;
  /** What was logged, oldest first. */
  readonly events: readonly LogEvent[];
}

/** Clock by hand, starting at `startMs` (2030-01-01 by default); `sleep` moves it on and does not wait; bytes follow from `seed`. */
export function seededEnvironment(options: {
  readonly seed: number;
  readonly startMs?: number;
}): SeededEnvironment {
  let nowMs = options.startMs ?? Date.UTC(2030, 0, 1);
  const events: LogEvent[] = [];
  const next = mulberry32(options.seed);
  return {
    events,
    nowMs: () => nowMs,
    advance: (ms) => {
      nowMs += ms;
    },
    sleep: async (ms, { signal } = {}) => {
      signal?.throwIfAborted();
      nowMs += ms;
    },
    randomBytes: (size) => {
      const bytes = new Uint8Array(size);
      for (let index = 0; index < size; index++) {
        bytes[index] = next() >>> 24;
      }
      return bytes;
    },
    log: (event) => {
      events.push(event);
    },
  };
}

/** A small generator of 32-bit numbers; good enough to make test data look random. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}
