import { VarveError } from "../base/errors.ts";

/** Layout of everything sealed: `nonce || ciphertext || tag` (spec §2.3, §3.3). Sizes in bytes. */
export const KEY_SIZE = 32;
export const NONCE_SIZE = 12;
export const TAG_SIZE = 16;
export const AEAD_OVERHEAD: number = NONCE_SIZE + TAG_SIZE;

/** Views on the parts of `sealed`. Throws `corrupt` when it is too short to have them. */
export function sealedParts(sealed: Uint8Array): {
  nonce: Uint8Array;
  body: Uint8Array;
  tag: Uint8Array;
} {
  if (sealed.length < AEAD_OVERHEAD) {
    throw new VarveError(
      "corrupt",
      `decrypt: ${sealed.length} bytes, at least ${AEAD_OVERHEAD} are needed`,
    );
  }
  const bodyEnd = sealed.length - TAG_SIZE;
  return {
    nonce: sealed.subarray(0, NONCE_SIZE),
    body: sealed.subarray(NONCE_SIZE, bodyEnd),
    tag: sealed.subarray(bodyEnd),
  };
}

/** The error for bytes that do not authenticate; says nothing of keys. */
export function notAuthentic(sealed: Uint8Array, cause: unknown): VarveError {
  return new VarveError("corrupt", `decrypt ${sealed.length} bytes: authentication failed`, {
    cause,
  });
}
