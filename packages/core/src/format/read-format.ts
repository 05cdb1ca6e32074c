import type { CallOptions } from "../base/environment.ts";
import type { BlobStore } from "../blob/store.ts";
import { openCrypto } from "../crypto/registry.ts";
import type { RepositoryFormat } from "./format.ts";
import { readFormat } from "./format-store.ts";

/** The format as it lies in storage; secrets included. Throws `not-a-repository`, `wrong-password`, `corrupt`, `format-unsupported`. */
export async function readRepositoryFormat(
  store: BlobStore,
  options: CallOptions & { readonly password: string },
): Promise<RepositoryFormat> {
  const { password, signal } = options;
  return await readFormat(store, { password, crypto: await openCrypto({ hashes: [] }), signal });
}
