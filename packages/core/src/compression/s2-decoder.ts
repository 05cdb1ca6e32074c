import { compareBytes, utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { maskedCrc32c } from "./crc32c.ts";
import { tooLong } from "./run-decoder.ts";

/** The framing of Snappy, as S2 uses it (spec §3.4): chunks of a type byte, a 24-bit length and that many bytes. */
export const S2_CHUNK = { compressed: 0x00, stored: 0x01, identifier: 0xff } as const;
export const S2_MAGIC: Uint8Array = utf8("S2sTwO");
const SNAPPY_MAGIC = utf8("sNaPpY");
/** The largest decoded block. */
const MAX_BLOCK = 4 * 1024 * 1024;
const FIRST_SKIPPABLE = 0x80;

interface Block {
  readonly crc: number;
  readonly stored: boolean;
  /** Where the elements, or the stored bytes, lie in the stream. */
  readonly start: number;
  readonly end: number;
  readonly decodedSize: number;
}

/**
 * Decodes a framed stream of S2 or Snappy. Sizes are added up from the block headers before anything is allocated.
 * Throws `corrupt` for a damaged stream and for output beyond `maxSize`.
 */
export function decompressS2(stream: Uint8Array, maxSize: number): Uint8Array {
  const blocks = readBlocks(stream, maxSize);
  const output = new Uint8Array(blocks.reduce((sum, block) => sum + block.decodedSize, 0));
  let start = 0;
  for (const { crc, stored, start: from, end: to, decodedSize } of blocks) {
    const target = output.subarray(start, start + decodedSize);
    if (stored) {
      target.set(stream.subarray(from, to));
    } else if (!decodeBlock(stream.subarray(from, to), target)) {
      throw damaged("a block does not decode");
    }
    if (maskedCrc32c(target) !== crc) {
      throw damaged("a block has another checksum");
    }
    start += decodedSize;
  }
  return output;
}

function readBlocks(stream: Uint8Array, maxSize: number): Block[] {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  const blocks: Block[] = [];
  let total = 0;
  for (let offset = 0; offset < stream.length; ) {
    if (offset + 4 > stream.length) {
      throw damaged("cut short");
    }
    const type = view.getUint8(offset);
    const start = offset + 4;
    const end = start + (view.getUint32(offset, true) >>> 8);
    if (end > stream.length || (offset === 0 && type !== S2_CHUNK.identifier)) {
      throw damaged("cut short, or without its identifier");
    }
    if (type === S2_CHUNK.compressed || type === S2_CHUNK.stored) {
      const block = readBlock(view, { stored: type === S2_CHUNK.stored, start, end });
      blocks.push(block);
      total += block.decodedSize;
    } else if (type === S2_CHUNK.identifier) {
      checkIdentifier(stream.subarray(start, end));
    } else if (type < FIRST_SKIPPABLE) {
      throw damaged(`unknown chunk type ${type}`);
    }
    if (total > maxSize) {
      throw tooLong("s2", maxSize);
    }
    offset = end;
  }
  return blocks;
}

function readBlock(
  view: DataView,
  { stored, start, end }: { stored: boolean; start: number; end: number },
): Block {
  let body = start + 4;
  if (body > end) {
    throw damaged("a block without checksum");
  }
  const crc = view.getUint32(start, true);
  let decodedSize = end - body;
  if (!stored) {
    decodedSize = 0;
    // LEB128 of at most 4 bytes: the largest block needs 23 bits.
    for (let shift = 0; ; shift += 7) {
      if (body >= end || shift > 21) {
        throw damaged("a block without length");
      }
      const byte = view.getUint8(body++);
      decodedSize |= (byte & 127) << shift;
      if (byte < 128) {
        break;
      }
    }
  }
  if (decodedSize > MAX_BLOCK) {
    throw damaged(`a block of ${decodedSize} bytes`);
  }
  return { crc, stored, start: body, end, decodedSize };
}

function checkIdentifier(body: Uint8Array): void {
  if (compareBytes(body, S2_MAGIC) !== 0 && compareBytes(body, SNAPPY_MAGIC) !== 0) {
    throw damaged("neither S2 nor Snappy");
  }
}

/**
 * Decodes the elements of one block; true when they fill `target` exactly. The low two bits of a tag tell a literal
 * from a copy with an offset of 11, 16 or 32 bits. Hot loop: numbers only, allocating for literals above 64 bytes
 * alone; what is read past the end of `source` is caught by the check of `from` after each element.
 */
function decodeBlock(source: Uint8Array, target: Uint8Array): boolean {
  const end = source.length;
  const size = target.length;
  let from = 0;
  let to = 0;
  let copyOffset = 0;
  while (from < end) {
    const tag = source[from++] as number; // from < end
    let length = tag >>> 2;
    if ((tag & 3) === 0) {
      if (length >= 60) {
        const lengthBytes = length - 59;
        length = littleEndian(source, from, lengthBytes);
        from += lengthBytes;
      }
      length++;
      if (length > end - from || length > size - to) {
        return false;
      }
      if (length > 64) {
        target.set(source.subarray(from, from + length), to);
      } else {
        for (let index = 0; index < length; index++) {
          target[to + index] = source[from + index] as number; // checked above
        }
      }
      from += length;
      to += length;
      continue;
    }
    if ((tag & 3) === 1) {
      const newOffset = ((tag & 0xe0) << 3) | littleEndian(source, from++, 1);
      length &= 7;
      if (newOffset !== 0) {
        copyOffset = newOffset;
      } else if (length >= 5) {
        // A repeat of the last offset, with its length in 1, 2 or 3 more bytes (spec §3.4).
        const lengthBytes = length - 4;
        const base = lengthBytes === 1 ? 4 : 1 << (8 * (lengthBytes - 1));
        length = littleEndian(source, from, lengthBytes) + base;
        from += lengthBytes;
      }
      length += 4;
    } else {
      const offsetBytes = (tag & 3) === 2 ? 2 : 4;
      copyOffset = littleEndian(source, from, offsetBytes);
      from += offsetBytes;
      length++;
    }
    if (from > end || copyOffset === 0 || copyOffset > to || length > size - to) {
      return false;
    }
    copyWithin(target, to, copyOffset, length);
    to += length;
  }
  return to === size;
}

/** Copies forwards, so that what was just written may be copied again. */
function copyWithin(target: Uint8Array, to: number, offset: number, length: number): void {
  if (length > 64 && offset >= length) {
    target.copyWithin(to, to - offset, to - offset + length);
    return;
  }
  const stop = to + length;
  for (let index = to; index < stop; index++) {
    target[index] = target[index - offset] as number; // offset <= to
  }
}

/** Unsigned number of `count` bytes, at most 4; bytes past the end count as 0. */
function littleEndian(bytes: Uint8Array, offset: number, count: number): number {
  let value = 0;
  for (let index = count - 1; index >= 0; index--) {
    value = value * 256 + (bytes[offset + index] ?? 0);
  }
  return value;
}

function damaged(what: string): VarveError {
  return new VarveError("corrupt", `s2: ${what}`);
}
