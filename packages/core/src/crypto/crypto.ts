/**
 * Keyed hashes, authenticated ciphers and key derivations of a Kopia repository (spec §2.2, §3.2, §3.3),
 * picked by the names that the format blob carries. Pure functions on bytes: nothing here knows what a
 * content or a blob is.
 */

/** A keyed, possibly truncated hash. Not for concurrent use by several threads. */
export interface Hasher {
  /** Length of every digest in bytes: 16, 28 or 32. */
  readonly size: number;
  /** Digest of `data`; the result is the caller's. */
  hash(data: Uint8Array): Uint8Array;
}

/** Authenticated encryption with a key derived for each id (spec §3.3). */
export interface Cipher {
  /** What `seal` adds: 28 bytes for both ciphers. */
  readonly overhead: number;
  /** `nonce(12) || ciphertext || tag(16)`; the result is the caller's. */
  seal(plain: Uint8Array, iv: Uint8Array): Uint8Array;
  /** Undoes `seal`; throws `corrupt` when the bytes are not what was sealed under `iv`. */
  open(sealed: Uint8Array, iv: Uint8Array): Uint8Array;
}

export type RandomBytes = (size: number) => Uint8Array;

/** One source of primitives; answers `undefined` for names that it does not know. */
export interface CryptoProvider {
  /** For people: `native`, `node`, `wasm`, `noble`. */
  readonly name: string;
  hasher(name: string, secret: Uint8Array): Hasher | undefined;
  cipher(
    name: string,
    options: { masterKey: Uint8Array; randomBytes: RandomBytes },
  ): Cipher | undefined;
  deriveKey(name: string, password: string, salt: Uint8Array): Promise<Uint8Array> | undefined;
}
