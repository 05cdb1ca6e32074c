import { totalLength } from "../base/bytes.ts";
import type { Environment } from "../base/environment.ts";
import { AdaptiveLimit } from "./adaptive-limit.ts";
import { passThrough } from "./pass-through.ts";
import type { BlobStore } from "./store.ts";

export interface AdaptOptions {
  readonly environment: Environment;
  /** Reads under way at once, at most; default 32. */
  readonly maxReads?: number | undefined;
  /** Writes under way at once, at most; default 16. */
  readonly maxWrites?: number | undefined;
}

// What most services and lines take well; found to be wrong within a second either way.
const FIRST_READS = 8;
const FIRST_WRITES = 4;

/**
 * `store`, asked by as many calls at once as it answers well: more while more gets done, fewer when answers slow down or
 * are refused. Reads and writes are counted apart; lists are not held back. Owns `store`. For storage behind a network; a
 * store that knows how many puts pay is given back as it is. Belongs inside of `retryStore`, which hides refusals.
 */
export function adaptiveStore(store: BlobStore, options: AdaptOptions): BlobStore {
  if (store.parallelPuts?.() !== undefined) {
    return store;
  }
  const { environment, maxReads = 32, maxWrites = 16 } = options;
  const reads = new AdaptiveLimit({ environment, start: FIRST_READS, max: maxReads });
  const writes = new AdaptiveLimit({ environment, start: FIRST_WRITES, max: maxWrites });
  const nothing = (): number => 0;
  return {
    ...passThrough(store),
    parallelPuts: () => writes.limit,
    get: (id, call) =>
      reads.run(() => store.get(id, call), {
        bytesOf: ({ length }) => length,
        signal: call?.signal,
      }),
    stat: (id, call) =>
      reads.run(() => store.stat(id, call), { bytesOf: nothing, signal: call?.signal }),
    put: (id, parts, call) =>
      writes.run(() => store.put(id, parts, call), {
        bytesOf: () => totalLength(parts),
        signal: call?.signal,
      }),
    delete: (id, call) =>
      writes.run(() => store.delete(id, call), { bytesOf: nothing, signal: call?.signal }),
    extendRetention: (id, retention, call) =>
      writes.run(() => store.extendRetention(id, retention, call), {
        bytesOf: nothing,
        signal: call?.signal,
      }),
  };
}
