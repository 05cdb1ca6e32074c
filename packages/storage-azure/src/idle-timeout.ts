import { type Environment, VarveError } from "@varve/core/blob";

/** What a request that is watched gets: what ends it, and whom to tell that bytes moved. */
export interface Watch {
  readonly abortSignal: AbortSignal;
  moved(): void;
}

export interface IdleTimeoutOptions {
  readonly idleTimeoutMs: number;
  readonly environment: Environment;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs `work` and aborts it when `signal` is, or when nothing has moved for the idle time (for up to twice as long:
 * what moves is looked at once in that time). Rejects with the signal's reason, `storage-failed` (retryable) or what
 * `work` threw.
 */
export async function withIdleTimeout<T>(
  { idleTimeoutMs, environment, signal }: IdleTimeoutOptions,
  work: (watch: Watch) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const request = new AbortController();
  const over = new AbortController();
  const abort = (): void => request.abort();
  signal?.addEventListener("abort", abort, { once: true });
  let hasMoved = false;
  let isIdle = false;
  const watchIt = async (): Promise<void> => {
    while (!isIdle) {
      hasMoved = false;
      await environment.sleep(idleTimeoutMs, { signal: over.signal });
      isIdle = !hasMoved;
    }
    request.abort();
  };
  const watching = watchIt().catch(() => {}); // ends by `over`
  try {
    return await work({
      abortSignal: request.signal,
      moved: () => {
        hasMoved = true;
      },
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (isIdle) {
      const message = `no byte moved for ${idleTimeoutMs} ms`;
      throw new VarveError("storage-failed", message, { retryable: true });
    }
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
    over.abort();
    await watching;
  }
}
