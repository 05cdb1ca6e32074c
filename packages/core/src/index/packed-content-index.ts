import { compareBytes } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import type { BlobId } from "../blob/store.ts";
import { type ContentId, type ContentPrefix, prefixCode } from "./content-id.ts";
import type { ContentIndex, IndexBound, LostContents, PackUse } from "./content-index.ts";
import type { ContentInfo } from "./content-info.ts";
import { EntryFormats } from "./entry-formats.ts";
import { parseIndex } from "./index-file.ts";
import {
  type EntryFields,
  emptyFields,
  infoOf,
  requireReadable,
  requireStorable,
  setFields,
} from "./index-layout.ts";
import { readHashBytes, readHashDigits } from "./hash-words.ts";
import { PackNames } from "./pack-names.ts";
import { PackNeeds } from "./pack-needs.ts";
import { Slabs } from "./slabs.ts";
import { FREE, hashOfKey, RefTable } from "./ref-table.ts";

/** Records of a slab: 160 KB when all stay in memory; 10 KB, less than a disk reads at once, when they come and go. */
const SLAB_BITS = 12;
const BOUND_SLAB_BITS = 8;
/** A fuller table costs more looks, and under a bound memory is what there is too little of. */
const BOUND_TABLE_LOAD = 0.9;
const SLOT_BYTES = 4;
/** The least part of a bound that is for records. */
const RECORD_FRACTION = 1 / 16;
const ENTRIES_PER_STEP = 8192; // some milliseconds
// A record is the hash in words of four bytes, then these words.
const TIME = 0; // low 32 bits of the timestamp
const PLACE = 1; // bit 31 deleted, bits 0-30 pack offset
const PACKED = 2;
const ORIGINAL = 3;
const PACK = 4;
const META = 5; // bits 24-31 prefix, 16-23 timestamp bits 32-39, 0-15 format
const VALUE_WORDS = 6;
const DIGITS: readonly number[] = Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0));

/** See {@link ContentIndex}. */
export class PackedContentIndex implements ContentIndex {
  /** 0 until the first entry decides. */
  #keySize = 0;
  #hashWords = 0;
  readonly #slabs: Slabs;
  readonly #slabBits: number;
  readonly #maxBytes: number;
  #count = 0;
  readonly #table: RefTable;
  readonly #packs = new PackNames();
  readonly #formats = new EntryFormats();
  #watermark = 0;
  // The key that is looked for, and the entry that is written or read: reused, so that look-ups allocate nothing.
  #key = new Uint32Array(0);
  #prefix = 0;
  readonly #digits: number[] = [];
  readonly #fields: EntryFields = emptyFields();
  #lastPack = -1;
  #lastName = "" as BlobId; // of no pack
  /** By number: packs that are shorter than their entries say. */
  #packSizes: ReadonlyMap<number, number> = new Map();
  readonly #hashOf = (ref: number): number => {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    return hashOfKey(slab[base] as number, this.#word(slab, base, META) >>> 24); // a record has a hash
  };

  constructor(bound: IndexBound | undefined) {
    this.#slabs = new Slabs(bound?.scratch);
    this.#slabBits = bound === undefined ? SLAB_BITS : BOUND_SLAB_BITS;
    this.#maxBytes = bound?.maxBytes ?? Number.POSITIVE_INFINITY;
    this.#table = new RefTable(bound === undefined ? {} : { maxLoad: BOUND_TABLE_LOAD });
  }

  get count(): number {
    return this.#count;
  }

  get keySize(): number {
    return this.#keySize;
  }

  get watermarkSeconds(): number {
    return this.#watermark;
  }

  get memoryBytes(): number {
    return this.#slabs.memoryBytes + this.#table.memoryBytes + this.#packs.memoryBytes;
  }

  addFile(bytes: Uint8Array): void {
    for (const _ of this.addFileInSteps(bytes));
  }

  *addFileInSteps(bytes: Uint8Array): Generator<void, void, undefined> {
    const file = parseIndex(bytes);
    if (file.count === 0) {
      return;
    }
    this.#requireKeySize(file.keySize);
    const packs = Uint32Array.from({ length: file.packCount }, (_, pack) =>
      this.#packs.intern(file.packName(pack)),
    );
    const fields = this.#fields;
    const { count } = file;
    for (let position = 0; position < count; position++) {
      file.readFields(position, fields);
      fields.pack = packs[fields.pack] as number; // parseIndex has checked it
      this.#readKeyBytes(bytes, file.keyOffset(position));
      this.#merge();
      if ((position + 1) % ENTRIES_PER_STEP === 0) {
        yield;
      }
    }
  }

  expect(count: number): void {
    const most = (this.#maxBytes * (1 - 2 * RECORD_FRACTION)) / SLOT_BYTES;
    this.#table.reserve(Math.min(this.#count + count, most * BOUND_TABLE_LOAD), this.#hashOf);
  }

  addEntry(info: ContentInfo): void {
    requireStorable(info);
    this.#requireKeySize(1 + Math.floor(info.id.length / 2));
    this.#readKeyText(info.id);
    setFields(this.#fields, info, this.#packs.intern(info.packBlobId));
    this.#merge();
  }

  get(id: ContentId): ContentInfo | undefined {
    const ref = this.#findId(id);
    return ref < 0 ? undefined : this.infoAt(ref, id);
  }

  refOf(id: ContentId): number {
    return this.#findId(id);
  }

  infoAt(ref: number, id: ContentId = this.idAt(ref)): ContentInfo {
    this.readEntry(ref, this.#fields);
    requireReadable(id, this.#fields.encryptionKeyId);
    return infoOf(id, this.#fields, this.#nameOf(this.#fields.pack));
  }

  packAt(ref: number): number {
    return this.#word(this.#slabOf(ref), this.#baseOf(ref), PACK);
  }

  get packCount(): number {
    return this.#packs.count;
  }

  packUse({ droppedBeforeSeconds = 0 }: { droppedBeforeSeconds?: number } = {}): PackUse {
    const least = Math.max(droppedBeforeSeconds, this.#watermark + 1);
    const liveBytes = new Float64Array(this.#packs.count);
    const isNamed = new Uint8Array(this.#packs.count);
    for (let ref = 0; ref < this.#count; ref++) {
      const slab = this.#slabOf(ref);
      const base = this.#baseOf(ref);
      const pack = this.#word(slab, base, PACK);
      if (this.#word(slab, base, PLACE) < 2 ** 31) {
        liveBytes[pack] = (liveBytes[pack] as number) + this.#word(slab, base, PACKED); // pack < count
        isNamed[pack] = 1;
      } else if (this.#timeOf(slab, base) >= least) {
        isNamed[pack] = 1;
      }
    }
    return { liveBytes, isNamed };
  }

  has(id: ContentId): boolean {
    return this.#findId(id) >= 0;
  }

  isLive(id: ContentId): boolean {
    return this.#isLive(this.#findId(id));
  }

  areLive(keys: Uint8Array): boolean {
    if (keys.length > 0 && keys.length % this.#keySize !== 0) {
      return false;
    }
    for (let offset = 0; offset < keys.length; offset += this.#keySize) {
      this.#readKeyBytes(keys, offset);
      if (!this.#isLive(this.#find())) {
        return false;
      }
    }
    return true;
  }

  packNeeds(): PackNeeds {
    const ends = new Float64Array(this.#packs.count);
    for (let ref = 0; ref < this.#count; ref++) {
      if (this.#isUsable(ref)) {
        const pack = this.#word(this.#slabOf(ref), this.#baseOf(ref), PACK);
        // At least 1: a pack of empty contents must be there too.
        ends[pack] = Math.max(ends[pack] as number, this.#endOf(ref), 1); // pack < count
      }
    }
    return new PackNeeds(this.#packs, ends);
  }

  setPackSizes(sizes: ReadonlyMap<BlobId, number>): void {
    this.#packSizes = new Map(Array.from(sizes, ([id, size]) => [this.#packs.intern(id), size]));
  }

  lost(): LostContents {
    const packs = new Set<number>();
    let contents = 0;
    for (let ref = 0; this.#packSizes.size > 0 && ref < this.#count; ref++) {
      if (this.#isUsable(ref) && this.#isLost(ref)) {
        contents += 1;
        packs.add(this.#word(this.#slabOf(ref), this.#baseOf(ref), PACK));
      }
    }
    const missingPacks = [...packs].filter((pack) => this.#packSizes.get(pack) === -1).length;
    return { contents, missingPacks, shortPacks: packs.size - missingPacks };
  }

  *entries(
    options: { prefix?: ContentPrefix; deleted?: boolean } = {},
  ): Generator<ContentInfo, void, undefined> {
    const prefix = options.prefix === undefined ? undefined : prefixCode(options.prefix);
    for (let ref = 0; ref < this.#count; ref++) {
      const slab = this.#slabOf(ref);
      const base = this.#baseOf(ref);
      const deleted = this.#word(slab, base, PLACE) >= 2 ** 31;
      const recordPrefix = this.#word(slab, base, META) >>> 24;
      if (
        (prefix !== undefined && recordPrefix !== prefix) ||
        (deleted && (options.deleted !== true || this.#isHidden(ref)))
      ) {
        continue;
      }
      this.readEntry(ref, this.#fields);
      yield infoOf(this.idAt(ref), this.#fields, this.#nameOf(this.#fields.pack));
    }
  }

  setWatermark(seconds: number): void {
    this.#watermark = seconds;
  }

  #requireKeySize(keySize: number): void {
    if (this.#keySize === 0) {
      this.#keySize = keySize;
      this.#hashWords = Math.ceil((keySize - 1) / 4);
      this.#key = new Uint32Array(this.#hashWords);
    } else if (this.#keySize !== keySize) {
      throw new VarveError(
        "corrupt",
        `index: keys of ${keySize} bytes among keys of ${this.#keySize} bytes`,
      );
    }
  }

  #readKeyBytes(bytes: Uint8Array, offset: number): void {
    this.#prefix = bytes[offset] as number; // the caller's key has the size that was required
    readHashBytes(this.#key, bytes, offset + 1, offset + this.#keySize);
  }

  /** False when the id has another size than those here. */
  #readKeyText(id: ContentId): boolean {
    const start = id.length % 2;
    if (this.#keySize === 0 || id.length - start !== (this.#keySize - 1) * 2) {
      return false;
    }
    this.#prefix = start === 0 ? 0 : id.charCodeAt(0);
    readHashDigits(this.#key, id, start);
    return true;
  }

  #findId(id: ContentId): number {
    const ref = this.#readKeyText(id) ? this.#find() : -1;
    return ref >= 0 && this.#isHidden(ref) ? -1 : ref;
  }

  #find(hash: number = this.#hashOfKey()): number {
    const table = this.#table;
    for (let slot = table.slotOf(hash); ; slot = table.next(slot)) {
      const ref = table.match(slot, hash);
      if (ref === FREE || (ref >= 0 && this.#hasKey(ref))) {
        return ref;
      }
    }
  }

  #hashOfKey(): number {
    return hashOfKey(this.#key[0] as number, this.#prefix); // a key has a hash
  }

  #hasKey(ref: number): boolean {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    const key = this.#key;
    for (let index = 0; index < key.length; index++) {
      if (slab[base + index] !== key[index]) {
        return false;
      }
    }
    return this.#word(slab, base, META) >>> 24 === this.#prefix;
  }

  /** Merges the entry in `#fields` under the key in `#key`. */
  #merge(): void {
    const hash = this.#hashOfKey();
    const known = this.#find(hash);
    if (known >= 0) {
      if (this.#winsOver(known)) {
        this.#writeRecord(known);
      }
      return;
    }
    const ref = this.#count;
    if (ref === this.#slabs.count << this.#slabBits) {
      this.#makeRoom();
      this.#slabs.add((this.#hashWords + VALUE_WORDS) << this.#slabBits);
    }
    this.#writeRecord(ref);
    this.#count += 1;
    this.#table.insert(ref, hash, this.#hashOf);
  }

  /** For records, beside what must stay. */
  #makeRoom(): void {
    const tableBytes = this.#table.memoryBytes + this.#table.growthBytes(1 << this.#slabBits);
    const room = this.#maxBytes - tableBytes - this.#packs.memoryBytes;
    if (room < this.#maxBytes * RECORD_FRACTION) {
      throw new VarveError(
        "invalid-argument",
        `an index of more than ${this.#count} contents does not fit under the ceiling on memory, of which it may take ${Math.floor(this.#maxBytes / 2 ** 20)} MiB`,
      );
    }
    this.#slabs.room = room;
  }

  /** Spec §4.2, as {@link winsOver} has it, between `#fields` and a record. */
  #winsOver(ref: number): boolean {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    const time = this.#timeOf(slab, base);
    const deleted = this.#word(slab, base, PLACE) >= 2 ** 31;
    const pack = this.#word(slab, base, PACK);
    const fields = this.#fields;
    if (fields.timestampSeconds !== time) {
      return fields.timestampSeconds > time;
    }
    if (fields.deleted !== deleted) {
      return deleted;
    }
    return fields.pack !== pack && this.#packs.name(fields.pack) > this.#packs.name(pack);
  }

  #writeRecord(ref: number): void {
    const fields = this.#fields;
    const slab = this.#slabs.change(ref >>> this.#slabBits);
    const base = this.#baseOf(ref);
    const key = this.#key;
    for (let index = 0; index < key.length; index++) {
      slab[base + index] = key[index] as number; // quicker than `set` for four words
    }
    const value = base + this.#hashWords;
    const timeHigh = Math.floor(fields.timestampSeconds / 2 ** 32);
    slab[value + TIME] = fields.timestampSeconds % 2 ** 32;
    slab[value + PLACE] = fields.packOffset + (fields.deleted ? 2 ** 31 : 0);
    slab[value + PACKED] = fields.packedLength;
    slab[value + ORIGINAL] = fields.originalLength;
    slab[value + PACK] = fields.pack;
    slab[value + META] = (this.#prefix << 24) | (timeHigh << 16) | this.#formats.numberOf(fields);
  }

  readEntry(ref: number, fields: EntryFields): void {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    const place = this.#word(slab, base, PLACE);
    fields.timestampSeconds = this.#timeOf(slab, base);
    fields.deleted = place >= 2 ** 31;
    fields.packOffset = place % 2 ** 31;
    fields.packedLength = this.#word(slab, base, PACKED);
    fields.originalLength = this.#word(slab, base, ORIGINAL);
    fields.pack = this.#word(slab, base, PACK);
    this.#formats.read(this.#word(slab, base, META) & 0xffff, fields);
  }

  copyKey(ref: number, target: Uint8Array, offset: number): void {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    target[offset] = this.#word(slab, base, META) >>> 24;
    for (let index = 0; index < this.#keySize - 1; index++) {
      target[offset + 1 + index] = this.#hashByte(slab, base, index);
    }
  }

  keyHead(ref: number): number {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    let head = this.#word(slab, base, META) >>> 24;
    for (let index = 0; index < 3; index++) {
      head = (head << 8) | (index < this.#keySize - 1 ? this.#hashByte(slab, base, index) : 0);
    }
    return head >>> 0;
  }

  compareKeys(a: number, b: number): number {
    const keys = [a, b].map((ref) => {
      const key = new Uint8Array(this.#keySize);
      this.copyKey(ref, key, 0);
      return key;
    });
    return compareBytes(keys[0] as Uint8Array, keys[1] as Uint8Array); // two in, two out
  }

  /** A hash whose length is no multiple of four has fewer bytes in its last word. */
  #hashByte(slab: Uint32Array, base: number, index: number): number {
    const inWord = Math.min(4, this.#keySize - 1 - (index & ~3));
    return ((slab[base + (index >>> 2)] as number) >>> ((inWord - 1 - (index & 3)) * 8)) & 255; // within the record
  }

  /** Entries in a row lie in one pack as a rule. */
  #nameOf(pack: number): BlobId {
    if (pack !== this.#lastPack) {
      this.#lastPack = pack;
      this.#lastName = this.#packs.name(pack);
    }
    return this.#lastName;
  }

  packName(pack: number): BlobId {
    return this.#packs.name(pack);
  }

  idAt(ref: number): ContentId {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    const prefix = this.#word(slab, base, META) >>> 24;
    for (let index = 0; index < this.#keySize - 1; index++) {
      const byte = this.#hashByte(slab, base, index);
      this.#digits[index * 2] = DIGITS[byte >>> 4] as number; // there are 16
      this.#digits[index * 2 + 1] = DIGITS[byte & 15] as number;
    }
    const hash = String.fromCharCode(...this.#digits);
    return (prefix === 0 ? hash : String.fromCharCode(prefix) + hash) as ContentId; // it came in as one
  }

  #isLive(ref: number): boolean {
    return ref >= 0 && this.#isUsable(ref) && !this.#isLost(ref);
  }

  /** Neither deleted nor under a key that nobody has. */
  #isUsable(ref: number): boolean {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    const format = this.#formats.at(this.#word(slab, base, META) & 0xffff);
    return this.#word(slab, base, PLACE) < 2 ** 31 && format?.encryptionKeyId === 0;
  }

  #isLost(ref: number): boolean {
    if (this.#packSizes.size === 0) {
      return false;
    }
    const size = this.#packSizes.get(this.#word(this.#slabOf(ref), this.#baseOf(ref), PACK));
    return size !== undefined && size < this.#endOf(ref);
  }

  /** Where the content ends in its pack. */
  #endOf(ref: number): number {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    return (this.#word(slab, base, PLACE) % 2 ** 31) + this.#word(slab, base, PACKED);
  }

  #isHidden(ref: number): boolean {
    const slab = this.#slabOf(ref);
    const base = this.#baseOf(ref);
    return this.#word(slab, base, PLACE) >= 2 ** 31 && this.#timeOf(slab, base) <= this.#watermark;
  }

  #timeOf(slab: Uint32Array, base: number): number {
    const high = (this.#word(slab, base, META) >>> 16) & 0xff;
    return high * 2 ** 32 + this.#word(slab, base, TIME);
  }

  #slabOf(ref: number): Uint32Array {
    return this.#slabs.at(ref >>> this.#slabBits);
  }

  #baseOf(ref: number): number {
    return (ref & ((1 << this.#slabBits) - 1)) * (this.#hashWords + VALUE_WORDS);
  }

  #word(slab: Uint32Array, base: number, word: number): number {
    return slab[base + this.#hashWords + word] as number; // within the record
  }
}
