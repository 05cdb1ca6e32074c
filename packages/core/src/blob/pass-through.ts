import type { BlobStore } from "./store.ts";

/** A store that hands every call to `store`: what wrappers spread and then override. Not `draft`, which would pass by their `put`. */
export function passThrough(store: BlobStore): BlobStore {
  return {
    label: store.label,
    features: store.features,
    listsInOrder: store.listsInOrder,
    meter: store.meter,
    parallelPuts: () => store.parallelPuts?.(),
    parallelReads: () => store.parallelReads?.(),
    get: (id, options) => store.get(id, options),
    put: (id, parts, options) => store.put(id, parts, options),
    stat: (id, options) => store.stat(id, options),
    list: (prefix, options) => store.list(prefix, options),
    delete: (id, options) => store.delete(id, options),
    extendRetention: (id, retention, options) => store.extendRetention(id, retention, options),
    capacity: async (options) => await store.capacity?.(options),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
