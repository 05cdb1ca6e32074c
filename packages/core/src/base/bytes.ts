import { VarveError } from "./errors.ts";

const HEX_OF_BYTE: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, "0"),
);
const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/** Lower-case hex of `bytes`. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (let index = 0; index < bytes.length; index++) {
    text += HEX_OF_BYTE[bytes[index] as number]; // index < length
  }
  return text;
}

/** Bytes of lower- or upper-case hex. Throws `invalid-argument` for anything else. */
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >>> 1);
  let problem = text.length & 1;
  for (let index = 0; index < bytes.length; index++) {
    const high = valueOfDigit(text.charCodeAt(index * 2));
    const low = valueOfDigit(text.charCodeAt(index * 2 + 1));
    problem |= (high | low) & ~15;
    bytes[index] = (high << 4) | low;
  }
  if (problem !== 0) {
    throw new VarveError("invalid-argument", `not hex: ${JSON.stringify(text.slice(0, 100))}`);
  }
  return bytes;
}

/** -1 for what is no hex digit. */
function valueOfDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) {
    return code - 0x30;
  }
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** Standard base64 with padding, as Kopia's JSON carries byte arrays. */
export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let offset = 0; offset < bytes.length; offset += 8192) {
    binary += String.fromCharCode(...bytes.subarray(offset, offset + 8192));
  }
  return btoa(binary);
}

/** Bytes of standard base64. Throws `corrupt` for anything else. */
export function fromBase64(text: string): Uint8Array {
  let binary: string;
  try {
    binary = atob(text);
  } catch (cause) {
    throw new VarveError("corrupt", "not base64", { cause });
  }
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** UTF-8 of `text`; lone surrogates become U+FFFD. */
export function utf8(text: string): Uint8Array {
  return textEncoder.encode(text);
}

/** Text of UTF-8 `bytes`; invalid sequences become U+FFFD, a byte order mark is kept. */
export function fromUtf8(bytes: Uint8Array): string {
  return textDecoder.decode(bytes);
}

/** One new array holding all `parts` in order. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(totalLength(parts));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Sum of the lengths of `parts`. */
export function totalLength(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

/** Bytewise order, unsigned: negative when `a` comes first, 0 when equal. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index++) {
    const difference = (a[index] as number) - (b[index] as number); // index < both lengths
    if (difference !== 0) {
      return difference;
    }
  }
  return a.length - b.length;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}
