import { HASH_WINDOW_BYTES } from "./dynamic.ts";

// Residues modulo P, a polynomial of degree 53 over GF(2), are held as a low half of 32 bits and a high half of 21.
const POLYNOMIAL = 0x2e3e3e4a305605n;
const DEGREE = 53n;

// MOD[b] = (b * x^53 mod P) ^ b << 53: it adds the residue of what was shifted out and clears the bits above the degree.
const MOD_LOW = new Int32Array(256);
const MOD_HIGH = new Int32Array(256);
for (let bit = 1; bit < 256; bit *= 2) {
  const entry = residueOfShifted(BigInt(bit)) ^ (BigInt(bit) << DEGREE);
  MOD_LOW[bit] = Number(entry & 0xffffffffn);
  MOD_HIGH[bit] = Number(entry >> 32n);
  addSums(bit, MOD_LOW);
  addSums(bit, MOD_HIGH);
}

// OUT[b] = b * x^504 mod P: the hash of b and 63 zero bytes, what b still counts when it leaves the window.
const OUT_LOW = new Int32Array(256);
const OUT_HIGH = new Int32Array(256);
for (let bit = 1; bit < 256; bit *= 2) {
  const hash = rabinKarp(Uint8Array.of(bit, ...new Uint8Array(HASH_WINDOW_BYTES - 1)), 64);
  OUT_LOW[bit] = hash.low;
  OUT_HIGH[bit] = hash.high;
  addSums(bit, OUT_LOW);
  addSums(bit, OUT_HIGH);
}

/** Over GF(2) the entry of a byte is the sum of those of its bits: a program that starts waits 10 ms less than for each by itself. */
function addSums(bit: number, table: Int32Array): void {
  for (let rest = 1; rest < bit; rest++) {
    table[bit + rest] = (table[bit] as number) ^ (table[rest] as number); // both below 256
  }
}

/** {@link FindCut} with Kopia's 64-bit RABINKARP (spec §5.4). */
export function findRabinKarpCut(
  window: Uint8Array,
  first: number,
  last: number,
  mask: number,
): number {
  let { low, high } = rabinKarp(window, first);
  // Hot loop, in 32-bit halves: BigInt arithmetic would be two orders of magnitude slower.
  for (let end = first; ; end++) {
    if ((low & mask) === 0) {
      return end;
    }
    if (end >= last) {
      return -1;
    }
    const out = window[end - 64] as number; // 0 <= end - 64; tables have 256 entries
    low ^= OUT_LOW[out] as number;
    high ^= OUT_HIGH[out] as number;
    const top = (high >>> 13) & 255; // bits 45..52, which the shift moves above the degree
    high = ((high << 8) | (low >>> 24)) ^ (MOD_HIGH[top] as number);
    low = ((low << 8) | (window[end] as number)) ^ (MOD_LOW[top] as number); // end < last <= length
  }
}

/** RABINKARP of the 64 bytes before `end`: the low 32 bits (signed) and the 21 above. */
export function rabinKarp(window: Uint8Array, end: number): { low: number; high: number } {
  let low = 0;
  let high = 0;
  for (let index = end - HASH_WINDOW_BYTES; index < end; index++) {
    const top = (high >>> 13) & 255;
    high = ((high << 8) | (low >>> 24)) ^ (MOD_HIGH[top] as number); // as above
    low = ((low << 8) | (window[index] as number)) ^ (MOD_LOW[top] as number);
  }
  return { low, high };
}

/** `byte * x^53 mod P`. */
function residueOfShifted(byte: bigint): bigint {
  let residue = byte;
  for (let power = 0n; power < DEGREE; power++) {
    residue <<= 1n;
    if (residue >> DEGREE === 1n) {
      residue ^= POLYNOMIAL;
    }
  }
  return residue;
}
