import { equalBytes, fromHex, toHex } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { type BlobId, parseBlobId } from "../blob/store.ts";
import type { OpenOptions } from "../crypto/crypto.ts";

import { ivOfHash, type Sealer } from "./sealer.ts";

/**
 * Blobs that are sealed as a whole: indexes, session markers, logs (spec §1.3). The id carries the hash of the
 * plaintext, and the last 16 bytes of that are the iv.
 */

/** Seals `plain` and names it `prefix || hash || "-" suffix`, as in `xn0_<hash>-<session>-c1`. Throws `invalid-argument` when that is no blob id. */
export function sealBlob(options: {
  prefix: string;
  suffix?: string | undefined;
  plain: Uint8Array;
  sealer: Sealer;
}): { id: BlobId; bytes: Uint8Array } {
  const { prefix, suffix = "", plain, sealer } = options;
  if (prefix.includes("-")) {
    // A reader looks for the hash before the first dash.
    throw new VarveError("invalid-argument", `blob prefix with a dash: ${JSON.stringify(prefix)}`);
  }
  const hash = sealer.hash(plain);
  const id = parseBlobId(`${prefix}${toHex(hash)}${suffix === "" ? "" : `-${suffix}`}`);
  return { id, bytes: sealer.seal(plain, ivOfHash(hash)) };
}

/** The plaintext of a whole-sealed blob; the result is the caller's, and with `inPlace` takes the memory of `bytes`. Throws `corrupt` when the id has no hash, or bytes and id do not belong together. */
export function openBlob(
  id: BlobId,
  bytes: Uint8Array,
  sealer: Sealer,
  options?: OpenOptions,
): Uint8Array {
  const hash = hashOfBlobId(id, sealer.hashSize);
  let plain: Uint8Array;
  try {
    plain = sealer.open(bytes, ivOfHash(hash), options);
  } catch (cause) {
    throw new VarveError("corrupt", `open blob ${id}: wrong key or damaged bytes`, { cause });
  }
  if (hash.length === sealer.hashSize && !equalBytes(sealer.hash(plain), hash)) {
    throw new VarveError("corrupt", `open blob ${id}: the plaintext has another hash`);
  }
  return plain;
}

const IV_HEX_LENGTH = 32;

/** The hex digits before the first dash: a whole hash, or at least the 16 bytes that are the iv. */
function hashOfBlobId(id: BlobId, hashSize: number): Uint8Array {
  const digits = /^[^-]*?([0-9a-f]*)(?:-|$)/.exec(id)?.[1] ?? "";
  if (digits.length < IV_HEX_LENGTH) {
    throw new VarveError("corrupt", `open blob ${id}: no hash in its id`);
  }
  return fromHex(digits.slice(digits.length >= hashSize * 2 ? -hashSize * 2 : -IV_HEX_LENGTH));
}
