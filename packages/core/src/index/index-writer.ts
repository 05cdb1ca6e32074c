import { utf8 } from "../base/bytes.ts";
import { assert, VarveError } from "../base/errors.ts";
import { createContentIndex } from "./content-index.ts";
import type { ContentInfo } from "./content-info.ts";
import type { EntryTable } from "./entry-table.ts";
import { type EntryFields, emptyFields, V1_OVERHEAD } from "./index-layout.ts";
import { sortedRefs } from "./sorted-refs.ts";

/** Entries that fit one index file in Kopia's practice (spec §4.4). */
export const MAX_ENTRIES_PER_SHARD: number = 16_000_000;

const MAX_SHORT_LENGTH = 2 ** 24;
const MAX_PACKS = 2 ** 24;
const MAX_SHORT_PACKS = 2 ** 16;
const MAX_FORMATS = 255;
const HEADER_SIZE_V1 = 8;
const ENTRY_SIZE_V1 = 20;
const HEADER_SIZE_V2 = 17;

/**
 * The bytes of an index file, identical to what Kopia makes of the same entries (spec §4.3, §4.4). `entries` come in
 * any order; of several with one id the merge rule picks the winner. Throws `invalid-argument` for no entries at
 * all, ids of different length, and what the version cannot hold.
 */
export function encodeIndex(
  entries: readonly ContentInfo[],
  options: { version: 1 | 2 },
): Uint8Array {
  const table = createContentIndex();
  const length = Math.floor((entries[0]?.id.length ?? 0) / 2);
  for (const entry of entries) {
    if (Math.floor(entry.id.length / 2) !== length) {
      throw invalid(`content ${entry.id} among ids of ${length} bytes`);
    }
    table.addEntry(entry);
  }
  return encodeTable(table, options);
}

/** {@link encodeIndex} of all entries in `table`, the deleted ones included. Throws `invalid-argument` as that does. */
export function encodeTable(table: EntryTable, { version }: { version: 1 | 2 }): Uint8Array {
  return encodeRefs(table, sortedRefs(table), version);
}

/**
 * Like {@link encodeTable}, in as many files as it takes for about `maxEntriesPerShard` entries each: by FNV-1a of the
 * content id (spec §4.4). No file without entries; none at all for no entries.
 */
export function shardIndex(
  table: EntryTable,
  options: { version: 1 | 2; maxEntriesPerShard?: number },
): Uint8Array[] {
  return Array.from(planShards(table, options), (encode) => encode());
}

/**
 * Like {@link shardIndex}, each file made when it is asked for: until then two bytes an entry are held, and the order of the entries
 * of one file after that.
 */
export function planShards(
  table: EntryTable,
  options: { version: 1 | 2; maxEntriesPerShard?: number },
): (() => Uint8Array)[] {
  const { version, maxEntriesPerShard = MAX_ENTRIES_PER_SHARD } = options;
  const count = Math.ceil(table.count / maxEntriesPerShard);
  if (count < 2) {
    return table.count === 0 ? [] : [() => encodeTable(table, { version })];
  }
  const shards = new Uint16Array(table.count);
  const sizes = new Uint32Array(count);
  for (let ref = 0; ref < shards.length; ref++) {
    const shard = fnv1a(table.idAt(ref)) % count;
    shards[ref] = shard;
    sizes[shard] = (sizes[shard] as number) + 1; // shard < count
  }
  const refsOf = (shard: number, size: number): Uint32Array => {
    const refs = new Uint32Array(size);
    for (let ref = shards.indexOf(shard), index = 0; index < size; index++) {
      refs[index] = ref;
      ref = shards.indexOf(shard, ref + 1);
    }
    return refs;
  };
  return Array.from(sizes.entries())
    .filter(([, size]) => size > 0)
    .map(([shard, size]) => () => {
      return encodeRefs(table, sortedRefs(table, refsOf(shard, size)), version);
    });
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

/** What a file needs besides its entries; packs and formats are numbered in order of first use. */
interface FilePlan {
  readonly table: EntryTable;
  /** In the order of their keys. */
  readonly refs: Uint32Array;
  readonly packs: Numbering;
  readonly formats: Numbering;
  readonly hasLong: boolean;
}

function encodeRefs(table: EntryTable, refs: Uint32Array, version: 1 | 2): Uint8Array {
  if (refs.length === 0) {
    throw invalid("no entries"); // spec §4.4: an empty index file must not be written
  }
  const plan = planFile(table, refs, version);
  return version === 1 ? encodeV1(plan) : encodeV2(plan);
}

function planFile(table: EntryTable, refs: Uint32Array, version: 1 | 2): FilePlan {
  const packs = new Numbering();
  const formats = new Numbering();
  const fields = emptyFields();
  let hasLong = false;
  for (const ref of refs) {
    table.readEntry(ref, fields);
    checkEntry(fields, version);
    packs.add(fields.pack);
    formats.add(formatKey(fields));
    hasLong ||=
      fields.packedLength >= MAX_SHORT_LENGTH || fields.originalLength >= MAX_SHORT_LENGTH;
  }
  return { table, refs, packs, formats, hasLong };
}

function checkEntry(fields: EntryFields, version: 1 | 2): void {
  if (version === 2 && fields.timestampSeconds >= 2 ** 32) {
    throw invalid(`timestamp ${fields.timestampSeconds}`);
  }
  const derived =
    fields.compressionHeaderId === 0 &&
    fields.encryptionKeyId === 0 &&
    fields.originalLength === fields.packedLength - V1_OVERHEAD;
  if (version === 1 && !derived) {
    throw invalid("version 1 holds neither compression nor other lengths");
  }
}

function encodeV1({ table, refs, packs }: FilePlan): Uint8Array {
  const { keySize } = table;
  const stride = keySize + ENTRY_SIZE_V1;
  const names = layNames(table, packs, HEADER_SIZE_V1 + refs.length * stride);
  const bytes = new Uint8Array(names.end);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 1);
  view.setUint8(1, keySize);
  view.setUint16(2, ENTRY_SIZE_V1);
  view.setUint32(4, refs.length);
  const fields = emptyFields();
  let place = HEADER_SIZE_V1;
  for (const ref of refs) {
    table.readEntry(ref, fields);
    table.copyKey(ref, bytes, place);
    const value = place + keySize;
    const pack = packs.numberOf(fields.pack);
    view.setUint16(value, Math.floor(fields.timestampSeconds / 2 ** 32));
    view.setUint32(value + 2, fields.timestampSeconds % 2 ** 32);
    view.setUint8(value + 6, fields.formatVersion);
    view.setUint8(value + 7, names.lengths[pack] as number); // one length and one offset a pack
    view.setUint32(value + 8, names.offsets[pack] as number);
    view.setUint32(value + 12, offsetAndFlag(fields));
    view.setUint32(value + 16, fields.packedLength);
    place += stride;
  }
  names.write(bytes);
  return bytes;
}

function encodeV2(plan: FilePlan): Uint8Array {
  const { table, refs, packs, formats } = plan;
  const packCount = packs.all.length;
  const formatCount = formats.all.length;
  if (packCount > MAX_PACKS || formatCount > MAX_FORMATS) {
    throw invalid(`${packCount} packs and ${formatCount} formats in one index file`);
  }
  const { keySize } = table;
  const entrySize = entrySizeV2(plan);
  const packsOffset = HEADER_SIZE_V2 + refs.length * (keySize + entrySize);
  const formatsOffset = packsOffset + packCount * 5;
  const names = layNames(table, packs, formatsOffset + formatCount * 6);
  const bytes = new Uint8Array(names.end);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 2);
  view.setUint8(1, keySize);
  view.setUint16(2, entrySize);
  view.setUint32(4, refs.length);
  view.setUint32(8, packCount);
  view.setUint8(12, formatCount);
  writeEntriesV2(plan, entrySize, view);
  for (let pack = 0; pack < packCount; pack++) {
    view.setUint8(packsOffset + pack * 5, names.lengths[pack] as number); // one length and one offset a pack
    view.setUint32(packsOffset + pack * 5 + 1, names.offsets[pack] as number);
  }
  for (const [format, key] of formats.all.entries()) {
    view.setUint32(formatsOffset + format * 6, Math.floor(key / 2 ** 16));
    view.setUint16(formatsOffset + format * 6 + 4, key % 2 ** 16);
  }
  names.write(bytes);
  return bytes;
}

/** Spec §4.4: the smallest that holds every entry. */
function entrySizeV2({ packs, formats, hasLong }: FilePlan): number {
  if (hasLong) {
    return 19;
  }
  return packs.all.length > MAX_SHORT_PACKS ? 18 : formats.all.length > 1 ? 17 : 16;
}

/** Without a writer that checks its room for each number: a flush of a million small files comes by here twice. */
function writeEntriesV2(plan: FilePlan, entrySize: number, view: DataView): void {
  const { table, refs, packs, formats } = plan;
  const bytes = new Uint8Array(view.buffer);
  const fields = emptyFields();
  let place = HEADER_SIZE_V2;
  for (const ref of refs) {
    table.readEntry(ref, fields);
    table.copyKey(ref, bytes, place);
    place += table.keySize;
    const pack = packs.numberOf(fields.pack);
    const { originalLength, packedLength } = fields;
    view.setUint32(place, fields.timestampSeconds);
    view.setUint32(place + 4, offsetAndFlag(fields));
    view.setUint16(place + 8, (originalLength >>> 8) & 0xffff);
    view.setUint16(place + 10, ((originalLength & 255) << 8) | ((packedLength >>> 16) & 255));
    view.setUint16(place + 12, packedLength & 0xffff);
    view.setUint16(place + 14, pack & 0xffff);
    if (entrySize > 16) {
      view.setUint8(place + 16, formats.numberOf(formatKey(fields)));
    }
    if (entrySize > 17) {
      view.setUint8(place + 17, pack >>> 16);
    }
    if (entrySize > 18) {
      view.setUint8(place + 18, ((originalLength >>> 24) << 4) | (packedLength >>> 24));
    }
    place += entrySize;
  }
}

/** Compression header id, format version and encryption key id as they lie in the file: 4, 1 and 1 bytes. */
function formatKey(fields: EntryFields): number {
  return fields.compressionHeaderId * 65_536 + fields.formatVersion * 256 + fields.encryptionKeyId;
}

function offsetAndFlag(fields: EntryFields): number {
  return fields.packOffset + (fields.deleted ? 2 ** 31 : 0);
}

/** Where each pack name starts when all lie one after the other from `start` on, and how long it is. */
function layNames(table: EntryTable, packs: Numbering, start: number) {
  const names = packs.all.map((pack) => utf8(table.packName(pack)));
  const lengths = names.map((name) => name.length);
  let end = start;
  const offsets = lengths.map((length) => {
    end += length;
    return end - length;
  });
  if (end >= 2 ** 32) {
    throw invalid(`index file of ${end} bytes`);
  }
  const write = (bytes: Uint8Array): void => {
    let place = start;
    for (const name of names) {
      bytes.set(name, place);
      place += name.length;
    }
    assert(place === bytes.length, "an index file has the length that its offsets assume");
  };
  return { lengths, offsets, end, write };
}

/** Numbers keys in order of first use. */
class Numbering {
  readonly all: number[] = [];
  readonly #numbers = new Map<number, number>();

  add(key: number): void {
    if (!this.#numbers.has(key)) {
      this.#numbers.set(key, this.all.push(key) - 1);
    }
  }

  numberOf(key: number): number {
    const number = this.#numbers.get(key);
    assert(number !== undefined, "a key has been added before its number is asked for");
    return number;
  }
}

function invalid(what: string): VarveError {
  return new VarveError("invalid-argument", `index file: ${what}`);
}
