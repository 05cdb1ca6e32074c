import { equalBytes } from "../base/bytes.ts";
import { ByteReader, ByteWriter } from "../base/cursor.ts";
import { VarveError } from "../base/errors.ts";
import { crc32 } from "../ecc/crc32.ts";
import type { Sealer } from "../format/sealer.ts";

/**
 * The end of a pack (spec §3.6): an encrypted index of the pack's own contents and a postamble that says where it
 * lies. Nothing reads it but recovery of lost index blobs.
 */

/** Where the local index of a pack lies. */
export interface LocalIndexPosition {
  /** Full hash of the plain local index; also its initialisation vector. */
  readonly iv: Uint8Array;
  /** Bytes from the start of the pack. */
  readonly offset: number;
  readonly length: number;
}

const MAX_IV_LENGTH = 32;

/** The encrypted local index, to be placed at `offset`, and the postamble. */
export function encodePackTail(
  localIndex: Uint8Array,
  options: { offset: number; sealer: Sealer },
): Uint8Array[] {
  const iv = options.sealer.hash(localIndex);
  const sealed = options.sealer.seal(localIndex, iv);
  const writer = new ByteWriter({ capacity: 128 })
    .uvarint(1)
    .uvarint(iv.length)
    .bytes(iv)
    .uvarint(options.offset)
    .uvarint(sealed.length);
  writer.u32(crc32(writer.view(), 0, writer.length));
  writer.u8(writer.length);
  return [sealed, writer.view()];
}

/**
 * Finds the local index from the last bytes of a pack; `tail` is at least the last 256 bytes, which always hold
 * the postamble, or the whole pack. Throws `corrupt`.
 */
export function parsePackTail(
  tail: Uint8Array,
  options: { packLength: number },
): LocalIndexPosition {
  const what = "pack postamble";
  const length = tail.at(-1) ?? 0;
  const start = tail.length - 1 - length;
  if (start < 0 || length < 4) {
    throw new VarveError("corrupt", `${what}: length ${length} of ${tail.length} bytes`);
  }
  const signed = tail.subarray(start, tail.length - 1 - 4);
  if (
    new ByteReader(tail, { what, offset: start + signed.length }).u32() !==
    crc32(signed, 0, signed.length)
  ) {
    throw new VarveError("corrupt", `${what}: checksum does not match`);
  }
  const reader = new ByteReader(signed, { what });
  const flag = reader.uvarint();
  const ivLength = reader.uvarint();
  if (flag !== 1 || ivLength > MAX_IV_LENGTH) {
    throw new VarveError("corrupt", `${what}: version ${flag}, ${ivLength} bytes of hash`);
  }
  const position = {
    iv: reader.bytes(ivLength).slice(),
    offset: reader.uvarint(),
    length: reader.uvarint(),
  };
  if (position.offset + position.length > options.packLength - length - 1) {
    throw new VarveError("corrupt", `${what}: local index lies outside of the pack`);
  }
  return position;
}

/** The local index as an index file, random bytes at its end included. Throws `corrupt`. */
export function openLocalIndex(
  sealed: Uint8Array,
  options: { position: LocalIndexPosition; sealer: Sealer },
): Uint8Array {
  const { position, sealer } = options;
  const plain = sealer.open(sealed, position.iv);
  if (!equalBytes(sealer.hash(plain), position.iv)) {
    throw new VarveError("corrupt", "pack: local index does not match its hash");
  }
  return plain;
}
