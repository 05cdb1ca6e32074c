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
  const start = id.length % 2;
  const key = new Uint8Array(1 + (id.length - start) / 2);
  key[0] = start === 0 ? 0 : id.charCodeAt(0);
  // Without fromHex and its check: an index file of a million entries makes a million keys.
  for (let index = 1; index < key.length; index++) {
    const place = start + (index - 1) * 2;
    key[index] = (hexDigit(id.charCodeAt(place)) << 4) | hexDigit(id.charCodeAt(place + 1));
  }
  return key;
}

/** The value of a lower-case hex digit. */
export function hexDigit(code: number): number {
  return code < 0x3a ? code - 0x30 : code - 0x57;
}
