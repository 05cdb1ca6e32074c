import { passThrough } from "./pass-through.ts";
import type { BlobId, BlobInfo, BlobStore } from "./store.ts";

/**
 * `store`, whose list of `prefix` is asked for once for several looks that follow each other within seconds, and anew after
 * each put and delete that goes through it. Does not own `store`. What others write meanwhile is not seen: for steps that
 * another client's write cannot make wrong.
 */
export function rememberList(store: BlobStore, prefix: string): BlobStore {
  let known: readonly BlobInfo[] | undefined;
  /** Goes up with each change: a list that was begun before is not remembered. */
  let changes = 0;
  const changing = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } finally {
      known = undefined;
      changes++;
    }
  };
  return {
    ...passThrough(store),
    put: (id, parts, options) => changing(() => store.put(id, parts, options)),
    delete: (id: BlobId, options) => changing(() => store.delete(id, options)),
    async *list(asked, options) {
      if (asked !== prefix) {
        yield* store.list(asked, options);
        return;
      }
      if (known === undefined) {
        const before = changes;
        const found: BlobInfo[] = [];
        for await (const info of store.list(prefix, options)) {
          found.push(info);
        }
        known = before === changes ? found : undefined;
        yield* found;
        return;
      }
      yield* known;
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
