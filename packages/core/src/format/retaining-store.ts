import type { Environment } from "../base/environment.ts";
import { passThrough } from "../blob/pass-through.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import type { BlobRetention } from "./format.ts";

// spec §2.7
export const RETAINED_PREFIXES: readonly string[] = [
  "n",
  "x",
  "kopia.repository",
  "kopia.blobcfg",
  "p",
  "q",
];

/** True for the blobs that a repository puts under retention when that is on: packs, indexes and format blobs. */
export function isRetained(id: BlobId): boolean {
  return RETAINED_PREFIXES.some((prefix) => id.startsWith(prefix));
}

/** `store` whose puts of retained blobs ask for `retention`, counted from now; `store` itself without it. Owns `store`. */
export function retainingStore(
  store: BlobStore,
  options: {
    readonly retention: BlobRetention | undefined;
    readonly environment: Environment;
  },
): BlobStore {
  const { retention, environment } = options;
  if (retention === undefined) {
    return store;
  }
  const { mode, periodMs } = retention;
  return {
    ...passThrough(store),
    put: (id, parts, putOptions = {}) => {
      const untilMs = environment.nowMs() + periodMs;
      const asked = putOptions.retention ?? (isRetained(id) ? { mode, untilMs } : undefined);
      return store.put(id, parts, { ...putOptions, retention: asked });
    },
  };
}
