import { mulberry32 } from "../../src/testing/seeded-environment.ts";

/**
 * A world with one clock, in which nothing happens by itself: every call to storage and every sleep is an event, and a seed
 * decides when each comes. What runs between two events is ordinary code, unchanged, on the one thread there is; so the same
 * seed is the same history.
 */
export class World {
  readonly #chance: Chance;
  readonly #events: Event[] = [];
  #nowMs: number;
  #nextNumber = 0;
  #trace = 0;

  constructor(seed: number, startMs: number) {
    this.#chance = new Chance(seed);
    this.#nowMs = startMs;
  }

  /** Milliseconds since the Unix epoch: storage's clock, and that of clients without skew. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get chance(): Chance {
    return this.#chance;
  }

  /** Sums up everything that has happened: equal for equal histories. */
  get trace(): number {
    return this.#trace;
  }

  /** Resolves when the clock has moved on by `ms`. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const number = this.#nextNumber++;
      this.#events.push({ atMs: this.#nowMs + Math.max(0, ms), number, resolve });
    });
  }

  note(what: string): void {
    for (let index = 0; index < what.length; index++) {
      this.#trace = (Math.imul(this.#trace, 31) + what.charCodeAt(index)) | 0;
    }
  }

  /** Lets events happen until `until` resolves; throws when nothing is left that could make it. */
  async run<T>(until: Promise<T>): Promise<T> {
    let settled = false;
    const watched = until.finally(() => {
      settled = true;
    });
    watched.catch(() => {}); // handed on below
    for (let idle = 0; ; ) {
      await macrotask();
      if (settled) {
        return await watched;
      }
      const event = this.#next();
      if (event === undefined) {
        idle += 1;
        if (idle > MAX_IDLE_TURNS) {
          throw new Error("nothing can happen any more, and something is still waited for");
        }
        continue;
      }
      idle = 0;
      this.#nowMs = Math.max(this.#nowMs, event.atMs);
      event.resolve();
    }
  }

  #next(): Event | undefined {
    let first = 0;
    for (const [index, event] of this.#events.entries()) {
      const best = this.#events[first];
      if (best === undefined || isBefore(event, best)) {
        first = index;
      }
    }
    return this.#events.splice(first, 1)[0];
  }
}

interface Event {
  readonly atMs: number;
  readonly number: number;
  readonly resolve: () => void;
}

// The first use of a module is loaded by the runtime, outside of this world's time.
const MAX_IDLE_TURNS = 10_000;

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number);
}

/** Everything that follows from what has happened so far has happened by then. */
function macrotask(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Seeded draws. */
export class Chance {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = mulberry32(seed ^ 0x5bd1e995); // not the draws that clients make of the same seed
  }

  /** 0 to 1, 1 excluded. */
  fraction(): number {
    return this.#next() / 2 ** 32;
  }

  /** 0 to `below`, excluded. */
  integer(below: number): number {
    return Math.floor(this.fraction() * below);
  }

  between(low: number, high: number): number {
    return low + this.fraction() * (high - low);
  }

  happens(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(items.length)];
    if (item === undefined) {
      throw new Error("nothing to pick from");
    }
    return item;
  }
}
