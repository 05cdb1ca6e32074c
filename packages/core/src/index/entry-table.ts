import type { BlobId } from "../blob/store.ts";
import type { ContentId } from "./content-id.ts";
import type { EntryFields } from "./index-layout.ts";

/** What an index file is written from: entries by reference, a number from 0 up in order of arrival. */
export interface EntryTable {
  /** Contents held, whatever their state. */
  readonly count: number;
  /** Bytes of every key, 0 before the first entry. */
  readonly keySize: number;
  /** Puts the entry into `fields`; `pack` is a number for {@link packName}. */
  readEntry(ref: number, fields: EntryFields): void;
  idAt(ref: number): ContentId;
  /** Puts the binary key (spec §3.1) at `target[offset]`. */
  copyKey(ref: number, target: Uint8Array, offset: number): void;
  /** The first four bytes of the key as a big-endian number. */
  keyHead(ref: number): number;
  /** Bytewise order of two keys: negative when that of `a` comes first. */
  compareKeys(a: number, b: number): number;
  packName(pack: number): BlobId;
}
