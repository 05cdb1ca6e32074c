import { totalLength } from "../base/bytes.ts";
import { Semaphore } from "../base/concurrency.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { Pace } from "./pace.ts";
import { passThrough } from "./pass-through.ts";
import type { BlobStore } from "./store.ts";

/** What storage may be asked for; what is left out or 0 has no limit. Kopia's names (spec §6.4). */
export interface StoreLimits {
  /** `get` and `stat`. */
  readonly readsPerSecond?: number | undefined;
  /** `put`, `delete` and `extendRetention`. */
  readonly writesPerSecond?: number | undefined;
  readonly listsPerSecond?: number | undefined;
  readonly maxUploadSpeedBytesPerSecond?: number | undefined;
  readonly maxDownloadSpeedBytesPerSecond?: number | undefined;
  readonly concurrentReads?: number | undefined;
  readonly concurrentWrites?: number | undefined;
}

export interface LimitedStore extends BlobStore {
  /** Holds for calls to come at once, and for those that wait within a tenth of a second. Throws `invalid-argument`. */
  setLimits(limits: StoreLimits): void;
}

/**
 * `store`, asked no faster than `limits` say; owns `store`. No more bytes have passed at any time than the rate allows
 * since the first call, one blob that was read whole apart: a `put` and a ranged `get` wait before they start, a whole
 * `get`, whose size only its answer tells, before it returns. Belongs outside of `retryStore` (spec §6.3). Throws
 * `invalid-argument` for a limit that is no number of at least 0.
 */
export function limitStore(
  store: BlobStore,
  options: { readonly environment: Environment; readonly limits?: StoreLimits },
): LimitedStore {
  const { environment } = options;
  const newPace = (): Pace => new Pace(environment, undefined);
  const requests = { reads: newPace(), writes: newPace(), lists: newPace() };
  const bytes = { up: newPace(), down: newPace() };
  let slots: { reads: Semaphore | undefined; writes: Semaphore | undefined };
  const setLimits = (limits: StoreLimits): void => {
    const limit = (name: keyof StoreLimits): number | undefined => checkedLimit(limits, name);
    requests.reads.setRate(limit("readsPerSecond"));
    requests.writes.setRate(limit("writesPerSecond"));
    requests.lists.setRate(limit("listsPerSecond"));
    bytes.up.setRate(limit("maxUploadSpeedBytesPerSecond"));
    bytes.down.setRate(limit("maxDownloadSpeedBytesPerSecond"));
    // Calls that are under way give back what they took to the semaphore that they took it from.
    slots = {
      reads: semaphore(limit("concurrentReads")),
      writes: semaphore(limit("concurrentWrites")),
    };
  };
  setLimits(options.limits ?? {});

  const read = async <T>(call: CallOptions | undefined, work: () => Promise<T>): Promise<T> =>
    await inSlot(slots.reads, call, async () => {
      await requests.reads.take(1, call);
      return await work();
    });
  const write = async <T>(call: CallOptions | undefined, work: () => Promise<T>): Promise<T> =>
    await inSlot(slots.writes, call, async () => {
      await requests.writes.take(1, call);
      return await work();
    });

  return {
    ...passThrough(store),
    setLimits,
    get draft() {
      const isFree = requests.writes.isUnlimited && bytes.up.isUnlimited;
      return isFree && slots.writes === undefined ? store.draft?.bind(store) : undefined;
    },
    get: (id, call) =>
      read(call, async () => {
        await bytes.down.take(call?.range?.length ?? 0, call);
        const data = await store.get(id, call);
        await bytes.down.take(call?.range === undefined ? data.length : 0, call);
        return data;
      }),
    stat: (id, call) => read(call, () => store.stat(id, call)),
    put: (id, parts, call) =>
      write(call, async () => {
        await bytes.up.take(totalLength(parts), call);
        return await store.put(id, parts, call);
      }),
    delete: (id, call) => write(call, () => store.delete(id, call)),
    extendRetention: (id, retention, call) =>
      write(call, () => store.extendRetention(id, retention, call)),
    async *list(prefix, call) {
      await requests.lists.take(1, call);
      yield* store.list(prefix, call);
    },
  };
}

function checkedLimit(limits: StoreLimits, name: keyof StoreLimits): number | undefined {
  const limit = limits[name] ?? 0;
  if (!Number.isFinite(limit) || limit < 0) {
    throw new VarveError("invalid-argument", `the limit ${name} is ${limit}`);
  }
  return limit === 0 ? undefined : limit;
}

function semaphore(limit: number | undefined): Semaphore | undefined {
  return limit === undefined ? undefined : new Semaphore(Math.max(1, Math.floor(limit)));
}

async function inSlot<T>(
  slots: Semaphore | undefined,
  call: CallOptions | undefined,
  work: () => Promise<T>,
): Promise<T> {
  await slots?.acquire(1, call);
  try {
    return await work();
  } finally {
    slots?.release(1);
  }
}
