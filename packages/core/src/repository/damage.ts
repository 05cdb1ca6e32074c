import { type ErrorCode, VarveError } from "../base/errors.ts";
import type { Repository } from "./repository.ts";

/** Something of a repository that could not be read when it was opened or last refreshed; the rest works without it. */
export interface RepositoryDamage {
  /**
   * `index`: contents that only this blob names are not known. `manifests`: snapshots and policies may be missing (known once
   * manifests were asked for). `blob-config`: whether new blobs are to be locked is not known, and they are not.
   */
  readonly kind: "index" | "manifests" | "blob-config";
  /** The id of the blob, of manifests that of their content. */
  readonly name: string;
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * For whatever draws conclusions from a content not being in the index: throws `corrupt` while a part of the index cannot be
 * read. `what` is what is refused.
 */
export function requireWholeIndex({ contents }: Pick<Repository, "contents">, what: string): void {
  const [first] = contents.damagedIndexBlobs;
  if (first !== undefined) {
    const count = contents.damagedIndexBlobs.length;
    throw new VarveError(
      "corrupt",
      `${what} while ${count === 1 ? "an index blob" : `${count} index blobs`} cannot be read (${first.id}): recover the index first, as \`index recover --commit\` does`,
      { cause: first.error },
    );
  }
}
