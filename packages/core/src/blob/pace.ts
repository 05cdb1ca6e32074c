import { Semaphore } from "../base/concurrency.ts";
import type { CallOptions, Environment } from "../base/environment.ts";

// How soon a changed rate is felt by who is waiting already.
const LONGEST_SLEEP_MS = 100;
// A sleep that took too long by no more than this is made up for; so rates far above one a millisecond hold.
const LATENESS_MS = 20;

/**
 * An even flow: who takes an amount waits for as long as that amount lasts, one after the other. Time without takers is
 * not saved up, so that no burst follows a pause.
 */
export class Pace {
  readonly #environment: Environment;
  readonly #turn: Semaphore = new Semaphore(1);
  #perSecond: number | undefined;
  #paidUntilMs = Number.NEGATIVE_INFINITY;

  constructor(environment: Environment, perSecond: number | undefined) {
    this.#environment = environment;
    this.#perSecond = perSecond;
  }

  get isUnlimited(): boolean {
    return this.#perSecond === undefined;
  }

  /** `undefined` for no limit; those who wait already wait on at the new rate. */
  setRate(perSecond: number | undefined): void {
    this.#perSecond = perSecond;
  }

  /** First come, first served. Rejects with the signal's reason. */
  async take(amount: number, { signal }: CallOptions = {}): Promise<void> {
    if (this.#perSecond === undefined || amount <= 0) {
      return;
    }
    await this.#turn.acquire(1, { signal });
    try {
      await this.#pay(amount, { signal });
    } finally {
      this.#turn.release(1);
    }
  }

  async #pay(amount: number, { signal }: CallOptions): Promise<void> {
    let owed = amount;
    let fromMs = Math.max(this.#paidUntilMs, this.#environment.nowMs() - LATENESS_MS);
    for (;;) {
      const perMs = (this.#perSecond ?? Number.POSITIVE_INFINITY) / 1000;
      const untilMs = fromMs + owed / perMs;
      const waitMs = untilMs - this.#environment.nowMs();
      if (waitMs <= 0) {
        this.#paidUntilMs = untilMs;
        return;
      }
      await this.#environment.sleep(Math.min(waitMs, LONGEST_SLEEP_MS), { signal });
      const nowMs = Math.min(this.#environment.nowMs(), untilMs);
      if (nowMs > fromMs) {
        owed -= (nowMs - fromMs) * perMs;
        fromMs = nowMs;
        this.#paidUntilMs = nowMs;
      }
    }
  }
}
