import { concatBytes, equalBytes, utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import type { Crypto } from "../crypto/registry.ts";

/** The copy of `kopia.repository` that packs of version 1 start with, to be found when the blob is lost (spec §2.5). */

/** How much of either end of a pack can hold a copy. */
export const RECOVERY_WINDOW_BYTES = 65_536;
const MAX_LENGTH = 65_000;
const CHECKSUM_SIZE = 32;
const LENGTH_SIZE = 2;
// Not a secret: it only tells a copy from other bytes.
const CHECKSUM_KEY = utf8("kopia-repository");

/** What such a pack starts with. Throws `format-unsupported` for a format blob that is too long to be copied. */
export function recoveryCopyPrefix(rawFormatBlob: Uint8Array, crypto: Crypto): Uint8Array {
  const length = rawFormatBlob.length + CHECKSUM_SIZE;
  if (length > MAX_LENGTH) {
    throw new VarveError(
      "format-unsupported",
      `a format blob of ${rawFormatBlob.length} bytes is too long to be copied into packs`,
    );
  }
  const lengthBytes = Uint8Array.of(length & 255, length >>> 8);
  const checksum = crypto.hmacSha256(CHECKSUM_KEY, rawFormatBlob);
  return concatBytes([lengthBytes, rawFormatBlob, checksum, lengthBytes]);
}

/** The format blob in the first or last {@link RECOVERY_WINDOW_BYTES} of a pack, a copy; `undefined` when there is none. */
export function findRecoveryCopy(
  pack: { readonly head: Uint8Array; readonly tail: Uint8Array },
  crypto: Crypto,
): Uint8Array | undefined {
  const { head, tail } = pack;
  const ofHead = checkedCopy(head.subarray(LENGTH_SIZE), lengthAt(head, 0), crypto);
  if (ofHead !== undefined) {
    return ofHead;
  }
  const end = tail.length - LENGTH_SIZE;
  const length = lengthAt(tail, end);
  return length > end ? undefined : checkedCopy(tail.subarray(end - length), length, crypto);
}

function lengthAt(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) + (bytes[offset + 1] ?? 0) * 256;
}

function checkedCopy(bytes: Uint8Array, length: number, crypto: Crypto): Uint8Array | undefined {
  if (length <= CHECKSUM_SIZE || length > bytes.length) {
    return undefined;
  }
  const raw = bytes.slice(0, length - CHECKSUM_SIZE);
  const checksum = bytes.subarray(raw.length, length);
  return equalBytes(checksum, crypto.hmacSha256(CHECKSUM_KEY, raw)) ? raw : undefined;
}
