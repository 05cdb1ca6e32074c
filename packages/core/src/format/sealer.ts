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
  /** Undoes `seal`. Throws `corrupt`. */
  open(sealed: Uint8Array, iv: Uint8Array): Uint8Array;
  /** Bytes that `seal` makes of `length` bytes. */
  sealedLength(length: number): number;
}

/** The last 16 bytes of a hash (spec §3.3). */
export function ivOfHash(hash: Uint8Array): Uint8Array {
  return hash.subarray(hash.length - 16);
}
