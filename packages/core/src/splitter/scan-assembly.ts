/**
 * Assembles the WebAssembly module of a scan: one memory, and `scan(from, to, mask, hash)`, which rolls the hash over
 * the bytes from one address to another and gives the address behind the first byte after which no bit of `mask` is
 * set, or 0 with the hash left at {@link HASH_AT}. It takes {@link STEP} bytes a turn and may look at as many too many.
 */
export function assembleScan(round: Round): Uint8Array<ArrayBuffer> {
  const bytes = Array.from({ length: STEP }, (_, offset) => [
    ...round(offset),
    ...[TEE, HASH],
    // if ((hash & mask) === 0) return from + offset + 1
    ...[GET, MASK, AND, IS_ZERO, IF, NO_RESULT],
    ...[GET, FROM, CONST, offset + 1, ADD, RETURN, END],
  ]).flat();
  const body = [
    ...[LOOP, NO_RESULT, ...bytes],
    // from += STEP; once more while from < to
    ...[GET, FROM, CONST, STEP, ADD, TEE, FROM, GET, TO, LESS_UNSIGNED, BRANCH_IF, 0, END],
    ...[CONST, 0, GET, HASH, ...STORE, ...varint(HASH_AT)],
    ...[CONST, 0, END],
  ];
  const magicAndVersion = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  return Uint8Array.from([
    ...magicAndVersion,
    ...sized(1, [1, 0x60, 4, I32, I32, I32, I32, 1, I32]),
    ...sized(3, [1, 0]),
    ...sized(5, [1, 0, PAGES]),
    ...sized(7, [2, ...named("scan"), 0, 0, ...named("memory"), 2, 0]),
    ...sized(10, [1, ...sized(undefined, [0, ...body])]),
  ]);
}

/** Instructions that leave on the stack the hash after the byte at `from + offset`, `offset` below {@link STEP}. */
export type Round = (offset: number) => readonly number[];

/** hash = (hash >>> 1) + table[byte] */
export const gearRound: Round = (offset) => [
  ...[GET, HASH, CONST, 1, SHIFT_RIGHT_UNSIGNED],
  ...[...tableEntry(offset), ADD],
];

/** hash = rotl(hash, 1) ^ table[byte] ^ table[byte 64 before]; `from` is where that one lies. */
export const buzhashRound: Round = (offset) => [
  ...[...tableEntry(offset), ...tableEntry(offset + 64), XOR],
  ...[GET, HASH, CONST, 1, ROTATE_LEFT, XOR],
];

// The memory is the table of 256 words, the hash, and what is scanned.
export const HASH_AT: number = 1024;
export const BLOCK_AT: number = 2048;
export const STEP: number = 8;
const PAGES = 2;

// Opcodes and types of the WebAssembly specification, as far as they are used.
const I32 = 0x7f;
const NO_RESULT = 0x40;
const LOOP = 0x03;
const IF = 0x04;
const END = 0x0b;
const RETURN = 0x0f;
const BRANCH_IF = 0x0d;
const GET = 0x20;
const TEE = 0x22;
const CONST = 0x41;
const LOAD = [0x28, 2];
const LOAD_BYTE = [0x2d, 0];
const STORE = [0x36, 2];
const IS_ZERO = 0x45;
const LESS_UNSIGNED = 0x49;
const ADD = 0x6a;
const AND = 0x71;
const XOR = 0x73;
const SHIFT_LEFT = 0x74;
const SHIFT_RIGHT_UNSIGNED = 0x76;
const ROTATE_LEFT = 0x77;
// The function's parameters.
const FROM = 0;
const TO = 1;
const MASK = 2;
const HASH = 3;

/** table[byte at from + offset] */
function tableEntry(offset: number): readonly number[] {
  return [GET, FROM, ...LOAD_BYTE, ...varint(offset), CONST, 2, SHIFT_LEFT, ...LOAD, 0];
}

function sized(section: number | undefined, content: readonly number[]): readonly number[] {
  return [...(section === undefined ? [] : [section]), ...varint(content.length), ...content];
}

function named(name: string): readonly number[] {
  return [name.length, ...Array.from(name, (letter) => letter.charCodeAt(0))];
}

function varint(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
