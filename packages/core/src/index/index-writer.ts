import { utf8 } from "../base/bytes.ts";
import { ByteWriter } from "../base/cursor.ts";
import { assert, VarveError } from "../base/errors.ts";
import { type ContentId, contentKey } from "./content-id.ts";
import { type ContentInfo, winsOver } from "./content-info.ts";
import { requireStorable, V1_OVERHEAD } from "./index-layout.ts";

/** Entries that fit one index file in Kopia's practice (spec §4.4). */
export const MAX_ENTRIES_PER_SHARD: number = 16_000_000;

const MAX_SHORT_LENGTH = 2 ** 24;
const MAX_PACKS = 2 ** 24;
const MAX_SHORT_PACKS = 2 ** 16;
const MAX_FORMATS = 255;

/**
 * The bytes of an index file, identical to what Kopia makes of the same entries (spec §4.3, §4.4). `entries` come in
 * any order; of several with one id the merge rule picks the winner. Throws `invalid-argument` for no entries at
 * all, ids of different length, and what the version cannot hold.
 */
export function encodeIndex(
  entries: readonly ContentInfo[],
  options: { version: 1 | 2 },
): Uint8Array {
  const sorted = sortAndMerge(entries);
  for (const entry of sorted) {
    checkEntry(entry, options.version);
  }
  return options.version === 1 ? encodeV1(sorted) : encodeV2(sorted);
}

/**
 * Like {@link encodeIndex}, in as many files as it takes for about `maxEntriesPerShard` entries each: by FNV-1a of the
 * content id (spec §4.4). No file without entries; none at all for no entries.
 */
export function shardIndex(
  entries: readonly ContentInfo[],
  options: { version: 1 | 2; maxEntriesPerShard?: number },
): Uint8Array[] {
  const merged = entries.length === 0 ? [] : sortAndMerge(entries);
  const count = Math.ceil(merged.length / (options.maxEntriesPerShard ?? MAX_ENTRIES_PER_SHARD));
  const shards: ContentInfo[][] = Array.from({ length: count }, () => []);
  for (const entry of merged) {
    shards[fnv1a(entry.id) % count]?.push(entry);
  }
  return shards
    .filter((shard) => shard.length > 0)
    .map((shard) => encodeIndex(shard, { version: options.version }));
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

function sortAndMerge(entries: readonly ContentInfo[]): ContentInfo[] {
  // Ids of one length sort as text like their keys as bytes: hex digits come before the letters g to z.
  const sorted = entries.toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const keySize = sorted[0] === undefined ? 0 : keySizeOf(sorted[0].id);
  const merged: ContentInfo[] = [];
  for (const entry of sorted) {
    const last = merged.at(-1);
    if (keySizeOf(entry.id) !== keySize) {
      throw invalid(`content ${entry.id} among ids of ${keySize - 1} bytes`);
    }
    if (last?.id !== entry.id) {
      merged.push(entry);
    } else if (winsOver(entry, last)) {
      merged[merged.length - 1] = entry;
    }
  }
  return merged;
}

function keySizeOf(id: ContentId): number {
  return 1 + Math.floor(id.length / 2);
}

function checkEntry(entry: ContentInfo, version: 1 | 2): void {
  requireStorable(entry);
  if (version === 2 && entry.timestampSeconds >= 2 ** 32) {
    throw invalid(`content ${entry.id}: timestamp ${entry.timestampSeconds}`);
  }
  const derived =
    entry.compressionHeaderId === 0 &&
    (entry.encryptionKeyId ?? 0) === 0 &&
    entry.originalLength === entry.packedLength - V1_OVERHEAD;
  if (version === 1 && !derived) {
    throw invalid(`content ${entry.id}: version 1 holds neither compression nor other lengths`);
  }
}

function encodeV1(sorted: readonly ContentInfo[]): Uint8Array {
  const keySize = sortedKeySize(sorted);
  const packs = new Numbering<string>();
  const packOf = Uint32Array.from(sorted, (entry) => packs.add(entry.packBlobId));
  const names = layNames(packs.all, { start: 8 + sorted.length * (keySize + 20) });
  const writer = new ByteWriter({ capacity: names.end });
  writer.u8(1).u8(keySize).u16(20).u32(sorted.length);
  for (const [position, entry] of sorted.entries()) {
    writer.bytes(contentKey(entry.id));
    writer.u48(entry.timestampSeconds).u8(entry.formatVersion).u8(entry.packBlobId.length);
    writer.u32(names.offsets[packOf[position] as number] as number); // one pack an entry, one offset a pack
    writer.u32(offsetAndFlag(entry)).u32(entry.packedLength);
  }
  return finish(writer, packs.all, names.end);
}

function encodeV2(sorted: readonly ContentInfo[]): Uint8Array {
  const keySize = sortedKeySize(sorted);
  const packs = new Numbering<string>();
  const formats = new Numbering<number>();
  const packOf = Uint32Array.from(sorted, (entry) => packs.add(entry.packBlobId));
  const formatOf = Uint32Array.from(sorted, (entry) => formats.add(formatKey(entry)));
  const packCount = packs.all.length;
  const formatCount = formats.all.length;
  if (packCount > MAX_PACKS || formatCount > MAX_FORMATS) {
    throw invalid(`${packCount} packs and ${formatCount} formats in one index file`);
  }
  const entrySize = entrySizeV2(sorted, { packCount, formatCount });
  const start = 17 + sorted.length * (keySize + entrySize) + packCount * 5 + formatCount * 6;
  const names = layNames(packs.all, { start });
  const writer = new ByteWriter({ capacity: names.end });
  writer.u8(2).u8(keySize).u16(entrySize).u32(sorted.length);
  writer.u32(packCount).u8(formatCount).u32(0);
  for (const [position, entry] of sorted.entries()) {
    const pack = packOf[position] as number; // one pack and one format an entry
    const format = formatOf[position] as number;
    writer.bytes(contentKey(entry.id));
    writeValueV2(writer, entry, { entrySize, pack, format });
  }
  for (const [pack, name] of packs.all.entries()) {
    writer.u8(name.length).u32(names.offsets[pack] as number); // one offset a pack
  }
  for (const key of formats.all) {
    writer.u48(key);
  }
  return finish(writer, packs.all, names.end);
}

/** Spec §4.4: the smallest that holds every entry. */
function entrySizeV2(
  sorted: readonly ContentInfo[],
  { packCount, formatCount }: { packCount: number; formatCount: number },
): number {
  if (sorted.some(isLong)) {
    return 19;
  }
  return packCount > MAX_SHORT_PACKS ? 18 : formatCount > 1 ? 17 : 16;
}

function isLong(entry: ContentInfo): boolean {
  return entry.packedLength >= MAX_SHORT_LENGTH || entry.originalLength >= MAX_SHORT_LENGTH;
}

function writeValueV2(
  writer: ByteWriter,
  entry: ContentInfo,
  { entrySize, pack, format }: { entrySize: number; pack: number; format: number },
): void {
  writer.u32(entry.timestampSeconds).u32(offsetAndFlag(entry));
  writer.u24(entry.originalLength & 0xffffff).u24(entry.packedLength & 0xffffff);
  writer.u16(pack & 0xffff);
  if (entrySize > 16) {
    writer.u8(format);
  }
  if (entrySize > 17) {
    writer.u8(pack >>> 16);
  }
  if (entrySize > 18) {
    writer.u8(((entry.originalLength >>> 24) << 4) | (entry.packedLength >>> 24));
  }
}

/** Compression header id, format version and encryption key id as they lie in the file: 4, 1 and 1 bytes. */
function formatKey(entry: ContentInfo): number {
  return (
    entry.compressionHeaderId * 65_536 + entry.formatVersion * 256 + (entry.encryptionKeyId ?? 0)
  );
}

function offsetAndFlag(entry: ContentInfo): number {
  return entry.packOffset + (entry.deleted ? 2 ** 31 : 0);
}

function sortedKeySize(sorted: readonly ContentInfo[]): number {
  if (sorted[0] === undefined) {
    throw invalid("no entries"); // spec §4.4: an empty index file must not be written
  }
  return keySizeOf(sorted[0].id);
}

/** Where each name starts when all lie one after the other from `start` on. */
function layNames(
  names: readonly string[],
  { start }: { start: number },
): { offsets: readonly number[]; end: number } {
  let end = start;
  const offsets = names.map((name) => {
    const offset = end;
    end += name.length;
    return offset;
  });
  if (end >= 2 ** 32) {
    throw invalid(`index file of ${end} bytes`);
  }
  return { offsets, end };
}

function finish(writer: ByteWriter, names: readonly string[], end: number): Uint8Array {
  for (const name of names) {
    writer.bytes(utf8(name));
  }
  assert(writer.length === end, "an index file has the length that its offsets assume");
  return writer.view();
}

/** Numbers keys in order of first use. */
class Numbering<K extends string | number> {
  readonly all: K[] = [];
  readonly #numbers = new Map<K, number>();

  add(key: K): number {
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.all.push(key) - 1;
      this.#numbers.set(key, number);
    }
    return number;
  }
}

function invalid(what: string): VarveError {
  return new VarveError("invalid-argument", `index file: ${what}`);
}
