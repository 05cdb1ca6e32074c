import { equalBytes, fromUtf8, utf8 } from "../base/bytes.ts";

/**
 * Names of directory entries. Kopia's JSON can only hold UTF-8, so a name that is not is stored with U+FFFD in
 * place of each bad byte, and its real bytes beside it (varve's extension `nameBytes`, which Kopia ignores).
 */

export interface EntryName {
  /** Valid UTF-8 text; U+FFFD stands for each byte that was not. */
  readonly name: string;
  /** The real bytes, only when they are not UTF-8. */
  readonly nameBytes?: Uint8Array | undefined;
}

/** The name as the format holds it. Keeps a copy of `bytes` where they are needed. */
export function nameOfBytes(bytes: Uint8Array): EntryName {
  const text = fromUtf8(bytes);
  // Not `slice`, which shares memory when Node hands in its own kind of array.
  return equalBytes(utf8(text), bytes)
    ? { name: text }
    : { name: replaceBadBytes(bytes), nameBytes: new Uint8Array(bytes) };
}

/** The name as the file system wants it. */
export function bytesOfName(entry: EntryName): Uint8Array {
  return entry.nameBytes ?? utf8(entry.name);
}

/** Equal for two entries exactly when their real names are equal; not for people to read. */
export function nameKey(entry: EntryName): string {
  // A NUL cannot stand in a name, so the two forms never meet.
  return entry.nameBytes === undefined ? entry.name : `\0${entry.nameBytes.join()}`;
}

/** Says why a name must not be used as a path component, or nothing when it may. */
export function nameProblem(entry: EntryName): string | undefined {
  const { name, nameBytes } = entry;
  if (name === "") {
    return "empty name";
  }
  if (name === "." || name === "..") {
    return "name stands for another directory";
  }
  if (name.includes("/") || name.includes("\0")) {
    return "name with a slash or NUL";
  }
  if (nameBytes !== undefined) {
    if (nameBytes.includes(0x2f) || nameBytes.includes(0)) {
      return "name with a slash or NUL";
    }
    // What a listing shows must be what a restore writes; a valid text has no business in `nameBytes`.
    const expected = nameOfBytes(nameBytes);
    if (expected.nameBytes === undefined || !name.startsWith(expected.name)) {
      return "nameBytes do not belong to the name";
    }
  }
  return undefined;
}

/** Order of the names' UTF-8 bytes, which is code point order; JavaScript's own is that of UTF-16 units. */
export function compareNames(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left !== right) {
      return codePointRank(left) - codePointRank(right);
    }
  }
  return a.length - b.length;
}

// Surrogates (U+D800…U+DFFF) belong to code points above U+FFFF: they go after U+E000…U+FFFF.
function codePointRank(unit: number): number {
  return unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/**
 * Go replaces every byte that starts no valid sequence by one U+FFFD; the web's decoder replaces the longest
 * valid beginning of a sequence by one. Kopia's names need Go's way.
 */
function replaceBadBytes(bytes: Uint8Array): string {
  let text = "";
  let offset = 0;
  while (offset < bytes.length) {
    const length = sequenceLength(bytes, offset);
    text += length === 0 ? "\ufffd" : fromUtf8(bytes.subarray(offset, offset + length));
    offset += Math.max(1, length);
  }
  return text;
}

/** Bytes of the valid UTF-8 sequence at `offset`, 0 when there is none. */
function sequenceLength(bytes: Uint8Array, offset: number): number {
  const first = bytes[offset] ?? 0;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  const sequence = bytes.subarray(offset, offset + length);
  return sequence.length === length && equalBytes(utf8(fromUtf8(sequence)), sequence) ? length : 0;
}
