import type { Environment } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import { passThrough } from "./pass-through.ts";
import type { BlobInfo, BlobStore } from "./store.ts";

export interface RetryOptions {
  /** Time, jitter and the log. */
  readonly environment: Environment;
  /** Calls in all, default 10. */
  readonly attempts?: number;
  /** Longest wait before the second call, default 100. */
  readonly firstDelayMs?: number;
  /** No wait is longer, default 32 000. */
  readonly maxDelayMs?: number;
}

const GROWTH = 1.5;

/**
 * Calls `store` again, with waits that grow, when it failed with an error that is `retryable`; owns `store`. A list is
 * started again only while it has given nothing. A put with `ifAbsent` whose first call stored the blob and then failed
 * ends as `blob-exists`.
 */
export function retryStore(store: BlobStore, options: RetryOptions): BlobStore {
  const { attempts = 10 } = options;

  /** Waits and returns when the call should be made again; else throws `error`. */
  const beforeRetry = async (error: unknown, attempt: number, call: Call): Promise<void> => {
    if (!isVarveError(error) || !error.retryable || attempt >= attempts) {
      throw error;
    }
    const delayMs = jitteredDelayMs(attempt, options);
    options.environment.log({
      level: "warning",
      message: `${call.what} failed, trying again`,
      fields: { attempt, delayMs, error: error.message },
    });
    await options.environment.sleep(delayMs, { signal: call.signal });
  };

  const retry = async <T>(call: Call, work: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        await beforeRetry(error, attempt, call);
      }
    }
  };

  async function* list(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<BlobInfo> {
    let hasYielded = false;
    for (let attempt = 1; ; attempt++) {
      try {
        for await (const info of store.list(prefix, { signal })) {
          hasYielded = true;
          yield info;
        }
        return;
      } catch (error) {
        if (hasYielded) {
          throw error;
        }
        await beforeRetry(error, attempt, { what: `list ${JSON.stringify(prefix)}`, signal });
      }
    }
  }

  return {
    ...passThrough(store),
    get: (id, callOptions) =>
      retry({ what: `get ${id}`, signal: callOptions?.signal }, () => store.get(id, callOptions)),
    put: (id, parts, callOptions) =>
      retry({ what: `put ${id}`, signal: callOptions?.signal }, () =>
        store.put(id, parts, callOptions),
      ),
    stat: (id, callOptions) =>
      retry({ what: `stat ${id}`, signal: callOptions?.signal }, () => store.stat(id, callOptions)),
    list: (prefix, callOptions) => list(prefix, callOptions?.signal),
    delete: (id, callOptions) =>
      retry({ what: `delete ${id}`, signal: callOptions?.signal }, () =>
        store.delete(id, callOptions),
      ),
    extendRetention: (id, retention, callOptions) =>
      retry({ what: `extend retention of ${id}`, signal: callOptions?.signal }, () =>
        store.extendRetention(id, retention, callOptions),
      ),
  };
}

interface Call {
  readonly what: string;
  readonly signal: AbortSignal | undefined;
}

/** Between half and all of the grown delay, so that clients that failed together do not come back together. */
function jitteredDelayMs(attempt: number, options: RetryOptions): number {
  const { firstDelayMs = 100, maxDelayMs = 32_000, environment } = options;
  const delayMs = Math.min(maxDelayMs, firstDelayMs * GROWTH ** (attempt - 1));
  const [chance = 0] = environment.randomBytes(1);
  return delayMs * (0.5 + chance / 510);
}
