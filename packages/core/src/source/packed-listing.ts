/**
 * What is in a directory as one text and one array of numbers: both cross threads cheaply, and comparing them with what
 * an earlier backup recorded needs no object for each entry.
 */
export interface PackedListing {
  /** In bytewise order, joined by slashes, which no name holds; all are UTF-8. */
  readonly names: string;
  /** {@link FACTS} numbers an entry, at the places below. */
  readonly facts: Float64Array<ArrayBuffer>;
  /**
   * Equal only for listings that are equal but for devices, which change with every mount: a cryptographic hash of names and facts.
   */
  readonly digest: string;
}

export const FACTS = 7;
/** With the type in it, as POSIX has it. */
export const MODE = 0;
export const SIZE = 1;
export const UID = 2;
export const GID = 3;
export const DEVICE = 4;
/** Of the modification time since 1970, rounded down. */
export const SECONDS = 5;
/** The rest of it, 0 to 999,999,999. */
export const NANOS = 6;

/** The bits of a mode that tell the type, and their values. */
export const TYPE_BITS = 0o170000;
export const DIRECTORY = 0o040000;
export const REGULAR = 0o100000;
export const LINK = 0o120000;

export function countOf(listing: PackedListing): number {
  return listing.facts.length / FACTS;
}

export function namesOf(listing: PackedListing): readonly string[] {
  return listing.facts.length === 0 ? [] : listing.names.split("/");
}

/** The number of entry `index` at `place`. */
export function factOf(listing: PackedListing, index: number, place: number): number {
  return listing.facts[index * FACTS + place] as number; // the caller's index is below the count
}
