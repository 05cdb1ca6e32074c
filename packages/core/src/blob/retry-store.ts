import type { CallOptions, Environment } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import { passThrough } from "./pass-through.ts";
import type { BlobId, BlobInfo, BlobStore } from "./store.ts";

export interface RetryOptions {
  /** Time, jitter and the log. */
  readonly environment: Environment;
  /** Calls in all, default 10. */
  readonly attempts?: number;
  /** Longest wait before the second call, default 100. */
  readonly firstDelayMs?: number;
  /** No wait is longer, default 32 000; what storage asks for may be, up to a minute. */
  readonly maxDelayMs?: number;
  /** No call is made again this long after the first, default 15 minutes. */
  readonly maxElapsedMs?: number;
}

const GROWTH = 1.5;
const MAX_RETRY_AFTER_MS = 60_000;

/**
 * Calls `store` again, with waits that grow, when it failed with an error that is `retryable`; owns `store`. A list that
 * is started again gives nothing twice, and has all its attempts again once it has given more. A put with `ifAbsent`
 * whose first call stored the blob and then failed ends as `blob-exists`.
 */
export function retryStore(store: BlobStore, options: RetryOptions): BlobStore {
  const retry = <T>(
    what: string,
    call: CallOptions | undefined,
    work: () => Promise<T>,
  ): Promise<T> => withRetries(what, { ...options, signal: call?.signal }, work);

  async function* list(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<BlobInfo> {
    const given = new Set<BlobId>();
    let call: Call = {
      what: `list ${JSON.stringify(prefix)}`,
      signal,
      startMs: options.environment.nowMs(),
    };
    for (let attempt = 1; ; attempt++) {
      const before = given.size;
      try {
        for await (const info of store.list(prefix, { signal })) {
          if (!given.has(info.id)) {
            given.add(info.id);
            yield info;
          }
        }
        return;
      } catch (error) {
        if (given.size > before) {
          attempt = 1;
          call = { ...call, startMs: options.environment.nowMs() };
        }
        await beforeRetry(error, attempt, call, options);
      }
    }
  }

  const draft = store.draft?.bind(store);
  return {
    ...passThrough(store),
    get: (id, call) => retry(`get ${id}`, call, () => store.get(id, call)),
    put: (id, parts, call) => retry(`put ${id}`, call, () => store.put(id, parts, call)),
    draft: draft && ((id, call) => retry(`put ${id}`, call, () => draft(id, call))),
    stat: (id, call) => retry(`stat ${id}`, call, () => store.stat(id, call)),
    list: (prefix, call) => list(prefix, call?.signal),
    delete: (id, call) => retry(`delete ${id}`, call, () => store.delete(id, call)),
    extendRetention: (id, retention, call) =>
      retry(`extend retention of ${id}`, call, () => store.extendRetention(id, retention, call)),
  };
}

/** Calls `work` as {@link retryStore} calls a store. `what` is for the log. */
export async function withRetries<T>(
  what: string,
  options: RetryOptions & CallOptions,
  work: () => Promise<T>,
): Promise<T> {
  const call = { what, signal: options.signal, startMs: options.environment.nowMs() };
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      await beforeRetry(error, attempt, call, options);
    }
  }
}

/** Waits and returns when the call should be made again; else throws `error`. */
async function beforeRetry(
  error: unknown,
  attempt: number,
  call: Call,
  options: RetryOptions,
): Promise<void> {
  const { attempts = 10, maxElapsedMs = 900_000, environment } = options;
  if (!isVarveError(error) || !error.retryable || attempt >= attempts) {
    throw error;
  }
  const askedMs = Math.min(error.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
  const delayMs = Math.max(jitteredDelayMs(attempt, options), askedMs);
  if (environment.nowMs() + delayMs - call.startMs > maxElapsedMs) {
    throw error;
  }
  environment.log({
    level: "warning",
    message: `${call.what} failed, trying again`,
    fields: { attempt, delayMs, error: error.message },
  });
  await environment.sleep(delayMs, { signal: call.signal });
}

interface Call {
  readonly what: string;
  readonly signal: AbortSignal | undefined;
  readonly startMs: number;
}

/** Between half and all of the grown delay, so that clients that failed together do not come back together. */
function jitteredDelayMs(attempt: number, options: RetryOptions): number {
  const { firstDelayMs = 100, maxDelayMs = 32_000, environment } = options;
  const delayMs = Math.min(maxDelayMs, firstDelayMs * GROWTH ** (attempt - 1));
  const [chance = 0] = environment.randomBytes(1);
  return delayMs * (0.5 + chance / 510);
}
