/**
 * Bytes made from a seed, the same on every machine. Only shifts and xors in the hot loops: 32 bits a step, and about
 * 1 GB/s (random) and 300 MB/s (text) on the machine where datasets of gigabytes are made of them.
 */

/** A seed for one of many things of one kind; never 0, which xorshift could not leave. */
export function seedOf(...numbers: readonly number[]): number {
  let hash = 0x9e3779b9;
  for (const number of numbers) {
    hash = Math.imul(hash ^ number, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash | 1;
}

/** A number of 0 up to, and without, `limit`, for a seed of {@link seedOf}. */
export function pick(seed: number, limit: number): number {
  return (next(next(seed)) >>> 0) % limit;
}

/** Bytes that do not compress. */
export function fillRandom(target: Uint8Array, seed: number): void {
  const words = new Uint32Array(target.length >>> 2);
  let state = seed;
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  target.set(new Uint8Array(words.buffer));
  for (let index = words.length << 2; index < target.length; index++) {
    state = next(state);
    target[index] = state;
  }
}

/** Lines of made-up words, some much more frequent than others: it compresses about as source code does. */
export function fillText(target: Uint8Array, seed: number): void {
  let state = seed;
  let at = 0;
  let column = 0;
  while (at < target.length) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    // The product of two even numbers is a skewed one: frequent words come first.
    const word = ((state & 0x7ff) * ((state >>> 11) & 0x7ff)) >>> 11;
    const end = Math.min(WORD_ENDS[word] ?? 0, (WORD_STARTS[word] ?? 0) + target.length - at);
    for (let from = WORD_STARTS[word] ?? 0; from < end; from++) {
      target[at++] = WORD_BYTES[from] ?? 0;
      column++;
    }
    if (at < target.length) {
      const endOfLine = column > 60;
      target[at++] = endOfLine ? 0x0a : 0x20;
      column = endOfLine ? 0 : column;
    }
  }
}

function next(state: number): number {
  let value = state;
  value ^= value << 13;
  value ^= value >>> 17;
  value ^= value << 5;
  return value;
}

const WORD_COUNT = 2048;
const WORD_STARTS = new Uint32Array(WORD_COUNT);
const WORD_ENDS = new Uint32Array(WORD_COUNT);
const WORD_BYTES = new Uint8Array(WORD_COUNT * 16);

{
  let at = 0;
  for (let word = 0; word < WORD_COUNT; word++) {
    WORD_STARTS[word] = at;
    const length = 2 + pick(seedOf(word), 14);
    for (let index = 0; index < length; index++) {
      WORD_BYTES[at++] = 0x61 + pick(seedOf(word, index), 26);
    }
    WORD_ENDS[word] = at;
  }
}
