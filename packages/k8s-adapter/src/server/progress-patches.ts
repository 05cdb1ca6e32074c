import type { Environment } from "@varve/core";

/** Progress into the status of a resource: one patch at a time, and none sooner than the interval after the last. */
export class ProgressPatches {
  readonly #environment: Environment;
  readonly #intervalMs: number;
  readonly #patch: (status: { readonly progress: object }) => Promise<unknown>;
  #nextMs = Number.NEGATIVE_INFINITY;
  #running: Promise<unknown> | undefined;

  constructor(
    environment: Environment,
    intervalMs: number,
    patch: (status: { readonly progress: object }) => Promise<unknown>,
  ) {
    this.#environment = environment;
    this.#intervalMs = intervalMs;
    this.#patch = patch;
  }

  report(progress: object): void {
    const nowMs = this.#environment.nowMs();
    if (this.#running === undefined && nowMs >= this.#nextMs) {
      this.#nextMs = nowMs + this.#intervalMs;
      this.#running = this.#patch({ progress })
        .catch(() => {}) // the next one says more
        .finally(() => {
          this.#running = undefined;
        });
    }
  }

  /** No more of them; resolves when the last is written. */
  async end(): Promise<void> {
    this.#nextMs = Number.POSITIVE_INFINITY;
    await this.#running;
  }
}
