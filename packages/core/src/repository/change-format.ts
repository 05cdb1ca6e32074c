import type { CallOptions, Environment } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobStore } from "../blob/store.ts";
import { openCrypto } from "../crypto/registry.ts";
import type { RepositoryFormat } from "../format/format.ts";
import {
  type FormatDeps,
  type ParameterChanges,
  withParameters,
  withPassword,
} from "../format/format-blob.ts";
import { keepFormatCopy } from "../format/format-copy.ts";
import { readFormat, replaceFormat } from "../format/format-store.ts";
import { isLocked } from "../format/upgrade-lock.ts";

/** Changes of the format of a repository that exists (spec §2.9). Other clients see them when they next read the format blob. */

export interface ChangeFormatOptions extends CallOptions {
  readonly password: string;
  readonly environment: Environment;
}

/** Throws `wrong-password`, `unsupported` for format version 1, `read-only`. The data is not encrypted anew. */
export async function changePassword(
  store: BlobStore,
  options: ChangeFormatOptions & { readonly newPassword: string },
): Promise<void> {
  await changeFormat(store, options, (format, { crypto }) =>
    withPassword(format, options.newPassword, crypto),
  );
}

/** Throws `invalid-argument` for values that Kopia refuses. */
export async function setParameters(
  store: BlobStore,
  options: ChangeFormatOptions & { readonly changes: ParameterChanges },
): Promise<RepositoryFormat> {
  return await changeFormat(store, options, (format) => withParameters(format, options.changes));
}

async function changeFormat(
  store: BlobStore,
  options: ChangeFormatOptions,
  change: (
    format: RepositoryFormat,
    deps: FormatDeps,
  ) => RepositoryFormat | Promise<RepositoryFormat>,
): Promise<RepositoryFormat> {
  const { password, environment, signal } = options;
  const crypto = await openCrypto({ hashes: [] });
  const format = await readFormat(store, { password, crypto, signal });
  if (isLocked(format, environment.nowMs())) {
    throw new VarveError(
      "unsupported",
      `${store.label} is being upgraded by another client; try again later`,
    );
  }
  const changed = await change(format, { crypto, environment });
  const written = await replaceFormat(store, changed, { crypto, environment, signal });
  // Also because a copy under the old password would still open.
  await keepFormatCopy(store, written.rawFormatBlob, { signal });
  return written;
}
