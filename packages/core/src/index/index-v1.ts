import { ByteReader } from "../base/cursor.ts";
import type { BlobId } from "../blob/store.ts";
import {
  corruptIndex,
  type EntryFields,
  type IndexLayout,
  MAX_CONTENT_LENGTH,
  MAX_TIMESTAMP_SECONDS,
  readPackName,
  V1_OVERHEAD,
} from "./index-layout.ts";

const HEADER_SIZE = 8;
const ENTRY_SIZE = 20;

/** Spec §4.3. The length of `bytes` bounds everything that is read later. Throws `corrupt`. */
export function openIndexV1(bytes: Uint8Array): IndexLayout {
  const header = new ByteReader(bytes, { what: "index file" });
  header.u8();
  const keySize = header.u8();
  const entrySize = header.u16();
  const count = header.u32();
  if (entrySize !== ENTRY_SIZE || HEADER_SIZE + count * (keySize + ENTRY_SIZE) > bytes.length) {
    throw corruptIndex(`${count} entries of ${keySize}+${entrySize} in ${bytes.length} bytes`);
  }
  return new LayoutV1(bytes, { keySize, count });
}

class LayoutV1 implements IndexLayout {
  readonly version = 1;
  readonly keySize: number;
  readonly entrySize: number = ENTRY_SIZE;
  readonly count: number;
  readonly entriesOffset: number = HEADER_SIZE;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #packOfPlace = new Map<number, number>();
  readonly #packs: { readonly offset: number; readonly length: number }[] = [];

  constructor(bytes: Uint8Array, options: { keySize: number; count: number }) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.keySize = options.keySize;
    this.count = options.count;
  }

  get packCount(): number {
    return this.#packs.length;
  }

  packName(pack: number): BlobId {
    const place = this.#packs[pack];
    if (place === undefined) {
      throw corruptIndex(`no pack ${pack}`);
    }
    return readPackName(this.#bytes, place.offset, place.length);
  }

  readValue(offset: number, fields: EntryFields): void {
    const view = this.#view;
    const offsetAndFlag = view.getUint32(offset + 12);
    fields.timestampSeconds = view.getUint16(offset) * 2 ** 32 + view.getUint32(offset + 2);
    fields.formatVersion = view.getUint8(offset + 6);
    fields.pack = this.#packAt(view.getUint32(offset + 8), view.getUint8(offset + 7));
    fields.deleted = offsetAndFlag >= 2 ** 31;
    fields.packOffset = offsetAndFlag % 2 ** 31;
    fields.packedLength = view.getUint32(offset + 16);
    fields.originalLength = fields.packedLength - V1_OVERHEAD; // spec §4.3: not stored
    fields.compressionHeaderId = 0;
    fields.encryptionKeyId = 0;
    if (fields.originalLength < 0 || fields.packedLength >= MAX_CONTENT_LENGTH) {
      throw corruptIndex(`packed length ${fields.packedLength}`);
    }
    if (fields.timestampSeconds >= MAX_TIMESTAMP_SECONDS) {
      throw corruptIndex(`timestamp ${fields.timestampSeconds}`);
    }
  }

  #packAt(offset: number, length: number): number {
    const place = offset * 256 + length;
    let pack = this.#packOfPlace.get(place);
    if (pack === undefined) {
      readPackName(this.#bytes, offset, length); // throws unless it is a blob id
      pack = this.#packs.push({ offset, length }) - 1;
      this.#packOfPlace.set(place, pack);
    }
    return pack;
  }
}
