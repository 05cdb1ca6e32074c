import { Semaphore } from "../base/concurrency.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";

export interface AdaptiveLimitOptions {
  readonly environment: Environment;
  /** Calls at once to begin with. */
  readonly start: number;
  /** Never fewer, default 1. */
  readonly min?: number;
  /** Never more: connections and memory bound it. */
  readonly max: number;
}

/** What a call costs storage beside its bytes, in bytes: it makes rounds of small and of large calls comparable. */
const CALL_COST_BYTES = 65_536;
/** A round is no shorter, or a clock of milliseconds says nothing about it. */
const MIN_ROUND_MS = 20;
/** While each step pays; then one more at a time. */
const FAST_GROWTH = 1.5;
/** A step pays when it gives this part of what it would if calls did not get in each other's way. */
const WORTHWHILE = 0.3;
/** A trial of fewer takes this part. */
const LESS = 0.75;
/** Below this part of the rate that a limit once gave, calls wait for each other. */
const SLOWED = 0.7;
/** Rounds between two trials, of more and of fewer in turn. */
const ROUNDS_BETWEEN_TRIALS = 8;
/** The same at a limit that was refused, twice as many each time. */
const MAX_ROUNDS_AFTER_REFUSAL = 256;

/**
 * How many calls may be under way at once, found by trying: more as long as more get done for it, fewer as long as no less
 * gets done, which is so where calls wait for each other, and half as many when storage refuses one with an error that may
 * pass. What is measured is a round, as many calls as the limit; one in which nobody had to wait teaches nothing.
 */
export class AdaptiveLimit {
  readonly #environment: Environment;
  readonly #min: number;
  readonly #max: number;
  readonly #slots: Semaphore;
  #limit: number;
  #waiting = 0;
  /** A round starts with the end of a call that began under the limit of now, which is not counted itself. */
  #startedMs: number | undefined;
  #doneCalls = 0;
  #doneBytes = 0;
  #wasFull = false;
  /** Goes up with each change of the limit. */
  #era = 0;
  #fast = true;
  #restingRounds = 0;
  #trials = 0;
  /** The limit and rate before the step that is on trial. */
  #step: { readonly limit: number; readonly rate: number } | undefined;
  /** The best rate seen at this limit, in bytes a millisecond. */
  #best = 0;
  /** The limit at which storage refused a call, until it may be tried again. */
  #refusedAt = Number.POSITIVE_INFINITY;
  #roundsAfterRefusal = ROUNDS_BETWEEN_TRIALS;

  constructor({ environment, start, min = 1, max }: AdaptiveLimitOptions) {
    this.#environment = environment;
    this.#min = min;
    this.#max = max;
    this.#limit = Math.min(start, max);
    this.#slots = new Semaphore(() => this.#limit);
  }

  get limit(): number {
    return this.#limit;
  }

  /** Calls `work` when there is room. `bytesOf` says how much a call that succeeded has moved. */
  async run<T>(
    work: () => Promise<T>,
    { bytesOf, signal }: CallOptions & { readonly bytesOf: (result: T) => number },
  ): Promise<T> {
    this.#waiting++;
    try {
      await this.#slots.acquire(1, { signal });
    } finally {
      this.#waiting--;
    }
    const era = this.#era;
    try {
      const result = await work();
      this.#succeeded(era, bytesOf(result));
      return result;
    } catch (error) {
      if (era === this.#era && isVarveError(error) && error.retryable) {
        this.#refused();
      }
      throw error;
    } finally {
      this.#slots.release(1);
    }
  }

  #succeeded(era: number, bytes: number): void {
    const nowMs = this.#environment.nowMs();
    if (this.#startedMs === undefined) {
      if (era === this.#era) {
        this.#begin(nowMs);
      }
      return;
    }
    this.#doneCalls++;
    this.#doneBytes += bytes + CALL_COST_BYTES;
    this.#wasFull ||= this.#waiting > 0;
    const elapsedMs = nowMs - this.#startedMs;
    if (this.#doneCalls < this.#limit || elapsedMs < MIN_ROUND_MS) {
      return;
    }
    if (this.#wasFull) {
      this.#judge(this.#doneBytes / elapsedMs, nowMs);
    } else {
      this.#begin(nowMs);
    }
  }

  #judge(rate: number, nowMs: number): void {
    const step = this.#step;
    this.#step = undefined;
    if (step !== undefined) {
      const goesUp = this.#limit > step.limit;
      const inProportion = (step.rate * (this.#limit - step.limit)) / step.limit;
      const pays = rate - step.rate >= WORTHWHILE * inProportion;
      if (pays) {
        this.#try(goesUp ? "up" : "down", rate, nowMs);
      } else {
        this.#fast = false;
        this.#best = step.rate;
        this.#change(step.limit, ROUNDS_BETWEEN_TRIALS);
      }
    } else if (rate < this.#best * SLOWED) {
      this.#try("down", rate, nowMs);
    } else if (this.#restingRounds > 0) {
      this.#restingRounds--;
      this.#best = Math.max(rate, this.#best);
      this.#begin(nowMs);
    } else {
      this.#trials++;
      const grows = this.#fast || this.#refusedAt < Number.POSITIVE_INFINITY;
      this.#try(grows || this.#trials % 2 === 0 ? "up" : "down", rate, nowMs);
    }
  }

  #try(direction: "up" | "down", rate: number, nowMs: number): void {
    const limit = this.#limit;
    this.#best = rate;
    const wanted =
      direction === "down"
        ? Math.min(limit - 1, limit * LESS)
        : this.#fast
          ? limit * FAST_GROWTH
          : limit + 1;
    const next = Math.max(this.#min, Math.min(this.#max, Math.floor(wanted)));
    if (next > this.#refusedAt - 1) {
      // As many as storage has refused: not again so soon.
      this.#refusedAt = Number.POSITIVE_INFINITY;
      this.#restingRounds = this.#roundsAfterRefusal;
      this.#begin(nowMs);
    } else if (next === limit) {
      this.#fast = false;
      this.#restingRounds = ROUNDS_BETWEEN_TRIALS;
      this.#begin(nowMs);
    } else {
      this.#change(next, 0);
      this.#step = { limit, rate };
    }
  }

  #refused(): void {
    this.#fast = false;
    this.#step = undefined;
    this.#best = 0;
    this.#roundsAfterRefusal = Math.min(2 * this.#roundsAfterRefusal, MAX_ROUNDS_AFTER_REFUSAL);
    this.#refusedAt = this.#limit;
    this.#change(this.#limit / 2, 0);
  }

  #change(limit: number, restingRounds: number): void {
    this.#limit = Math.max(this.#min, Math.min(this.#max, Math.round(limit)));
    this.#restingRounds = restingRounds;
    this.#era++;
    this.#begin(undefined);
  }

  #begin(startedMs: number | undefined): void {
    this.#startedMs = startedMs;
    this.#doneCalls = 0;
    this.#doneBytes = 0;
    this.#wasFull = this.#waiting > 0;
  }
}
