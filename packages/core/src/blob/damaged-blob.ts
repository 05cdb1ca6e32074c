import { isVarveError, type VarveError } from "../base/errors.ts";
import type { BlobId } from "./store.ts";

/** A blob that is there and is not what it was, or not what this version knows. */
export interface DamagedBlob {
  readonly id: BlobId;
  /** Its code is `corrupt` or `format-unsupported`. */
  readonly error: VarveError;
}

/** The error of bytes that are damaged; nothing for a storage that does not answer, which is no damage. */
export function damageOf(error: unknown): VarveError | undefined {
  return isVarveError(error, "corrupt") || isVarveError(error, "format-unsupported")
    ? error
    : undefined;
}
