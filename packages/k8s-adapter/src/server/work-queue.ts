import type { CallOptions, Environment } from "@varve/core";

/**
 * Keys that wait for work: each at most once, never two calls for one key at the same time, failed ones again after
 * waits that grow. Ends when the signal aborts and running calls have ended.
 */
export class WorkQueue {
  readonly #environment: Environment;
  readonly #work: (key: string) => Promise<{ readonly againMs: number } | void>;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  /** Came while it ran. */
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  /** What ends the wait for the next call that was asked for; an earlier wish gives way to a later one. */
  readonly #later = new Map<string, AbortController>();
  #wake: () => void = () => {};

  constructor(
    environment: Environment,
    work: (key: string) => Promise<{ readonly againMs: number } | void>,
  ) {
    this.#environment = environment;
    this.#work = work;
  }

  add(key: string): void {
    if (this.#running.has(key)) {
      this.#again.add(key);
    } else {
      this.#waiting.add(key);
      this.#wake();
    }
  }

  forget(key: string): void {
    this.#failures.delete(key);
    this.#later.get(key)?.abort();
    this.#later.delete(key);
  }

  /** Works with so many calls at a time; resolves when the signal has aborted and nothing runs. */
  async run({ workers, signal }: { workers: number; signal: AbortSignal }): Promise<void> {
    const running = new Set<Promise<void>>();
    signal.addEventListener("abort", () => this.#wake(), { once: true });
    while (!signal.aborted) {
      const key = running.size < workers ? this.#next() : undefined;
      if (key === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const call = this.#one(key, signal).finally(() => {
        running.delete(call);
        this.#wake();
      });
      running.add(call);
    }
    await Promise.all(running);
  }

  #next(): string | undefined {
    for (const key of this.#waiting) {
      this.#waiting.delete(key);
      return key;
    }
    return undefined;
  }

  async #one(key: string, signal: AbortSignal): Promise<void> {
    this.#running.add(key);
    try {
      const result = await this.#work(key);
      this.#failures.delete(key);
      if (result !== undefined) {
        this.#callLater(key, result.againMs, { signal });
      }
    } catch (error) {
      if (!signal.aborted) {
        const failures = (this.#failures.get(key) ?? 0) + 1;
        this.#failures.set(key, failures);
        const message = error instanceof Error ? error.message : String(error);
        this.#environment.log({ level: "error", message, fields: { key, failures } });
        this.#callLater(key, backoffMs(failures), { signal });
      }
    } finally {
      this.#running.delete(key);
      if (this.#again.delete(key)) {
        this.add(key);
      }
    }
  }

  #callLater(key: string, ms: number, { signal }: CallOptions): void {
    this.#later.get(key)?.abort();
    const wait = new AbortController();
    this.#later.set(key, wait);
    const stop = (): void => wait.abort();
    signal?.addEventListener("abort", stop, { once: true });
    const sleeping = this.#environment.sleep(ms, { signal: wait.signal }).then(
      () => this.add(key),
      () => {}, // stopped, or another wish has come
    );
    void sleeping.finally(() => signal?.removeEventListener("abort", stop));
  }
}

const FIRST_MS = 500;
const MAX_MS = 300_000;

function backoffMs(failures: number): number {
  return Math.min(MAX_MS, FIRST_MS * 2 ** (failures - 1));
}
