import { createRequire } from "node:module";
import { VarveError } from "../base/errors.ts";
import { runDecoder, tooLong } from "./run-decoder.ts";

/** The part of lz4js used here; like all of it, it trusts its input. Returns where in `target` the block ended. */
interface Lz4Library {
  decompressBlock(
    source: Uint8Array,
    target: Uint8Array,
    sourceOffset: number,
    sourceLength: number,
    targetOffset: number,
  ): number;
}

interface Block {
  readonly offset: number;
  readonly length: number;
  readonly stored: boolean;
}

const MAGIC = 0x184d2204;
const STORED = 0x80000000;
const MIN_MATCH = 4;
const MAX_EXPANSION = 255; // a match length grows by at most 255 for each of its bytes

/**
 * One LZ4 frame, as old Kopia wrote it (spec §3.4, 0x1400). Reading only: Kopia no longer knows it. The blocks are
 * walked here before the library sees them, because it would loop over what a hostile length claims; the
 * checksums are not looked at, the content's hash covers them. Throws `corrupt`.
 */
export function decompressLz4(stream: Uint8Array, maxSize: number): Uint8Array {
  const { blocks, blockMaxSize } = readFrame(stream);
  const bound = blocks.reduce((sum, block) => sum + outputBound(block, blockMaxSize), 0);
  const output = new Uint8Array(Math.min(maxSize, bound));
  // Loaded when first needed: it is Node-only here, and allocates 5 MiB when loaded.
  const library: Lz4Library = createRequire(import.meta.url)("lz4js");
  let length = 0;
  for (const block of blocks) {
    if (block.stored) {
      if (length + block.length <= maxSize) {
        output.set(stream.subarray(block.offset, block.offset + block.length), length);
      }
      length += block.length;
    } else {
      const start = length;
      const { offset, length: size } = block;
      length = start + decodedLength(stream, block, start);
      if (length - start > blockMaxSize) {
        throw damaged("a block is longer than the frame allows");
      }
      if (length <= maxSize) {
        runDecoder("lz4", maxSize, () => {
          library.decompressBlock(stream, output, offset, size, start);
          return output;
        });
      }
    }
    if (length > maxSize) {
      throw tooLong("lz4", maxSize);
    }
  }
  return output.slice(0, length);
}

/**
 * How many bytes a block stands for, without making any; `produced` were made before it. Throws `corrupt` for lengths and distances that
 * lead out of the block or before the first byte: the library would copy for seconds what they claim.
 */
function decodedLength(stream: Uint8Array, block: Block, produced: number): number {
  const end = block.offset + block.length;
  let at = block.offset;
  let length = 0;
  const byte = (): number => {
    if (at >= end) {
      throw damaged("a sequence is cut short");
    }
    return stream[at++] as number; // inside the block, which is inside the stream
  };
  const count = (nibble: number): number => {
    let sum = nibble;
    for (let next = nibble === 15 ? 255 : 0; next === 255; sum += next) {
      next = byte();
    }
    return sum;
  };
  while (at < end) {
    const token = byte();
    const literals = count(token >>> 4);
    at += literals;
    length += literals;
    if (at >= end) {
      break;
    }
    const distance = byte() | (byte() << 8);
    if (distance === 0 || distance > produced + length) {
      throw damaged("a match begins before the first byte");
    }
    length += count(token & 15) + MIN_MATCH;
  }
  if (at > end) {
    throw damaged("literals reach beyond their block");
  }
  return length;
}

function outputBound(block: Block, blockMaxSize: number): number {
  return block.stored ? block.length : Math.min(blockMaxSize, block.length * MAX_EXPANSION);
}

function readFrame(stream: Uint8Array): { blocks: Block[]; blockMaxSize: number } {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  if (stream.length < 7 || view.getUint32(0, true) !== MAGIC) {
    throw damaged("not a frame");
  }
  const flags = view.getUint8(4);
  const sizeCode = (view.getUint8(5) >>> 4) & 7;
  if (flags >>> 6 !== 1 || sizeCode < 4 || (flags & 1) !== 0) {
    throw damaged("unsupported frame header");
  }
  const blockMaxSize = 1 << (8 + 2 * sizeCode);
  const checksumSize = (flags & 0x10) === 0 ? 0 : 4;
  const blocks: Block[] = [];
  for (let offset = (flags & 8) === 0 ? 7 : 15; ; ) {
    if (offset + 4 > stream.length) {
      throw damaged("cut short");
    }
    const word = view.getUint32(offset, true);
    if (word === 0) {
      return { blocks, blockMaxSize };
    }
    const length = word % STORED;
    offset += 4;
    if (length > blockMaxSize || offset + length + checksumSize > stream.length) {
      throw damaged("a block reaches beyond its bound");
    }
    blocks.push({ offset, length, stored: word >= STORED });
    offset += length + checksumSize;
  }
}

function damaged(what: string): VarveError {
  return new VarveError("corrupt", `lz4: ${what}`);
}
