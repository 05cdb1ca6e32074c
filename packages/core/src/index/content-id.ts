import { fromHex, toHex } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";

declare const kind: unique symbol;
/** An optional letter `g`…`z` and the lower-case hex of the content's hash (spec §3.1). */
export type ContentId = string & { readonly [kind]: "content" };

/** "" for file data, `k` directory, `x` indirect index, `m` manifest; other letters `g`…`z` are legal. */
export type ContentPrefix = string;

/** Parses `[g-z]?` followed by the hash in lower-case hex. Throws `invalid-argument`. */
export function parseContentId(text: string): ContentId {
  if (!/^[g-z]?(?:[0-9a-f]{2}){1,32}$/.test(text)) {
    throw new VarveError(
      "invalid-argument",
      `not a content id: ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return text as ContentId; // the check above is the definition of the brand
}

export function contentIdOf(prefix: ContentPrefix, hash: Uint8Array): ContentId {
  return (prefix + toHex(hash)) as ContentId; // right by construction
}

/** The letter, or "". An odd length means that there is one. */
export function contentPrefix(id: ContentId): ContentPrefix {
  return id.length % 2 === 1 ? id.slice(0, 1) : "";
}

/** The hash that names the content, without the prefix. */
export function contentHash(id: ContentId): Uint8Array {
  return fromHex(id.length % 2 === 1 ? id.slice(1) : id);
}

/** The binary key (spec §3.1): prefix letter or 0, then the hash. */
export function contentKey(id: ContentId): Uint8Array {
  const key = new Uint8Array(keySizeOf(id));
  writeContentKey(id, key, 0);
  return key;
}

/** The first byte of a binary key. */
export function prefixCode(prefix: ContentPrefix): number {
  return prefix === "" ? 0 : prefix.charCodeAt(0);
}

/** Bytes of the binary key. */
export function keySizeOf(id: ContentId): number {
  return 1 + Math.floor(id.length / 2);
}

/** {@link contentKey} into `target`. */
export function writeContentKey(id: ContentId, target: Uint8Array, offset: number): void {
  const start = id.length % 2;
  target[offset] = start === 0 ? 0 : id.charCodeAt(0);
  // Without fromHex and its check: an index file of a million entries makes a million keys.
  for (let place = start, at = offset + 1; place < id.length; place += 2, at++) {
    target[at] = (hexDigit(id.charCodeAt(place)) << 4) | hexDigit(id.charCodeAt(place + 1));
  }
}

/** The value of a lower-case hex digit. */
export function hexDigit(code: number): number {
  return code < 0x3a ? code - 0x30 : code - 0x57;
}
