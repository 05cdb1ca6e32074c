import { fromUtf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { type BlobId, parseBlobId } from "../blob/store.ts";
import type { ContentId } from "./content-id.ts";
import type { ContentInfo } from "./content-info.ts";

/** Key size of the longest hash (32 bytes) with its prefix byte. */
export const MAX_KEY_SIZE: number = 33;
/** Lengths in bytes of contents, plain and packed, lie below (spec §4.4). */
export const MAX_CONTENT_LENGTH: number = 2 ** 28;
/** New entries start below in their pack (spec §4.4); readers take one bit more, as Kopia does. */
export const MAX_PACK_OFFSET: number = 2 ** 30;
/** What version 1 assumes to lie between a packed and a plain length (spec §4.3). */
export const V1_OVERHEAD: number = 28;
/** Forty bits are kept of a time: enough for 34 000 years. */
export const MAX_TIMESTAMP_SECONDS: number = 2 ** 40;

/** One entry without its key, filled in place so that a scan of millions allocates nothing. */
export interface EntryFields {
  timestampSeconds: number;
  deleted: boolean;
  packOffset: number;
  packedLength: number;
  originalLength: number;
  /** Number of the pack in {@link IndexLayout.packName}. */
  pack: number;
  compressionHeaderId: number;
  formatVersion: number;
  encryptionKeyId: number;
}

/** Where things lie in an index file whose header and tables have been checked against its length. */
export interface IndexLayout {
  readonly version: 1 | 2;
  readonly keySize: number;
  readonly entrySize: number;
  readonly count: number;
  readonly entriesOffset: number;
  /** Packs known so far: in version 1 they become known as entries are read. */
  readonly packCount: number;
  packName(pack: number): BlobId;
  /** Reads the value at `offset`. Throws `corrupt` when it points outside the tables. */
  readValue(offset: number, fields: EntryFields): void;
}

export function emptyFields(): EntryFields {
  return {
    timestampSeconds: 0,
    deleted: false,
    packOffset: 0,
    packedLength: 0,
    originalLength: 0,
    pack: 0,
    compressionHeaderId: 0,
    formatVersion: 0,
    encryptionKeyId: 0,
  };
}

export function corruptIndex(what: string, cause?: unknown): VarveError {
  return new VarveError("corrupt", `index file: ${what}`, { cause });
}

/** The pack name at `offset`. Throws `corrupt`. */
export function readPackName(bytes: Uint8Array, offset: number, length: number): BlobId {
  if (offset + length > bytes.length) {
    throw corruptIndex(`pack name at ${offset} of ${length} bytes lies outside`);
  }
  try {
    return parseBlobId(fromUtf8(bytes.subarray(offset, offset + length)));
  } catch (cause) {
    throw corruptIndex(`bad pack name at ${offset}`, cause);
  }
}

/** Takes over an entry as {@link infoOf} gives it. */
export function setFields(fields: EntryFields, info: ContentInfo, pack: number): void {
  fields.timestampSeconds = info.timestampSeconds;
  fields.deleted = info.deleted;
  fields.packOffset = info.packOffset;
  fields.packedLength = info.packedLength;
  fields.originalLength = info.originalLength;
  fields.pack = pack;
  fields.compressionHeaderId = info.compressionHeaderId;
  fields.formatVersion = info.formatVersion;
  fields.encryptionKeyId = info.encryptionKeyId ?? 0;
}

/** An entry as the layers above see it. */
export function infoOf(id: ContentId, fields: EntryFields, packBlobId: BlobId): ContentInfo {
  const info: ContentInfo = {
    id,
    packBlobId,
    packOffset: fields.packOffset,
    packedLength: fields.packedLength,
    originalLength: fields.originalLength,
    timestampSeconds: fields.timestampSeconds,
    deleted: fields.deleted,
    formatVersion: fields.formatVersion,
    compressionHeaderId: fields.compressionHeaderId,
  };
  return fields.encryptionKeyId === 0 ? info : { ...info, encryptionKeyId: fields.encryptionKeyId };
}

/** Spec §9.1: such an entry does no harm until its content is wanted. */
export function requireReadable(id: ContentId, encryptionKeyId: number): void {
  if (encryptionKeyId !== 0) {
    throw new VarveError(
      "format-unsupported",
      `content ${id} has encryption key ${encryptionKeyId}`,
    );
  }
}

/** Throws `invalid-argument` when a number of `entry` does not fit its place in an index (spec §4.4). */
export function requireStorable(entry: ContentInfo): void {
  const fits =
    isBelow(entry.timestampSeconds, MAX_TIMESTAMP_SECONDS) &&
    isBelow(entry.packOffset, MAX_PACK_OFFSET) &&
    isBelow(entry.packedLength, MAX_CONTENT_LENGTH) &&
    isBelow(entry.originalLength, MAX_CONTENT_LENGTH) &&
    isBelow(entry.formatVersion, 256) &&
    isBelow(entry.compressionHeaderId, 2 ** 32) &&
    isBelow(entry.encryptionKeyId ?? 0, 256);
  if (!fits) {
    throw new VarveError("invalid-argument", `no index entry can hold ${JSON.stringify(entry)}`);
  }
}

function isBelow(value: number, limit: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < limit;
}
