import type { CallOptions } from "../base/environment.ts";
import type { BlobStore } from "../blob/store.ts";
import { openCrypto, openKeyCrypto } from "../crypto/registry.ts";
import type { DerivedKey, RepositoryFormat } from "./format.ts";
import { readFormat } from "./format-store.ts";

/**
 * The format as it lies in storage; secrets included. `onDeriving` is called when the key derivation has begun, which takes the
 * thread pool a fifth of a second; not when the call fails before, nor when `known`, derived from this password before, opens it. Throws `not-a-repository`, `wrong-password`, `corrupt`, `format-unsupported`.
 */
export async function readRepositoryFormat(
  store: BlobStore,
  options: CallOptions & {
    readonly password: string;
    readonly known?: DerivedKey | undefined;
    readonly onDeriving?: (() => void) | undefined;
  },
): Promise<RepositoryFormat> {
  const isKnown = options.known !== undefined;
  const crypto = isKnown ? await openCrypto({ hashes: [] }) : await openKeyCrypto();
  return await readFormat(store, { ...options, crypto });
}
