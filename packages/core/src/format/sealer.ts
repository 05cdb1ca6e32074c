import { equalBytes } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import type { OpenOptions, RandomBytes } from "../crypto/crypto.ts";
import type { Crypto } from "../crypto/registry.ts";
import { createEcc, ECC_NAME } from "../ecc/create-ecc.ts";
import type { Ecc } from "../ecc/ecc.ts";
import type { RepositoryFormat } from "./format.ts";

/**
 * Hash, cipher and error correction of one repository put together (spec §3.2, §3.3, §7): everything that goes
 * through Kopia's content encryptor goes through a Sealer.
 */
export interface Sealer {
  /** Bytes of a content hash: 16, 28 or 32. */
  readonly hashSize: number;
  hash(data: Uint8Array): Uint8Array;
  /** Encrypts, then error-corrects. `iv` is {@link ivOfHash} of a content or blob hash, or a full hash for a pack's local index. */
  seal(plain: Uint8Array, iv: Uint8Array): Uint8Array;
  /** `seal` into `target`, which has exactly `sealedLength(plain.length)` bytes. */
  sealInto(target: Uint8Array, plain: Uint8Array, iv: Uint8Array): void;
  /** Undoes `seal`. Throws `corrupt`. */
  open(sealed: Uint8Array, iv: Uint8Array, options?: OpenOptions): Uint8Array;
  /** What was sealed, where error correction finds it changed; nothing where it is as it was. Throws `corrupt` for what is beyond it. */
  corrected(sealed: Uint8Array): Uint8Array | undefined;
  /** Bytes that `seal` makes of `length` bytes. */
  sealedLength(length: number): number;
}

/** The last 16 bytes of a hash (spec §3.3). */
export function ivOfHash(hash: Uint8Array): Uint8Array {
  return hash.subarray(hash.length - 16);
}

/** Throws `format-unsupported` when the format names an algorithm that nobody knows or a secret that its hash cannot take. */
export function createSealer(
  format: Pick<RepositoryFormat, "hash" | "encryption" | "ecc" | "secret" | "masterKey">,
  options: { crypto: Crypto; randomBytes: RandomBytes },
): Sealer {
  const { crypto, randomBytes } = options;
  const hasher = crypto.hasher(format.hash, format.secret);
  const cipher = crypto.cipher(format.encryption, { masterKey: format.masterKey, randomBytes });
  const ecc = eccOf(format);
  const hashing = { hashSize: hasher.size, hash: (data: Uint8Array) => hasher.hash(data) };
  if (ecc === undefined) {
    return {
      ...hashing,
      seal: (plain, iv) => cipher.seal(plain, iv),
      sealInto: (target, plain, iv) => cipher.sealInto(target, plain, iv),
      open: (sealed, iv, options) => cipher.open(sealed, iv, options),
      corrected: () => undefined,
      sealedLength: (length) => length + cipher.overhead,
    };
  }
  return {
    ...hashing,
    seal: (plain, iv) => ecc.encode(cipher.seal(plain, iv)),
    sealInto: (target, plain, iv) => target.set(ecc.encode(cipher.seal(plain, iv))),
    open: (sealed, iv) => cipher.open(ecc.decode(sealed), iv, { inPlace: true }),
    corrected: (sealed) => {
      const whole = ecc.encode(ecc.decode(sealed));
      return equalBytes(whole, sealed) ? undefined : whole;
    },
    sealedLength: (length) => ecc.encodedLength(length + cipher.overhead),
  };
}

function eccOf({ ecc }: Pick<RepositoryFormat, "ecc">): Ecc | undefined {
  if (ecc === undefined || ecc.overheadPercent === 0) {
    return undefined;
  }
  if (ecc.algorithm !== ECC_NAME) {
    throw new VarveError(
      "format-unsupported",
      `no error correction ${JSON.stringify(ecc.algorithm.slice(0, 100))}: known is ${ECC_NAME}`,
    );
  }
  return createEcc(ecc.overheadPercent);
}
