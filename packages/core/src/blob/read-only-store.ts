import { VarveError } from "../base/errors.ts";
import { passThrough } from "./pass-through.ts";
import type { BlobStore } from "./store.ts";

/** `store` without its writing half: `put`, `delete` and `extendRetention` throw `read-only`. Owns `store`. */
export function readOnlyStore(store: BlobStore): BlobStore {
  const refuse = async (): Promise<never> => {
    throw new VarveError("read-only", `the store ${store.label} is used read-only`);
  };
  return {
    ...passThrough(store),
    features: new Set(),
    put: refuse,
    delete: refuse,
    extendRetention: refuse,
  };
}
