import type { Environment } from "./environment.ts";

/** How long work that never has to wait may hold the event loop of the program it runs in. */
const HELD_MS = 10;

/**
 * Lets the event loop turn. Awaiting what is there already gives control to other promises, never to timers, sockets and
 * whatever else a program does: loops whose data mostly is in memory ask here once an item. One for all the loops of an operation.
 */
export class Turns {
  readonly #environment: Pick<Environment, "nowMs" | "sleep">;
  #turnedMs: number;
  #turn: Promise<void> | undefined;

  constructor(environment: Pick<Environment, "nowMs" | "sleep">) {
    this.#environment = environment;
    this.#turnedMs = environment.nowMs();
  }

  /** What to wait for before going on; nothing, as a rule. */
  due(): Promise<void> | undefined {
    if (this.#turn === undefined && this.#heldMs() >= HELD_MS) {
      this.#turn = this.#take();
    }
    return this.#turn;
  }

  async #take(): Promise<void> {
    await this.#environment.sleep(0);
    this.#turnedMs = this.#environment.nowMs();
    this.#turn = undefined;
  }

  /** A clock that was set back must not hold the loop until it has caught up. */
  #heldMs(): number {
    return Math.abs(this.#environment.nowMs() - this.#turnedMs);
  }
}
