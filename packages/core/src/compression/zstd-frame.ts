import { VarveError } from "../base/errors.ts";

/** What the header and the block headers of a frame say about the size of its content. */
export interface ZstdFrame {
  /** As declared by the header, if it is. A decoder has to check it; it is never more than `bound`. */
  readonly contentSize: number | undefined;
  /** No decoder gets more out of the blocks: less than one block of 128 KiB too much when all but the last are full. */
  readonly bound: number;
  /** How far back a match may reach, in bytes. */
  readonly windowSize: number;
}

const MAX_BLOCK = 128 * 1024;
/** The largest window any of Kopia's levels writes; decoders allocate what the header asks for. */
const MAX_WINDOW = 32 * 1024 * 1024;
const MAGIC = 0xfd2fb528;
const DICTIONARY_ID_SIZES: readonly number[] = [0, 1, 2, 4];

/**
 * Walks one zstd frame (RFC 8878), which must be the whole stream (spec §3.4), without decoding it. Kopia's frames
 * need not declare their size, and the libraries either trust a declared size or grow without end: this is what
 * bounds them. Throws `corrupt`.
 */
export function readZstdFrame(stream: Uint8Array): ZstdFrame {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  if (stream.length < 6 || view.getUint32(0, true) !== MAGIC) {
    throw damaged("not a frame");
  }
  const descriptor = view.getUint8(4);
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >>> 6;
  const sizeBytes = sizeFlag === 0 ? Number(singleSegment) : 1 << sizeFlag;
  const dictionaryBytes = DICTIONARY_ID_SIZES[descriptor & 3] ?? 0;
  const sizeOffset = 5 + Number(!singleSegment) + dictionaryBytes;
  if ((descriptor & 8) !== 0 || dictionaryBytes !== 0) {
    throw damaged("reserved bits or a dictionary");
  }
  if (sizeOffset + sizeBytes > stream.length) {
    throw damaged("cut short");
  }
  const contentSize = readContentSize(view, sizeOffset, sizeBytes);
  const windowSize = singleSegment ? (contentSize ?? 0) : readWindowSize(view.getUint8(5));
  if (!singleSegment && windowSize > MAX_WINDOW) {
    throw damaged(`a window of ${windowSize} bytes`);
  }
  const { bound, end } = walkBlocks(view, sizeOffset + sizeBytes);
  const checksumSize = (descriptor & 4) === 0 ? 0 : 4;
  if (end + checksumSize !== stream.length || (contentSize ?? 0) > bound) {
    throw damaged("the length does not agree with the header");
  }
  return { contentSize, bound, windowSize };
}

function readContentSize(view: DataView, offset: number, size: number): number | undefined {
  switch (size) {
    case 1:
      return view.getUint8(offset);
    case 2:
      return view.getUint16(offset, true) + 256;
    case 4:
      return view.getUint32(offset, true);
    case 8:
      // Loses low bits only above 2^53, where any bound is exceeded.
      return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
    default:
      return undefined;
  }
}

function readWindowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3));
  return base + (base / 8) * (descriptor & 7);
}

function walkBlocks(view: DataView, start: number): { bound: number; end: number } {
  let offset = start;
  let bound = 0;
  for (let last = false; !last; ) {
    if (offset + 3 > view.byteLength) {
      throw damaged("cut short");
    }
    const header = view.getUint16(offset, true) + view.getUint8(offset + 2) * 65536;
    last = (header & 1) === 1;
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (type === 3 || size > MAX_BLOCK) {
      throw damaged("a block that no encoder writes");
    }
    // Types: 0 stored, 1 one byte repeated `size` times, 2 compressed.
    offset += 3 + (type === 1 ? 1 : size);
    bound += type === 2 ? MAX_BLOCK : size;
  }
  return { bound, end: offset };
}

function damaged(what: string): VarveError {
  return new VarveError("corrupt", `zstd: ${what}`);
}
