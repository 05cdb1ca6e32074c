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

/** A round is no shorter, or a clock of milliseconds says nothing about it … */
const MIN_ROUND_MS = 20;
/** … and has this many calls, a multiple of the limit, since they end in waves: one that is late for a reason of its own matters little. */
const MIN_ROUND_CALLS = 16;
const MIN_ROUND_WAVES = 2;
/** Calls of up to so many bytes are alike, and so are those of up to twice as many, and so on. */
const SMALL_CALL_BYTES = 65_536;
/** How many of the last calls of a kind tell what one takes. */
const REMEMBERED_CALLS = 64;
/** While each step pays; then one more at a time. */
const FAST_GROWTH = 1.5;
/** A step pays when it gives this part of what it would if calls did not get in each other's way. */
const WORTHWHILE = 0.3;
/** A trial of fewer takes this part … */
const LESS = 0.75;
/** … and leaves this many: what makes answers slow may be elsewhere, and storage would idle between two calls. Only refusals leave fewer. */
const FEWEST_FOR_SPEED = 4;
/** Below this part of the rate that a limit once gave, calls wait for each other. */
const SLOWED = 0.7;
/** Rounds between two trials, of more and of fewer in turn. */
const ROUNDS_BETWEEN_TRIALS = 8;
/** The same at a limit that was refused, twice as many each time. */
const MAX_ROUNDS_AFTER_REFUSAL = 256;

/** Calls that ended one after another. */
interface Round {
  readonly limit: number;
  /** What they took together. */
  readonly tookMs: number;
  /** How many of each kind. */
  readonly kinds: ReadonlyMap<number, number>;
}

/**
 * How many calls may be under way at once, found by trying: more as long as more get done for it, fewer as long as no less
 * gets done, which is so where calls wait for each other, and half as many when storage refuses one with an error that may
 * pass. What is measured is a round of calls: how long they took beside what calls of their sizes take otherwise, so that small and
 * large ones may come in any mixture. A round in which nobody had to wait teaches nothing.
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
  #doneKinds = new Map<number, number>();
  #doneCalls = 0;
  #doneMs = 0;
  /** What a call takes, by kind: a mean. Rounds are compared by what is known when they are. */
  readonly #kinds = new Map<number, { readonly calls: number; readonly meanMs: number }>();
  #wasFull = false;
  /** Goes up with each change of the limit. */
  #era = 0;
  #fast = true;
  #restingRounds = 0;
  #trials = 0;
  /** A round at the limit before the step that is on trial. */
  #step: Round | undefined;
  /** The best one seen at this limit. */
  #best: Round | undefined;
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
    const startedMs = this.#environment.nowMs();
    try {
      const result = await work();
      this.#succeeded(era, startedMs, bytesOf(result));
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

  #succeeded(era: number, startedMs: number, bytes: number): void {
    const nowMs = this.#environment.nowMs();
    const kind = Math.max(0, Math.ceil(Math.log2(bytes / SMALL_CALL_BYTES)));
    const tookMs = Math.max(1, nowMs - startedMs);
    this.#learn(kind, tookMs);
    if (this.#startedMs === undefined) {
      if (era === this.#era) {
        this.#begin(nowMs);
      }
      return;
    }
    this.#doneCalls++;
    this.#doneMs += tookMs;
    this.#doneKinds.set(kind, (this.#doneKinds.get(kind) ?? 0) + 1);
    this.#wasFull ||= this.#waiting > 0;
    const elapsedMs = nowMs - this.#startedMs;
    const waves = Math.max(MIN_ROUND_WAVES, Math.ceil(MIN_ROUND_CALLS / this.#limit));
    if (this.#doneCalls < waves * this.#limit || elapsedMs < MIN_ROUND_MS) {
      return;
    }
    if (this.#wasFull) {
      const round = { limit: this.#limit, tookMs: this.#doneMs, kinds: this.#doneKinds };
      this.#judge(round, nowMs);
    } else {
      this.#begin(nowMs);
    }
  }

  #learn(kind: number, tookMs: number): void {
    const known = this.#kinds.get(kind) ?? { calls: 0, meanMs: 0 };
    const calls = Math.min(known.calls + 1, REMEMBERED_CALLS);
    const meanMs = known.meanMs + (tookMs - known.meanMs) / calls;
    this.#kinds.set(kind, { calls, meanMs });
  }

  /** How many calls at once would get as much done if none were in another's way. */
  #rate({ limit, tookMs, kinds }: Round): number {
    let usualMs = 0;
    for (const [kind, calls] of kinds) {
      usualMs += calls * (this.#kinds.get(kind)?.meanMs ?? 0);
    }
    return (limit * usualMs) / tookMs;
  }

  #judge(round: Round, nowMs: number): void {
    const step = this.#step;
    this.#step = undefined;
    const rate = this.#rate(round);
    const best = this.#best === undefined ? 0 : this.#rate(this.#best);
    if (step !== undefined) {
      const goesUp = this.#limit > step.limit;
      const before = this.#rate(step);
      const inProportion = (before * (this.#limit - step.limit)) / step.limit;
      const pays = rate - before >= WORTHWHILE * inProportion;
      if (pays) {
        this.#try(goesUp ? "up" : "down", round, nowMs);
      } else {
        this.#fast = false;
        this.#best = step;
        this.#change(step.limit, ROUNDS_BETWEEN_TRIALS);
      }
    } else if (rate < best * SLOWED) {
      this.#try("down", round, nowMs);
    } else if (this.#restingRounds > 0) {
      this.#restingRounds--;
      this.#best = rate > best ? round : this.#best;
      this.#begin(nowMs);
    } else {
      this.#trials++;
      const grows = this.#fast || this.#refusedAt < Number.POSITIVE_INFINITY;
      this.#try(grows || this.#trials % 2 === 0 ? "up" : "down", round, nowMs);
    }
  }

  #try(direction: "up" | "down", round: Round, nowMs: number): void {
    const limit = this.#limit;
    this.#best = round;
    const wanted =
      direction === "down"
        ? Math.max(Math.min(limit, FEWEST_FOR_SPEED), Math.min(limit - 1, limit * LESS))
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
      this.#step = round;
    }
  }

  #refused(): void {
    this.#fast = false;
    this.#step = undefined;
    this.#best = undefined;
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
    this.#doneMs = 0;
    this.#doneKinds = new Map();
    this.#wasFull = this.#waiting > 0;
  }
}
