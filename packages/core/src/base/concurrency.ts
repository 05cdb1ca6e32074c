import { onAbort } from "./abort.ts";
import type { CallOptions } from "./environment.ts";
import { assert } from "./errors.ts";

/**
 * Calls `work` for each item, at most `limit` at a time; items are pulled only when there is room.
 * Rejects with the first failure after the calls in flight have ended; then nothing more is started.
 */
export async function forEachLimit<T>(
  items: AsyncIterable<T> | Iterable<T>,
  options: { limit: number; signal?: AbortSignal | undefined },
  work: (item: T) => Promise<void>,
): Promise<void> {
  assert(options.limit >= 1, "forEachLimit needs a limit of at least 1");
  const inFlight = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  const start = (item: T): void => {
    const running: Promise<void> = work(item)
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => inFlight.delete(running));
    inFlight.add(running);
  };
  try {
    for await (const item of items) {
      options.signal?.throwIfAborted();
      start(item);
      if (inFlight.size >= options.limit) {
        await Promise.race(inFlight);
      }
      if (failure !== undefined) {
        break;
      }
    }
  } finally {
    await Promise.all(inFlight);
  }
  if (failure !== undefined) {
    throw failure.error;
  }
}

/** A counted resource (bytes, slots): `acquire` waits, first come first served, until the amount is free. */
export class Semaphore {
  readonly #capacity: () => number;
  #used = 0;
  readonly #waiting: { amount: number; resolve: () => void }[] = [];

  /** A capacity that changes is asked for anew whenever somebody comes or goes. */
  constructor(capacity: number | (() => number)) {
    this.#capacity = typeof capacity === "number" ? () => capacity : capacity;
  }

  get used(): number {
    return this.#used;
  }

  /** An amount above the capacity is let through alone, so that one oversized item cannot wait for ever. */
  async acquire(amount: number, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.#waiting.length === 0 && this.#fits(amount)) {
      this.#used += amount;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const forget = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#wake();
        reject(signal?.reason);
      });
      const waiter = {
        amount,
        resolve: () => {
          forget();
          resolve();
        },
      };
      this.#waiting.push(waiter);
    });
  }

  release(amount: number): void {
    this.#used -= amount;
    assert(this.#used >= 0, "released more than was acquired");
    this.#wake();
  }

  #fits(amount: number): boolean {
    return this.#used === 0 || this.#used + amount <= this.#capacity();
  }

  #wake(): void {
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || !this.#fits(next.amount)) {
        return;
      }
      this.#waiting.shift();
      this.#used += next.amount;
      next.resolve();
    }
  }
}
