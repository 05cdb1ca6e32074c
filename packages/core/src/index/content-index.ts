import type { BlobId } from "../blob/store.ts";
import type { ContentId, ContentPrefix } from "./content-id.ts";
import type { ContentInfo } from "./content-info.ts";
import type { EntryTable } from "./entry-table.ts";
import { PackedContentIndex } from "./packed-content-index.ts";
import type { PackNeeds } from "./pack-needs.ts";
import type { ScratchFile } from "./slabs.ts";

/**
 * The merged look-up over all index files of a repository (spec §4.2): what a writer asks for every chunk it cuts.
 * Contents lie as packed 32-bit words in slabs outside the JavaScript heap, never as objects: at most 64 bytes each
 * for 16-byte hashes, table and pack names included, so that ten million take 0.6 GB at most. No I/O.
 */
export interface ContentIndex extends EntryTable {
  /**
   * Merges an index file; `bytes` are not kept. Throws what {@link parseIndex} throws, and `corrupt` when its keys have
   * another size than those already here.
   */
  addFile(bytes: Uint8Array): void;
  /** The same in steps of some milliseconds: `bytes` must stay as they are until the last one. Throws before the first, or never. */
  addFileInSteps(bytes: Uint8Array): Iterable<void>;
  /** About so many contents will come: the table is made for them at once. */
  expect(count: number): void;
  /** Merges one entry. Throws `invalid-argument` for numbers that no index holds, else like `addFile`. */
  addEntry(info: ContentInfo): void;
  /** The winning entry, deleted or not. Throws `format-unsupported` for one under an encryption key of its own. */
  get(id: ContentId): ContentInfo | undefined;
  /** Whether `get` gives something (or throws). */
  has(id: ContentId): boolean;
  /** Whether the content can be referred to: present, not deleted, readable, in a pack that is long enough. Allocates nothing. */
  isLive(id: ContentId): boolean;
  /** Whether {@link isLive} holds for all of these binary keys (spec §3.1), one after the other. */
  areLive(keys: Uint8Array): boolean;
  /** The content's number in {@link EntryTable}, which it keeps; -1 for what `get` does not give. Allocates nothing. */
  refOf(id: ContentId): number;
  /** The winning entry, as `get` gives it, of a number that `refOf` gave. */
  infoAt(ref: number): ContentInfo;
  /** The number of its pack, below `packCount`; of packs with names see {@link EntryTable.packName}. */
  packAt(ref: number): number;
  readonly packCount: number;
  /**
   * By the pack's number: bytes of its live entries, and whether any entry names it, deleted or not; those that are hidden, or
   * were deleted before this Unix second, do not count.
   */
  packUse(options?: { droppedBeforeSeconds?: number }): PackUse;
  /** Winning entries in no particular order, live ones only unless `deleted`; `prefix` "" means those without. */
  entries(options?: { prefix?: ContentPrefix; deleted?: boolean }): Iterable<ContentInfo>;
  /** From now on, entries that were deleted at this Unix second or before do not exist (spec §4.6). 0 hides none. */
  setWatermark(seconds: number): void;
  /** What was last set: a new entry must be later, to win over one that is hidden. */
  readonly watermarkSeconds: number;
  /** How many bytes each pack must have for its live entries, as of now: eight bytes a pack. */
  packNeeds(): PackNeeds;
  /** From now on only entries within these sizes are live, -1 for a pack that is missing; the rest of the packs is trusted. */
  setPackSizes(sizes: ReadonlyMap<BlobId, number>): void;
  /** What {@link setPackSizes} has taken out and no entry has replaced since. */
  lost(): LostContents;
  /** Bytes held for contents, pack names and look-up tables. */
  readonly memoryBytes: number;
}

/** Live entries whose bytes cannot be where they should. */
export interface LostContents {
  readonly contents: number;
  /** Packs of theirs that are gone. */
  readonly missingPacks: number;
  /** Packs of theirs that end before them. */
  readonly shortPacks: number;
}

export interface PackUse {
  readonly liveBytes: Float64Array;
  readonly isNamed: Uint8Array;
}

/** What an index may hold in memory, and where the rest lies; the table of references stays, 5 to 8 bytes a content. */
export interface IndexBound {
  readonly maxBytes: number;
  /** Stays the caller's. */
  readonly scratch: ScratchFile;
}

/**
 * With a bound, adding throws `invalid-argument` once even the table alone is too large for it, and anything may throw what
 * the scratch file throws.
 */
export function createContentIndex(bound?: IndexBound): ContentIndex {
  return new PackedContentIndex(bound);
}
