import { toHex } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobId } from "../blob/store.ts";
import { type ContentId, contentKey } from "./content-id.ts";
import type { ContentInfo } from "./content-info.ts";
import {
  corruptIndex,
  type EntryFields,
  emptyFields,
  type IndexLayout,
  infoOf,
  MAX_KEY_SIZE,
  requireReadable,
} from "./index-layout.ts";
import { openIndexV1 } from "./index-v1.ts";
import { openIndexV2 } from "./index-v2.ts";

/**
 * Pack-index files: sorted tables from content id to its place in a pack (spec §4.3, §4.4). They are read from
 * storage, so everything is checked here, once; what comes after may trust a parsed file. No I/O.
 */

/** A checked index file. Keeps `bytes`, which must not change. */
export interface IndexFile {
  readonly version: 1 | 2;
  /** Entries. */
  readonly count: number;
  /** 1 + hash length in bytes. Means nothing when `count` is 0. */
  readonly keySize: number;
  /** In ascending order of the keys. */
  entries(): Iterable<ContentInfo>;
  /** Throws `format-unsupported` for an entry under an encryption key of its own. */
  find(id: ContentId): ContentInfo | undefined;

  /** For scans without an object an entry: the key at `position` starts at `keyOffset(position)` of `bytes`. */
  readonly bytes: Uint8Array;
  readonly packCount: number;
  keyOffset(position: number): number;
  readFields(position: number, fields: EntryFields): void;
  packName(pack: number): BlobId;
}

/**
 * Parses an index file of version 1 or 2; bytes after its end are ignored. Throws `format-unsupported` for other
 * versions, `corrupt` for sizes, offsets or names that cannot be, and for keys that are not strictly ascending.
 */
export function parseIndex(bytes: Uint8Array): IndexFile {
  const layout = openLayout(bytes);
  if (layout.count > 0) {
    checkKeys(bytes, layout);
    checkValues(layout);
  }
  return new ParsedIndex(bytes, layout);
}

function openLayout(bytes: Uint8Array): IndexLayout {
  switch (bytes[0]) {
    case 1:
      return openIndexV1(bytes);
    case 2:
      return openIndexV2(bytes);
    case undefined:
      throw corruptIndex("empty");
    default:
      throw new VarveError("format-unsupported", `index file of version ${bytes[0]}`);
  }
}

// Kopia writes key size 255 into an empty file, so sizes are only looked at where there are keys.
function checkKeys(bytes: Uint8Array, { keySize, entrySize, count, entriesOffset }: IndexLayout) {
  if (keySize < 2 || keySize > MAX_KEY_SIZE) {
    throw corruptIndex(`key size ${keySize}`);
  }
  const stride = keySize + entrySize;
  let offset = entriesOffset;
  for (let position = 0; position < count; position++, offset += stride) {
    const prefix = bytes[offset] as number; // the layout lies within the bytes
    if (prefix !== 0 && (prefix < 0x67 || prefix > 0x7a)) {
      throw corruptIndex(`content prefix ${prefix} at ${offset}`);
    }
    if (position > 0 && compareAt(bytes, offset - stride, bytes, offset, keySize) >= 0) {
      throw corruptIndex(`keys are not ascending at ${offset}`);
    }
  }
}

function checkValues(layout: IndexLayout): void {
  const { keySize, entrySize, count, entriesOffset } = layout;
  const fields = emptyFields();
  for (let position = 0; position < count; position++) {
    layout.readValue(entriesOffset + position * (keySize + entrySize) + keySize, fields);
  }
}

function compareAt(a: Uint8Array, atA: number, b: Uint8Array, atB: number, length: number): number {
  for (let index = 0; index < length; index++) {
    const difference = (a[atA + index] as number) - (b[atB + index] as number); // within both
    if (difference !== 0) {
      return difference;
    }
  }
  return 0;
}

class ParsedIndex implements IndexFile {
  readonly bytes: Uint8Array;
  readonly #layout: IndexLayout;
  readonly #stride: number;

  constructor(bytes: Uint8Array, layout: IndexLayout) {
    this.bytes = bytes;
    this.#layout = layout;
    this.#stride = layout.keySize + layout.entrySize;
  }

  get version(): 1 | 2 {
    return this.#layout.version;
  }

  get count(): number {
    return this.#layout.count;
  }

  get keySize(): number {
    return this.#layout.keySize;
  }

  get packCount(): number {
    return this.#layout.packCount;
  }

  keyOffset(position: number): number {
    return this.#layout.entriesOffset + position * this.#stride;
  }

  readFields(position: number, fields: EntryFields): void {
    this.#layout.readValue(this.keyOffset(position) + this.keySize, fields);
  }

  packName(pack: number): BlobId {
    return this.#layout.packName(pack);
  }

  *entries(): Iterable<ContentInfo> {
    const fields = emptyFields();
    for (let position = 0; position < this.count; position++) {
      this.readFields(position, fields);
      yield infoOf(this.#idAt(position), fields, this.packName(fields.pack));
    }
  }

  find(id: ContentId): ContentInfo | undefined {
    const position = this.#positionOf(id);
    if (position === undefined) {
      return undefined;
    }
    const fields = emptyFields();
    this.readFields(position, fields);
    requireReadable(id, fields.encryptionKeyId);
    return infoOf(id, fields, this.packName(fields.pack));
  }

  #idAt(position: number): ContentId {
    const offset = this.keyOffset(position);
    const prefix = this.bytes[offset] as number; // checked by parseIndex
    const hex = toHex(this.bytes.subarray(offset + 1, offset + this.keySize));
    return ((prefix === 0 ? "" : String.fromCharCode(prefix)) + hex) as ContentId; // checked by parseIndex
  }

  #positionOf(id: ContentId): number | undefined {
    const key = contentKey(id);
    if (key.length !== this.keySize) {
      return undefined;
    }
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const order = compareAt(this.bytes, this.keyOffset(middle), key, 0, key.length);
      if (order === 0) {
        return middle;
      }
      if (order < 0) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return undefined;
  }
}
