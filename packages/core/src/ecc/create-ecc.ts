import { VarveError } from "../base/errors.ts";
import { crc32 } from "./crc32.ts";
import type { Ecc } from "./ecc.ts";
import { createField, createParityEncoder, createParityTable, type Field } from "./reed-solomon.ts";

/** The one algorithm that Kopia registers. */
export const ECC_NAME = "REED-SOLOMON-CRC32";

/** How many shards a block has and how many payload bytes a shard holds at most. */
export interface EccParameters {
  readonly dataShards: number;
  readonly parityShards: number;
  readonly maxShardSize: number;
}

/**
 * Kopia's `REED-SOLOMON-CRC32` (spec §7): the payload, with its length in front, is cut into data shards; each
 * block of them gets parity shards; every shard carries a CRC-32, which is how damage is found. Throws
 * `format-unsupported` unless the percentage is an integer of 1 to 100.
 */
export function createEcc(overheadPercent: number): Ecc {
  const field = createField();
  const small = withTable(field, SMALL);
  const large = withTable(field, eccParameters(overheadPercent));
  return {
    encodedLength: (length) => {
      const layout = layoutOfPayload(small, large, length + LENGTH_SIZE);
      return dataStart(layout) + storedDataLength(layout);
    },
    encode: (data) => encode(layoutOfPayload(small, large, data.length + LENGTH_SIZE), data),
    decode: (encoded) => decode(field, layoutOfEncoded(small, large, encoded.length), encoded),
  };
}

/** Spec §7; the 32-bit roundings are part of the format. */
export function eccParameters(overheadPercent: number): EccParameters {
  if (!Number.isInteger(overheadPercent) || overheadPercent < 1 || overheadPercent > 100) {
    throw new VarveError("format-unsupported", `error correction of ${overheadPercent} percent`);
  }
  const f32 = Math.fround;
  const maxShardSize = maxShardSizeOf(overheadPercent);
  const free = Math.max(f32(overheadPercent - f32(400 / maxShardSize)), f32(0.01));
  const parityShards = clamp(Math.floor(f32(128 * f32(free / 100))), 1, 128);
  return parityShards === 1
    ? {
        dataShards: clamp(Math.floor(2 * f32(100 / free)), 128, 254),
        parityShards: 2,
        maxShardSize,
      }
    : { dataShards: 128, parityShards, maxShardSize };
}

function maxShardSizeOf(percent: number): number {
  if (percent >= 7) {
    return 64;
  }
  return percent >= 4 ? 128 : 2048 >> percent;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/** Sizes in bytes. */
const LENGTH_SIZE = 4;
const CRC_SIZE = 4;

/** Payloads too short for the large block; their shards grow with them, hence no maximum of their own. */
const SMALL: EccParameters = { dataShards: 6, parityShards: 2, maxShardSize: Infinity };

/** Parameters with the products that make the parity shards. */
interface Code extends EccParameters {
  readonly parityTable: Uint32Array;
}

function withTable(field: Field, parameters: EccParameters): Code {
  const points = Array.from({ length: parameters.dataShards }, (_, index) => index);
  const rows = Array.from({ length: parameters.parityShards }, (_, index) =>
    field.weights(points, parameters.dataShards + index),
  );
  return { ...parameters, parityTable: createParityTable(field, rows) };
}

/** Where the shards of one encoded payload lie: the parity shards of all blocks, then the data shards of all blocks. */
interface Layout {
  readonly code: Code;
  readonly shardSize: number;
  readonly blocks: number;
  /** Bytes of data shards that are stored, without CRCs: all of them, or what several blocks really fill. */
  readonly dataLength: number;
}

/** `length` includes the length field. */
function layoutOfPayload(small: Code, large: Code, length: number): Layout {
  const { dataShards, parityShards, maxShardSize } = large;
  const blockIn = dataShards * maxShardSize;
  if (length > blockIn) {
    const blocks = Math.ceil(length / blockIn);
    return { code: large, shardSize: maxShardSize, blocks, dataLength: length };
  }
  const code = length <= 8 * (dataShards + parityShards) ? small : large;
  const shardSize = Math.ceil(length / code.dataShards);
  return { code, shardSize, blocks: 1, dataLength: code.dataShards * shardSize };
}

function layoutOfEncoded(small: Code, large: Code, length: number): Layout {
  const shards = large.dataShards + large.parityShards;
  const blockOut = shards * (CRC_SIZE + large.maxShardSize);
  const blocks = Math.max(1, Math.ceil(length / blockOut));
  if (blocks > 1) {
    const dataLength = blocks * large.dataShards * large.maxShardSize;
    return { code: large, shardSize: large.maxShardSize, blocks, dataLength };
  }
  const smallOut = 8 * (CRC_SIZE + Math.ceil((8 * shards) / SMALL.dataShards));
  const code = length <= smallOut ? small : large;
  const perShard = Math.ceil(length / (code.dataShards + code.parityShards));
  const shardSize = Math.max(perShard, CRC_SIZE + 1) - CRC_SIZE;
  return { code, shardSize, blocks, dataLength: code.dataShards * shardSize };
}

function dataStart({ code, shardSize, blocks }: Layout): number {
  return blocks * code.parityShards * (CRC_SIZE + shardSize);
}

function storedDataLength({ shardSize, dataLength }: Layout): number {
  return dataLength + Math.ceil(dataLength / shardSize) * CRC_SIZE;
}

/** Where shard `number` of a block starts: 0…d-1 are data, then parity. */
function shardStart(layout: Layout, block: number, number: number): number {
  const { code, shardSize } = layout;
  const stride = CRC_SIZE + shardSize;
  return number < code.dataShards
    ? dataStart(layout) + (block * code.dataShards + number) * stride
    : (block * code.parityShards + number - code.dataShards) * stride;
}

function encode(layout: Layout, data: Uint8Array): Uint8Array {
  const { code, shardSize, blocks, dataLength } = layout;
  const { dataShards, parityShards } = code;
  const plain = new Uint8Array(dataLength);
  new DataView(plain.buffer).setUint32(0, data.length);
  plain.set(data, LENGTH_SIZE);
  const encoded = new Uint8Array(dataStart(layout) + storedDataLength(layout));
  const view = new DataView(encoded.buffer);
  const parity = createParityEncoder(code.parityTable, { dataShards, parityShards, shardSize });
  for (let block = 0; block < blocks; block++) {
    parity.reset();
    for (let number = 0; number < dataShards; number++) {
      const from = (block * dataShards + number) * shardSize;
      const length = Math.min(shardSize, dataLength - from);
      if (length <= 0) {
        break; // shards of padding alone are not stored and add nothing to the parity
      }
      const to = shardStart(layout, block, number);
      view.setUint32(to, crc32(plain, from, from + length, shardSize - length));
      encoded.set(plain.subarray(from, from + length), to + CRC_SIZE);
      parity.add(number, plain, from, length);
    }
    for (let number = 0; number < parityShards; number++) {
      const start = shardStart(layout, block, dataShards + number);
      const body = start + CRC_SIZE;
      parity.write(number, encoded, body);
      view.setUint32(start, crc32(encoded, body, body + shardSize));
    }
  }
  return encoded;
}

function decode(field: Field, layout: Layout, encoded: Uint8Array): Uint8Array {
  if (encoded.length < dataStart(layout)) {
    throw tooDamaged(encoded, "parity is cut off");
  }
  const { code, shardSize, blocks } = layout;
  // At most one block more than there is input, so that every shard lies inside.
  const padded = zeroExtended(encoded, shardStart(layout, blocks, 0));
  const view = new DataView(padded.buffer, padded.byteOffset, padded.byteLength);
  const isWhole = (block: number, number: number): boolean => {
    const start = shardStart(layout, block, number);
    const isPadding = blocks > 1 && start >= encoded.length; // never stored, known to be zero
    const body = start + CRC_SIZE;
    return isPadding || view.getUint32(start) === crc32(padded, body, body + shardSize);
  };
  const plain = new Uint8Array(blocks * code.dataShards * shardSize);
  for (let block = 0; block < blocks; block++) {
    const whole = firstWholeShards(code, (number) => isWhole(block, number));
    if (whole.length < code.dataShards) {
      throw tooDamaged(encoded, `block ${block} has ${whole.length} of ${code.dataShards} shards`);
    }
    const known = new Set(whole);
    for (let number = 0; number < code.dataShards; number++) {
      const to = (block * code.dataShards + number) * shardSize;
      if (known.has(number)) {
        const from = shardStart(layout, block, number) + CRC_SIZE;
        plain.set(padded.subarray(from, from + shardSize), to);
        continue;
      }
      field.weights(whole, number).forEach((weight, index) => {
        const source = shardStart(layout, block, whole[index] as number) + CRC_SIZE; // a weight for each
        field.addScaled(weight, padded, source, plain, to, shardSize);
      });
    }
  }
  return payloadOf(plain, encoded);
}

/** The numbers of the first d whole shards, fewer when there are not so many. */
function firstWholeShards(code: Code, isWhole: (number: number) => boolean): number[] {
  const whole: number[] = [];
  for (let number = 0; number < code.dataShards + code.parityShards; number++) {
    if (whole.length === code.dataShards) {
      break;
    }
    if (isWhole(number)) {
      whole.push(number);
    }
  }
  return whole;
}

function payloadOf(plain: Uint8Array, encoded: Uint8Array): Uint8Array {
  const length = new DataView(plain.buffer).getUint32(0);
  if (length > plain.length - LENGTH_SIZE) {
    throw tooDamaged(encoded, `it claims to hold ${length} bytes`);
  }
  return plain.subarray(LENGTH_SIZE, LENGTH_SIZE + length);
}

function zeroExtended(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length === length) {
    return bytes;
  }
  const extended = new Uint8Array(length);
  extended.set(bytes);
  return extended;
}

function tooDamaged(encoded: Uint8Array, what: string): VarveError {
  return new VarveError("corrupt", `correct ${encoded.length} bytes: ${what}`);
}
