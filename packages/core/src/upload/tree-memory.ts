import { assert } from "../base/errors.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import type { SnapshotSource } from "../snapshot/snapshot-manifest.ts";
import { countOf, factOf, LINK, MODE, REGULAR, SIZE, TYPE_BITS } from "../source/packed-listing.ts";
import type { ExpectedDirectory, PackedChildren } from "../source/source-entry.ts";
import type { DirectoryFilter, Exclusion } from "./directory-filter.ts";
import { type OpenDirectory, takeStored } from "./open-directory.ts";
import { ObjectKeys, type RememberedDirectory, RememberedTree } from "./remembered-tree.ts";

/** Of most contents. */
const BYTES_OF_KEY = 17;

/** The tree as the last walk on this machine found it, and as this one finds it; see `remembered-tree.ts`. */
export class TreeMemory {
  readonly #repository: Repository;
  readonly #earlier: RememberedTree;
  readonly #now = new RememberedTree();
  /** Keeps what was found for the next walk. Never rejects. */
  readonly save: () => Promise<void>;

  private constructor(
    repository: Repository,
    { earlier, put }: { earlier: RememberedTree; put: (note: Uint8Array) => Promise<void> },
  ) {
    this.#repository = repository;
    this.#earlier = earlier;
    this.save = async () => put(this.#now.encode());
  }

  /** Nothing where nothing is kept on this machine. */
  static async open(
    repository: Repository,
    { host, userName, path }: SnapshotSource,
  ): Promise<TreeMemory | undefined> {
    const { notes } = repository;
    if (notes === undefined) {
      return undefined;
    }
    const name = JSON.stringify(["tree", host, userName, path]);
    return new TreeMemory(repository, {
      earlier: decoded(await notes.get(name)),
      put: (note) => notes.put(name, note),
    });
  }

  /** The directories of the last walk, for the source to look at ahead. */
  expected(): readonly ExpectedDirectory[] {
    return Array.from(this.#earlier.inOrder(), ([path, { keys, directories }]) => ({
      path,
      entries: Math.ceil(keys.length / BYTES_OF_KEY) + directories,
    }));
  }

  /**
   * What is remembered of the directory when that is what the earlier snapshots have there, it lists as it did, and all that
   * its entries name is stored. The directories below are not looked at.
   */
  match(directory: OpenDirectory, previous: readonly ObjectId[]): RememberedDirectory | undefined {
    const known = this.#earlier.get(directory.path);
    return known !== undefined &&
      previous.length === 1 &&
      previous[0] === known.object &&
      known.state === directory.state &&
      this.#repository.contents.areStored(known.keys)
      ? known
      : undefined;
  }

  /** How the earlier snapshot has a directory below one that matched. */
  objects(path: string): readonly ObjectId[] {
    const known = this.#earlier.get(path);
    return known === undefined ? [] : [known.object];
  }

  /** Takes the record of `known` over for a directory that was walked, if the directories below are what they were, too. */
  take(directory: OpenDirectory, known: RememberedDirectory): boolean {
    const { walkedChildren, takenChildren, failures } = directory;
    const isSame =
      failures.length === 0 &&
      walkedChildren === takenChildren &&
      takenChildren === known.directories &&
      takeStored(this.#repository, known.object);
    if (isSame) {
      directory.taken = known;
      if (directory.parent !== undefined) {
        directory.parent.takenChildren++;
      }
    }
    return isSame;
  }

  /** Called for a directory that is in the snapshot as `entry`, after those below it. */
  remember(directory: OpenDirectory, { object, summary }: DirectoryEntry): void {
    const { path, parent, state, taken, failures, entries, isExact } = directory;
    const directories = entries.filter(({ type }) => type === "directory").length;
    const mayBe = state !== undefined && failures.length === 0 && isExact;
    if (!mayBe || directory.rememberedChildren !== directories) {
      return; // those that have it for a parent are found through it
    }
    assert(summary !== undefined, "a directory has a summary");
    const keys = taken?.keys ?? keysOf(directory);
    if (
      this.#now.set(path, { object, state, directories, summary, keys }) &&
      parent !== undefined
    ) {
      parent.rememberedChildren++;
    }
  }
}

/** A note of another version of varve is as good as none. */
function decoded(note: Uint8Array | undefined): RememberedTree {
  try {
    return (note && RememberedTree.decode(note)) ?? new RememberedTree();
  } catch {
    return new RememberedTree();
  }
}

function keysOf({ entries, keptKeys }: OpenDirectory): Uint8Array {
  const keys = keptKeys ?? new ObjectKeys();
  for (const { type, object } of entries) {
    if (type !== "directory") {
      keys.add(object);
    }
  }
  return keys.all();
}

/** The files and links of a directory that the backup does not leave out. */
export interface LiveFiles {
  /** By place in the listing: 1 for those. */
  readonly places: Uint8Array;
  readonly count: number;
  readonly bytes: number;
  /** Equal only when these, all about them, and what else is in the directory are equal. */
  readonly state: string;
  /** The filter for the children of the directory, which does not look again at what it has judged. */
  readonly filter: DirectoryFilter;
}

export function liveFiles(
  packed: PackedChildren,
  { filter, mtimeNs }: { readonly filter: DirectoryFilter; readonly mtimeNs: bigint },
): LiveFiles {
  const { listing } = packed;
  const places = new Uint8Array(countOf(listing));
  const leftOut: number[] = [];
  const judged = new Map<string, Exclusion>();
  let count = 0;
  let bytes = 0;
  for (let index = 0; index < places.length; index++) {
    const type = factOf(listing, index, MODE) & TYPE_BITS;
    if (type !== REGULAR && type !== LINK) {
      continue;
    }
    const file = filter.isOpen ? undefined : packed.at(index);
    const excluded = file && filter.exclusion(file);
    if (file !== undefined && excluded !== undefined) {
      leftOut.push(index);
      judged.set(file.name, excluded);
      continue;
    }
    places[index] = 1;
    count++;
    bytes += factOf(listing, index, SIZE);
  }
  // The time is that of the record of a directory that holds nothing.
  const state = `${listing.digest} ${mtimeNs} ${leftOut.join(",")}`;
  const exclusion: DirectoryFilter["exclusion"] = (child) =>
    child.meta.type === "file" || child.meta.type === "symlink"
      ? judged.get(child.name)
      : filter.exclusion(child);
  return { places, count, bytes, state, filter: { ...filter, exclusion } };
}
