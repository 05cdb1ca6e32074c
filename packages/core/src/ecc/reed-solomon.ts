/**
 * Reed-Solomon over GF(2^8) with polynomial 0x11D (spec §7), seen as interpolation: the data shards are the
 * values of a polynomial at the points 0…d-1, the parity shards its values at d…d+q-1. Any d of the values
 * give all others, as sums with weights from {@link Field.weights}; that one row of weights is the encoder's
 * matrix row and the decoder's inverse alike.
 */
export interface Field {
  /** Weights w such that f(at) = Σ w[i]·f(points[i]) for every polynomial of degree below `points.length`. Points are distinct and differ from `at`. */
  weights(points: readonly number[], at: number): Uint8Array;
  multiply(a: number, b: number): number;
  /** `target[targetStart + i] ^= weight · source[sourceStart + i]` for `length` bytes. */
  addScaled(
    weight: number,
    source: Uint8Array,
    sourceStart: number,
    target: Uint8Array,
    targetStart: number,
    length: number,
  ): void;
}

/** Computes all parity shards of a block at once. */
export interface ParityEncoder {
  /** Takes in data shard `number`: `length` bytes of `source`; what is missing to a whole shard counts as zeros. */
  add(number: number, source: Uint8Array, start: number, length: number): void;
  /** Writes parity shard `parity` to `target`. */
  write(parity: number, target: Uint8Array, start: number): void;
  /** Makes ready for the next block. */
  reset(): void;
}

/** Parity shards whose products share one 32-bit table entry. */
const LANES = 4;

/**
 * Products of every data shard's weights with every byte, four parity shards an entry: a look-up then works
 * on four shards. About 256·d·q bytes, 4 MB at the very most.
 */
export function createParityTable(field: Field, rows: readonly Uint8Array[]): Uint32Array {
  const dataShards = rows[0]?.length ?? 0;
  const groups = Math.ceil(rows.length / LANES);
  const table = new Uint32Array(groups * dataShards * 256);
  rows.forEach((row, parity) => {
    const group = Math.floor(parity / LANES);
    const shift = (parity % LANES) * 8;
    row.forEach((weight, number) => {
      const base = (group * dataShards + number) << 8;
      for (let byte = 0; byte < 256; byte++) {
        const entry = table[base | byte] as number; // sized for every group and shard
        table[base | byte] = entry | (field.multiply(weight, byte) << shift);
      }
    });
  });
  return table;
}

export function createParityEncoder(
  table: Uint32Array,
  options: { dataShards: number; parityShards: number; shardSize: number },
): ParityEncoder {
  const { dataShards, parityShards, shardSize } = options;
  const groups = Math.ceil(parityShards / LANES);
  const sums = new Uint32Array(groups * shardSize);
  return {
    add(number, source, start, length) {
      for (let group = 0; group < groups; group++) {
        const base = (group * dataShards + number) << 8;
        addProducts(table, base, source, start, sums, group * shardSize, length);
      }
    },
    write(parity, target, start) {
      const from = Math.floor(parity / LANES) * shardSize;
      const shift = (parity % LANES) * 8;
      for (let index = 0; index < shardSize; index++) {
        target[start + index] = (sums[from + index] as number) >>> shift; // stored modulo 256
      }
    },
    reset() {
      sums.fill(0);
    },
  };
}

/** Hot loop: one table look-up and one exclusive or for each byte and four parity shards. */
function addProducts(
  table: Uint32Array,
  base: number,
  source: Uint8Array,
  start: number,
  sums: Uint32Array,
  sumsStart: number,
  length: number,
): void {
  for (let index = 0; index < length; index++) {
    const byte = source[start + index] as number; // the caller's ranges lie inside
    const at = sumsStart + index;
    sums[at] = (sums[at] as number) ^ (table[base | byte] as number);
  }
}

const POLYNOMIAL = 0x11d;

export function createField(): Field {
  const { exponentials, logarithms } = powers();
  const products = productTable(exponentials, logarithms);

  // Additions of the field are exclusive ors, so a difference of two points is one as well.
  function log(value: number): number {
    return logarithms[value] as number; // value is a byte
  }

  return {
    weights(points, at) {
      let allFromAt = 0;
      for (const point of points) {
        allFromAt += log(point ^ at);
      }
      const row = new Uint8Array(points.length);
      points.forEach((point, index) => {
        let divisor = log(point ^ at);
        for (const other of points) {
          divisor += other === point ? 0 : log(point ^ other);
        }
        // 255 terms below 255 each: adding 255·256 keeps the remainder from going negative.
        row[index] = exponentials[(allFromAt - divisor + 255 * 256) % 255] as number;
      });
      return row;
    },
    multiply: (a, b) => products[(a << 8) | b] as number, // both are bytes
    addScaled(weight, source, sourceStart, target, targetStart, length) {
      // Hot loop: one table look-up a byte; the 256 products of a weight stay in the first-level cache.
      const row = weight << 8;
      for (let index = 0; index < length; index++) {
        const byte = source[sourceStart + index] as number; // the caller's ranges lie inside
        const at = targetStart + index;
        target[at] = (target[at] as number) ^ (products[row | byte] as number);
      }
    },
  };
}

function powers(): { exponentials: Uint8Array; logarithms: Uint8Array } {
  const exponentials = new Uint8Array(255);
  const logarithms = new Uint8Array(256);
  let value = 1;
  for (let power = 0; power < 255; power++) {
    exponentials[power] = value;
    logarithms[value] = power;
    value <<= 1;
    if (value > 255) {
      value ^= POLYNOMIAL;
    }
  }
  return { exponentials, logarithms };
}

/** `products[a << 8 | b]` = a·b. */
function productTable(exponentials: Uint8Array, logarithms: Uint8Array): Uint8Array {
  const products = new Uint8Array(65_536);
  for (let a = 1; a < 256; a++) {
    for (let b = 1; b < 256; b++) {
      const power = (logarithms[a] as number) + (logarithms[b] as number);
      products[(a << 8) | b] = exponentials[power % 255] as number;
    }
  }
  return products;
}
