import { equalBytes } from "../base/bytes.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobStore } from "../blob/store.ts";
import type { Crypto } from "../crypto/registry.ts";
import { FORMAT_BLOB, type RepositoryFormat } from "../format/format.ts";
import { readFormat } from "../format/format-store.ts";
import { isLocked } from "../format/upgrade-lock.ts";

/** Throws `format-unsupported` while an upgrade wants every client to keep off (spec §2.8). */
export function refuseUpgradeLock(format: RepositoryFormat, environment: Environment): void {
  if (isLocked(format, environment.nowMs())) {
    const { ownerId, message } = format.upgradeLock ?? { ownerId: "", message: "" };
    throw new VarveError(
      "format-unsupported",
      `the repository is locked for an upgrade by ${ownerId}: ${message}`,
    );
  }
}

/**
 * A look at the format blob, to be taken before each commit: an index written in the way of an old format may be one
 * that nobody reads any more. Throws `format-unsupported` when the repository is locked or must be opened anew.
 */
export function watchFormat(
  store: BlobStore,
  opened: RepositoryFormat,
  options: { password: string; crypto: Crypto; environment: Environment },
): (call: CallOptions) => Promise<void> {
  const { password, crypto, environment } = options;
  let known = opened;
  return async ({ signal }) => {
    if (!equalBytes(await store.get(FORMAT_BLOB, { signal }), known.rawFormatBlob)) {
      known = await readFormat(store, { password, known, crypto, signal });
    }
    refuseUpgradeLock(known, environment);
    if (
      known.version !== opened.version ||
      known.indexVersion !== opened.indexVersion ||
      known.epochs.enabled !== opened.epochs.enabled ||
      !equalBytes(known.masterKey, opened.masterKey)
    ) {
      throw new VarveError(
        "format-unsupported",
        "the repository's format has changed since it was opened: open it again",
      );
    }
  };
}
