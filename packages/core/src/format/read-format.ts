import type { CallOptions } from "../base/environment.ts";
import type { BlobStore } from "../blob/store.ts";
import { openKeyCrypto } from "../crypto/registry.ts";
import type { RepositoryFormat } from "./format.ts";
import { readFormat } from "./format-store.ts";

/**
 * The format as it lies in storage; secrets included. `onDeriving` is called when the key derivation has begun, which takes the
 * thread pool a fifth of a second; not when the call fails before. Throws `not-a-repository`, `wrong-password`, `corrupt`, `format-unsupported`.
 */
export async function readRepositoryFormat(
  store: BlobStore,
  options: CallOptions & {
    readonly password: string;
    readonly onDeriving?: (() => void) | undefined;
  },
): Promise<RepositoryFormat> {
  return await readFormat(store, { ...options, crypto: await openKeyCrypto() });
}
