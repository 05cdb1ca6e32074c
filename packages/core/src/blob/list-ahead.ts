import type { CallOptions, Environment } from "../base/environment.ts";
import { passThrough } from "./pass-through.ts";
import type { BlobInfo, BlobStore } from "./store.ts";

/** Older than that, a list is asked for again: whoever asks goes by the time at which he asked. */
const MAX_AGE_MS = 10_000;

/** A list that is under way before its turn. */
export interface ListAhead {
  /** The store, whose first list of the prefix is that one unless it has failed or grown old. Does not own the store. */
  readonly store: BlobStore;
  /** Resolves when the list has ended, however. */
  readonly ended: Promise<void>;
}

/** Begins to list `prefix`, to be held in memory: it costs no round trip where something else is waited for meanwhile. */
export function listAhead(
  store: BlobStore,
  prefix: string,
  { environment, signal }: CallOptions & { readonly environment: Environment },
): ListAhead {
  const startedMs = environment.nowMs();
  const listing = collect(() => store.list(prefix, { signal }));
  const ended = settled(listing);
  let isTaken = false;
  const ahead: BlobStore = {
    ...passThrough(store),
    async *list(asked, options) {
      if (asked === prefix && !isTaken) {
        isTaken = true;
        const found = await listing.catch(() => undefined);
        options?.signal?.throwIfAborted();
        if (found !== undefined && environment.nowMs() - startedMs <= MAX_AGE_MS) {
          yield* found;
          return;
        }
      }
      yield* store.list(asked, options);
    },
    [Symbol.asyncDispose]: async () => {},
  };
  return { store: ahead, ended };
}

async function collect(list: () => AsyncIterable<BlobInfo>): Promise<readonly BlobInfo[]> {
  const found: BlobInfo[] = [];
  for await (const info of list()) {
    found.push(info);
  }
  return found;
}

/** Its failure is told to whoever lists then. */
async function settled(work: Promise<unknown>): Promise<void> {
  await Promise.allSettled([work]);
}
