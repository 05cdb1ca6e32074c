/** Error correction of sealed bytes (spec §7): what comes in may be damaged, what goes out is whole or throws. */
export interface Ecc {
  /** Bytes that `encode` makes of `length` bytes. */
  encodedLength(length: number): number;
  /** The result is the caller's; so is that of `decode`. */
  encode(data: Uint8Array): Uint8Array;
  /** Corrects what it can, without changing `encoded`; throws `corrupt` when too much is damaged. */
  decode(encoded: Uint8Array): Uint8Array;
}
