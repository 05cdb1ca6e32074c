import { maskedCrc32c } from "./crc32c.ts";
import { S2_CHUNK, S2_MAGIC } from "./s2-decoder.ts";

const BLOCK_SIZE = 1024 * 1024; // Kopia's own choice; readers take up to 4 MiB
const CHUNK_HEADER = 8; // type, 24-bit length, masked CRC-32C
const HASH_BITS = 15;
/** A copy from this far takes 5 bytes: of short ones the output could outgrow its room. */
const FAR = 65_536;
const FAR_MIN_LENGTH = 8;
/** The last bytes of a block start no match, so that four bytes can always be loaded. */
const TAIL = 8;

/**
 * A framed S2 stream (spec §3.4) of `data`. A greedy matcher with one hash table: the elements are Snappy's, with
 * S2's repeats for matches above 64 bytes; a block that does not shrink is stored.
 */
export function compressS2(data: Uint8Array): Uint8Array {
  const header = Uint8Array.of(S2_CHUNK.identifier, S2_MAGIC.length, 0, 0, ...S2_MAGIC);
  const blockCount = Math.ceil(data.length / BLOCK_SIZE);
  // Before a block is found not to shrink it may have grown by less than 1/64: a literal of 61 bytes has a tag of 2,
  // the copy of 4 after it saves 1. No mix of elements is dearer.
  const slack = Math.min(data.length, BLOCK_SIZE) / 64 + 16;
  const room = header.length + data.length + blockCount * CHUNK_HEADER + slack;
  const output = new Uint8Array(Math.ceil(room));
  output.set(header);
  const table = new Int32Array(1 << HASH_BITS);
  let to = header.length;
  for (let start = 0; start < data.length; start += BLOCK_SIZE) {
    to = writeBlock(data.subarray(start, start + BLOCK_SIZE), output, to, table);
  }
  return output.slice(0, to);
}

/** Writes one chunk at `to` and returns its end. */
function writeBlock(block: Uint8Array, output: Uint8Array, to: number, table: Int32Array): number {
  const body = to + CHUNK_HEADER;
  let type: number = S2_CHUNK.compressed;
  let end = encodeBlock(block, output, writeUvarint(block.length, output, body), table);
  if (end - body >= block.length) {
    type = S2_CHUNK.stored;
    output.set(block, body);
    end = body + block.length;
  }
  const view = new DataView(output.buffer);
  view.setUint32(to, type + (end - to - 4) * 256, true);
  view.setUint32(to + 4, maskedCrc32c(block), true);
  return end;
}

/**
 * Writes the elements of a block and returns their end. Where nothing matches, steps grow by one every 64 bytes:
 * random data goes through many times faster than text.
 */
function encodeBlock(
  block: Uint8Array,
  output: Uint8Array,
  start: number,
  table: Int32Array,
): number {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const limit = block.length - TAIL;
  table.fill(-1);
  let to = start;
  let literalStart = 0;
  for (let at = 0; at < limit; ) {
    const word = view.getInt32(at, true);
    const slot = Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
    const candidate = table[slot] as number; // slot has HASH_BITS bits
    table[slot] = at;
    if (candidate < 0 || view.getInt32(candidate, true) !== word) {
      at += 1 + ((at - literalStart) >>> 6);
      continue;
    }
    const length = 4 + commonLength(view, candidate + 4, at + 4);
    if (length < FAR_MIN_LENGTH && at - candidate >= FAR) {
      at++;
      continue;
    }
    to = writeLiteral(block, literalStart, at, output, to);
    to = writeCopy(output, to, at - candidate, length);
    at += length;
    literalStart = at;
  }
  return writeLiteral(block, literalStart, block.length, output, to);
}

/** How many bytes from `earlier` on equal those from `later` on. */
function commonLength(view: DataView, earlier: number, later: number): number {
  const end = view.byteLength;
  let at = later;
  const back = later - earlier;
  while (at + 4 <= end && view.getInt32(at - back, true) === view.getInt32(at, true)) {
    at += 4;
  }
  while (at < end && view.getUint8(at - back) === view.getUint8(at)) {
    at++;
  }
  return at - later;
}

function writeLiteral(
  block: Uint8Array,
  start: number,
  end: number,
  output: Uint8Array,
  offset: number,
): number {
  const length = end - start;
  if (length === 0) {
    return offset;
  }
  let to = offset;
  const rest = length - 1;
  if (rest < 60) {
    output[to++] = rest << 2;
  } else {
    const lengthBytes = rest < 256 ? 1 : rest < 65536 ? 2 : 3; // a block is below 2^24
    output[to++] = (59 + lengthBytes) << 2;
    to = writeLittleEndian(output, to, rest, lengthBytes);
  }
  if (length > 32) {
    output.set(block.subarray(start, end), to);
  } else {
    for (let index = 0; index < length; index++) {
      output[to + index] = block[start + index] as number; // start + index < end
    }
  }
  return to + length;
}

/** A copy of at least 4 bytes. One tag holds 64 of them; what is more is one repeat of the same offset. */
function writeCopy(output: Uint8Array, offset: number, distance: number, length: number): number {
  let to = offset;
  // A repeat is at least 4 long.
  const first = length <= 64 ? length : Math.min(64, length - 4);
  if (first < 12 && distance < 2048) {
    output[to++] = ((distance >>> 3) & 0xe0) | ((first - 4) << 2) | 1;
    output[to++] = distance & 255;
  } else if (distance < FAR) {
    output[to++] = ((first - 1) << 2) | 2;
    to = writeLittleEndian(output, to, distance, 2);
  } else {
    output[to++] = ((first - 1) << 2) | 3;
    to = writeLittleEndian(output, to, distance, 4);
  }
  return first === length ? to : writeRepeat(output, to, length - first);
}

function writeRepeat(output: Uint8Array, offset: number, length: number): number {
  const rest = length - 4;
  if (rest <= 4) {
    output[offset] = (rest << 2) | 1;
    output[offset + 1] = 0;
    return offset + 2;
  }
  const lengthBytes = rest < 4 + 0x100 ? 1 : rest < 0x100 + 0x10000 ? 2 : 3;
  const base = lengthBytes === 1 ? 4 : 1 << (8 * (lengthBytes - 1));
  output[offset] = ((4 + lengthBytes) << 2) | 1;
  output[offset + 1] = 0;
  return writeLittleEndian(output, offset + 2, rest - base, lengthBytes);
}

function writeLittleEndian(
  output: Uint8Array,
  offset: number,
  value: number,
  count: number,
): number {
  for (let index = 0; index < count; index++) {
    output[offset + index] = (value >>> (8 * index)) & 255;
  }
  return offset + count;
}

function writeUvarint(value: number, output: Uint8Array, offset: number): number {
  let to = offset;
  let rest = value;
  for (; rest >= 128; rest >>>= 7) {
    output[to++] = (rest & 127) | 128;
  }
  output[to++] = rest;
  return to;
}
