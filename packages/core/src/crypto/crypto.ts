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
  /** `seal` into `target`, which has exactly the length for it and does not overlap `plain`. */
  sealInto(target: Uint8Array, plain: Uint8Array, iv: Uint8Array): void;
  /** Undoes `seal`; throws `corrupt` when the bytes are not what was sealed under `iv`. */
  open(sealed: Uint8Array, iv: Uint8Array, options?: OpenOptions): Uint8Array;
}

export interface OpenOptions {
  /** The result may lie in the memory of `sealed`, whose bytes are lost then, whatever comes of it. Default false. */
  readonly inPlace?: boolean | undefined;
}

export type RandomBytes = (size: number) => Uint8Array;

/** Authenticated encryption with 32-byte keys, 12-byte nonces and 16-byte tags; inputs are not changed but by `open` with `inPlace`. */
export interface Aead {
  /** `nonce(12) || ciphertext || tag(16)`, in `target` when that is given: of exactly this length, without overlap with `plain`. */
  seal(options: {
    key: Uint8Array;
    nonce: Uint8Array;
    aad: Uint8Array;
    plain: Uint8Array;
    target?: Uint8Array;
  }): Uint8Array;
  /** Undoes `seal`; the result is the caller's. Throws `corrupt` when short or not authentic. */
  open(options: { key: Uint8Array; aad: Uint8Array; sealed: Uint8Array } & OpenOptions): Uint8Array;
}

export type AeadName = "aes-256-gcm" | "chacha20-poly1305";

/** The 32-byte key that belongs to a password (UTF-8) and a salt. */
export type KeyDerivation = (password: string, salt: Uint8Array) => Promise<Uint8Array>;

/** One source of primitives; answers `undefined` for what it does not know. Every call is a cheap look-up. */
export interface CryptoProvider {
  /** For people: `native`, `node`, `wasm`, `noble`. */
  readonly name: string;
  /** By Kopia's name (spec §3.2). `secret` is copied. Throws `format-unsupported` for a secret that the hash cannot take. */
  hasher(name: string, secret: Uint8Array): Hasher | undefined;
  aead(name: AeadName): Aead | undefined;
  /** By Kopia's name (spec §2.2). */
  keyDerivation(name: string): KeyDerivation | undefined;
}
