import { onAbort } from "../base/abort.ts";
import { assert } from "../base/errors.ts";
import type { CallOptions } from "../base/environment.ts";
import type { ContentId } from "../index/content-id.ts";

interface Claim {
  readonly order: number;
  /** Somebody was told that this content is on its way, and counts on it. */
  shared: boolean;
}

interface Waiter {
  /** Every claim up to this order must be settled. */
  readonly order: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Contents between `claim` and `append`: each owned by exactly one caller. */
export class Claims {
  readonly #open = new Map<ContentId, Claim>();
  #lastOrder = 0;
  #waiters: Waiter[] = [];

  /** True when `id` was free and is the caller's now; else its owner must not give it up unnoticed. */
  take(id: ContentId): boolean {
    const claim = this.#open.get(id);
    if (claim !== undefined) {
      claim.shared = true;
      return false;
    }
    this.#lastOrder++;
    this.#open.set(id, { order: this.#lastOrder, shared: false });
    return true;
  }

  /** The content is in a pack. */
  settle(id: ContentId): void {
    assert(this.#open.delete(id), `content ${id} was not claimed before it was appended`);
    this.#wake();
  }

  /** The content will not come. True when nobody else counts on it. */
  abandon(id: ContentId): boolean {
    const claim = this.#open.get(id);
    this.#open.delete(id);
    this.#wake();
    return claim?.shared !== true;
  }

  /** The number of the last claim. */
  get last(): number {
    return this.#lastOrder;
  }

  /** Resolves when no claim up to number `order` is open any longer. */
  async settled(order: number, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.#oldest() > order) {
      return;
    }
    let own: Waiter | undefined;
    const forget = onAbort(signal, () => {
      this.#reject((waiter) => waiter === own, signal?.reason);
    });
    try {
      await new Promise<void>((resolve, reject) => {
        own = { order, resolve, reject };
        this.#waiters.push(own);
      });
    } finally {
      forget();
    }
  }

  /** Nobody waits any longer: the session is lost. */
  fail(error: unknown): void {
    this.#reject(() => true, error);
  }

  #oldest(): number {
    for (const claim of this.#open.values()) {
      return claim.order; // a Map iterates in the order of insertion
    }
    return Number.POSITIVE_INFINITY;
  }

  #wake(): void {
    if (this.#waiters.length === 0) {
      return;
    }
    const oldest = this.#oldest();
    const done = this.#waiters.filter((waiter) => waiter.order < oldest);
    this.#waiters = this.#waiters.filter((waiter) => waiter.order >= oldest);
    for (const waiter of done) {
      waiter.resolve();
    }
  }

  #reject(which: (waiter: Waiter) => boolean, error: unknown): void {
    const rejected = this.#waiters.filter(which);
    this.#waiters = this.#waiters.filter((waiter) => !which(waiter));
    for (const waiter of rejected) {
      waiter.reject(error);
    }
  }
}
