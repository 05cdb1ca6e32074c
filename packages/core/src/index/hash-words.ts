import { hexDigit } from "./content-id.ts";

/** The hash of a content as an index holds it: words of four bytes, big-endian; the last one holds the fewer bytes that are left. */

/** Puts the hash at `start` of `bytes` into `words`. Allocates nothing. */
export function readHashBytes(
  words: Uint32Array,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  let word = 0;
  for (let index = start; index < end; index++) {
    word = (word << 8) | (bytes[index] as number); // the caller's hash lies within
    const count = index - start + 1;
    if ((count & 3) === 0 || index + 1 === end) {
      words[(count - 1) >>> 2] = word;
      word = 0;
    }
  }
}

/** The same of the hex digits from `start` to the end of `text`. */
export function readHashDigits(words: Uint32Array, text: string, start: number): void {
  let word = 0;
  for (let index = start; index < text.length; index++) {
    word = (word << 4) | hexDigit(text.charCodeAt(index));
    const digits = index - start + 1;
    if (digits % 8 === 0 || index + 1 === text.length) {
      words[(digits - 1) >>> 3] = word;
      word = 0;
    }
  }
}
