import { type Environment, onAbort, VarveError } from "@varve/core/blob";

/** What a request that is watched gets: what ends it, and whom to tell that bytes moved. */
export interface Watch {
  readonly abortSignal: AbortSignal;
  readonly moved: (bytes: number) => void;
}

/** A connection that is slower is as good as none. */
const MIN_BYTES_PER_SECOND = 4096;

export interface IdleTimeoutOptions {
  readonly idleTimeoutMs: number;
  readonly environment: Environment;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs `work` and aborts it when `signal` is, or when less than 4 KiB a second have moved over one idle time; they are
 * counted from the start, one idle time after the other. Rejects with the signal's reason, `storage-failed`
 * (retryable) or what `work` threw.
 */
export async function withIdleTimeout<T>(
  { idleTimeoutMs, environment, signal }: IdleTimeoutOptions,
  work: (watch: Watch) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const request = new AbortController();
  const over = new AbortController();
  const forget = onAbort(signal, () => request.abort());
  const enough = (MIN_BYTES_PER_SECOND * idleTimeoutMs) / 1000;
  let movedBytes = 0;
  let isIdle = false;
  const watchIt = async (): Promise<void> => {
    while (!isIdle) {
      movedBytes = 0;
      await environment.sleep(idleTimeoutMs, { signal: over.signal });
      isIdle = movedBytes < enough;
    }
    request.abort();
  };
  const watching = watchIt().catch(() => {}); // ends by `over`
  try {
    return await work({
      abortSignal: request.signal,
      moved: (bytes) => {
        movedBytes += bytes;
      },
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (isIdle) {
      const message = `${movedBytes} bytes moved in ${idleTimeoutMs} ms`;
      throw new VarveError("storage-failed", message, { retryable: true });
    }
    throw error;
  } finally {
    forget();
    over.abort();
    await watching;
  }
}
