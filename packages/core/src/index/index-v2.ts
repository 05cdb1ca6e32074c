import { ByteReader } from "../base/cursor.ts";
import type { BlobId } from "../blob/store.ts";
import { corruptIndex, type EntryFields, type IndexLayout, readPackName } from "./index-layout.ts";

const HEADER_SIZE = 17;
const MIN_ENTRY_SIZE = 16;
const MAX_ENTRY_SIZE = 19;
const PACK_SIZE = 5;
const FORMAT_SIZE = 6;

/** Spec §4.4. The length of `bytes` bounds everything that is read later. Throws `corrupt`. */
export function openIndexV2(bytes: Uint8Array): IndexLayout {
  const header = new ByteReader(bytes, { what: "index file" });
  header.u8();
  const keySize = header.u8();
  const entrySize = header.u16();
  const count = header.u32();
  const packCount = header.u32();
  const formatCount = header.u8();
  const baseTimestamp = header.u32();
  if (entrySize < MIN_ENTRY_SIZE || entrySize > MAX_ENTRY_SIZE) {
    throw corruptIndex(`entry size ${entrySize}`);
  }
  const packsOffset = HEADER_SIZE + count * (keySize + entrySize);
  const formatsOffset = packsOffset + packCount * PACK_SIZE;
  if (formatsOffset + formatCount * FORMAT_SIZE > bytes.length) {
    throw corruptIndex(
      `${count} entries of ${keySize}+${entrySize}, ${packCount} packs, ${formatCount} formats in ${bytes.length} bytes`,
    );
  }
  const layout = new LayoutV2(bytes, {
    keySize,
    entrySize,
    count,
    packCount,
    packsOffset,
    formatCount,
    formatsOffset,
    baseTimestamp,
  });
  for (let pack = 0; pack < packCount; pack++) {
    layout.packName(pack); // throws unless it is a blob id
  }
  return layout;
}

interface Places {
  readonly keySize: number;
  readonly entrySize: number;
  readonly count: number;
  readonly packCount: number;
  readonly packsOffset: number;
  readonly formatCount: number;
  readonly formatsOffset: number;
  readonly baseTimestamp: number;
}

class LayoutV2 implements IndexLayout {
  readonly version = 2;
  readonly keySize: number;
  readonly entrySize: number;
  readonly count: number;
  readonly entriesOffset: number = HEADER_SIZE;
  readonly packCount: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #places: Places;

  constructor(bytes: Uint8Array, places: Places) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#places = places;
    this.keySize = places.keySize;
    this.entrySize = places.entrySize;
    this.count = places.count;
    this.packCount = places.packCount;
  }

  packName(pack: number): BlobId {
    const offset = this.#places.packsOffset + pack * PACK_SIZE;
    return readPackName(this.#bytes, this.#view.getUint32(offset + 1), this.#view.getUint8(offset));
  }

  readValue(offset: number, fields: EntryFields): void {
    const view = this.#view;
    const size = this.entrySize;
    const offsetAndFlag = view.getUint32(offset + 4);
    const highLengths = size > 18 ? view.getUint8(offset + 18) : 0;
    const highPack = size > 17 ? view.getUint8(offset + 17) : 0;
    const format = size > 16 ? view.getUint8(offset + 16) : 0;
    fields.timestampSeconds = view.getUint32(offset) + this.#places.baseTimestamp;
    fields.deleted = offsetAndFlag >= 2 ** 31;
    fields.packOffset = offsetAndFlag % 2 ** 31;
    fields.originalLength = ((highLengths >>> 4) << 24) | (view.getUint32(offset + 8) >>> 8);
    fields.packedLength = ((highLengths & 15) << 24) | (view.getUint32(offset + 10) & 0xffffff);
    fields.pack = (highPack << 16) | view.getUint16(offset + 14);
    if (fields.pack >= this.packCount || format >= this.#places.formatCount) {
      throw corruptIndex(`entry at ${offset} has pack ${fields.pack} and format ${format}`);
    }
    const place = this.#places.formatsOffset + format * FORMAT_SIZE;
    fields.compressionHeaderId = view.getUint32(place);
    fields.formatVersion = view.getUint8(place + 4);
    fields.encryptionKeyId = view.getUint8(place + 5);
  }
}
