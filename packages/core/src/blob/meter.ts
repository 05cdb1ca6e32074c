import { totalLength } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { passThrough } from "./pass-through.ts";
import type { BlobId, BlobInfo, BlobStore, GetOptions } from "./store.ts";

/** What storage was asked for: requests as object stores bill them. */
export interface Usage {
  /** A listing is one request for each thousand blobs; an extension of retention is a `head` and a `put`. */
  readonly requests: Readonly<Record<RequestKind, number>>;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

export type RequestKind = "list" | "get" | "head" | "put" | "delete";

export const NO_USAGE: Usage = {
  requests: { list: 0, get: 0, head: 0, put: 0, delete: 0 },
  bytesRead: 0,
  bytesWritten: 0,
};

/** Blobs that one answer to a listing tells: S3's number, the smallest of all services. */
const LIST_PAGE = 1000;

/** `a` + `sign` × `b`, by kind. */
export function addUsage(a: Usage, b: Usage, sign: 1 | -1 = 1): Usage {
  const sum = (kind: RequestKind): number => a.requests[kind] + sign * b.requests[kind];
  return {
    requests: {
      list: sum("list"),
      get: sum("get"),
      head: sum("head"),
      put: sum("put"),
      delete: sum("delete"),
    },
    bytesRead: a.bytesRead + sign * b.bytesRead,
    bytesWritten: a.bytesWritten + sign * b.bytesWritten,
  };
}

export function requestCount({ requests }: Usage): number {
  return requests.list + requests.get + requests.head + requests.put + requests.delete;
}

/** Counts what passes through {@link meteredStore}, and refuses what would be too much. */
export class Meter {
  #used: Usage = NO_USAGE;
  #guard: ((after: Usage) => string | undefined) | undefined;
  #inFlight = 0;
  #mostAtOnce = 0;
  #refusal: VarveError | undefined;

  /** Since the store was opened; what is under way included. */
  get used(): Usage {
    return this.#used;
  }

  /** The first request that was not made. */
  get refusal(): VarveError | undefined {
    return this.#refusal;
  }

  /**
   * From now on a request is made only when `guard` has nothing to say of what would have been used after it; else the call
   * throws `over-plan` with what it says, and so does every other that is too much.
   */
  setGuard(guard: ((after: Usage) => string | undefined) | undefined): void {
    this.#guard = guard;
  }

  /** What speaks against using so much more; `undefined` when it may be. */
  objection(more: Usage): string | undefined {
    return this.#guard?.(addUsage(this.#used, more));
  }

  /** Requests that were under way at once, at most, since this was last asked. */
  takeMostAtOnce(): number {
    const most = this.#mostAtOnce;
    this.#mostAtOnce = this.#inFlight;
    return most;
  }

  /** Throws `over-plan`. */
  count(kind: RequestKind, { read = 0, written = 0 }: { read?: number; written?: number }): void {
    const more: Usage = {
      requests: { ...NO_USAGE.requests, [kind]: 1 },
      bytesRead: read,
      bytesWritten: written,
    };
    const objection = this.objection(more);
    if (objection !== undefined) {
      this.#refusal ??= new VarveError("over-plan", objection);
      throw this.#refusal;
    }
    this.#used = addUsage(this.#used, more);
  }

  /** Bytes that nobody could tell before they came. */
  countRead(bytes: number): void {
    this.#used = { ...this.#used, bytesRead: this.#used.bytesRead + bytes };
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#inFlight += 1;
    this.#mostAtOnce = Math.max(this.#mostAtOnce, this.#inFlight);
    try {
      return await work();
    } finally {
      this.#inFlight -= 1;
    }
  }
}

/**
 * `store` with a {@link Meter}, that wrappers around it hand on. Belongs inside of `retryStore`: what is asked twice is paid twice.
 * Owns `store`. How long a blob is that is read whole is known before when a listing has told it; packs are read in ranges.
 */
export function meteredStore(store: BlobStore): BlobStore & { readonly meter: Meter } {
  const meter = new Meter();
  const sizes = new Map<BlobId, number>();
  const get = async (id: BlobId, options?: GetOptions): Promise<Uint8Array> => {
    const expected = options?.range?.length ?? sizes.get(id) ?? 0;
    meter.count("get", { read: expected });
    const bytes = await meter.during(() => store.get(id, options));
    meter.countRead(bytes.length - expected);
    return bytes;
  };
  return {
    ...passThrough(store),
    meter,
    get,
    put: (id, parts, options) =>
      meter.during(async () => {
        meter.count("put", { written: totalLength(parts) });
        return await store.put(id, parts, options);
      }),
    stat: (id, options) =>
      meter.during(async () => {
        meter.count("head", {});
        return await store.stat(id, options);
      }),
    delete: (id, options) =>
      meter.during(async () => {
        meter.count("delete", {});
        sizes.delete(id);
        await store.delete(id, options);
      }),
    extendRetention: (id, retention, options) =>
      meter.during(async () => {
        meter.count("head", {});
        meter.count("put", {});
        await store.extendRetention(id, retention, options);
      }),
    async *list(prefix, options): AsyncGenerator<BlobInfo> {
      let count = 0;
      meter.count("list", {});
      for await (const info of store.list(prefix, options)) {
        if (isReadWhole(info.id)) {
          sizes.set(info.id, info.size);
        }
        yield info;
        count += 1;
        if (count % LIST_PAGE === 0) {
          meter.count("list", {}); // before the next answer is waited for
        }
      }
    },
  };
}

/** Few beside packs and Kopia's logs, whose sizes would take memory for nothing. */
function isReadWhole(id: BlobId): boolean {
  return !/^[pq_]/.test(id);
}
