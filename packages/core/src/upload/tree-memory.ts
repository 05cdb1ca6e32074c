import { assert } from "../base/errors.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import type { SnapshotSource } from "../snapshot/snapshot-manifest.ts";
import { countOf, factOf, LINK, MODE, REGULAR, SIZE, TYPE_BITS } from "../source/packed-listing.ts";
import type { PackedChildren } from "../source/source-entry.ts";
import type { DirectoryFilter } from "./directory-filter.ts";
import { type OpenDirectory, takeStored } from "./open-directory.ts";
import { ObjectKeys, type RememberedDirectory, RememberedTree } from "./remembered-tree.ts";

/** The tree as the last walk on this machine found it, and as this one finds it; see `remembered-tree.ts`. */
export class TreeMemory {
  readonly #repository: Repository;
  readonly #name: string;
  #earlier: RememberedTree | undefined;
  readonly #now = new RememberedTree();

  private constructor(repository: Repository, name: string) {
    this.#repository = repository;
    this.#name = name;
  }

  /** Nothing where nothing is kept on this machine. */
  static async open(
    repository: Repository,
    { host, userName, path }: SnapshotSource,
  ): Promise<TreeMemory | undefined> {
    const name = JSON.stringify(["tree", host, userName, path]);
    const bytes = await repository.notes?.get(name);
    if (repository.notes === undefined) {
      return undefined;
    }
    const memory = new TreeMemory(repository, name);
    try {
      memory.#earlier = bytes && RememberedTree.decode(bytes);
    } catch {
      // of a later version of varve: as good as none
    }
    return memory;
  }

  /**
   * What is remembered of the directory when that is what the earlier snapshots have there, it lists as it did, and all that
   * its entries name is stored. The directories below are not looked at.
   */
  match(directory: OpenDirectory, previous: readonly ObjectId[]): RememberedDirectory | undefined {
    const known = this.#earlier?.get(directory.path);
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
    const known = this.#earlier?.get(path);
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

  async save(): Promise<void> {
    await this.#repository.notes?.put(this.#name, this.#now.encode());
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
}

export function liveFiles(
  packed: PackedChildren,
  { filter, mtimeNs }: { readonly filter: DirectoryFilter; readonly mtimeNs: bigint },
): LiveFiles {
  const { listing } = packed;
  const places = new Uint8Array(countOf(listing));
  const leftOut: number[] = [];
  let count = 0;
  let bytes = 0;
  for (let index = 0; index < places.length; index++) {
    const type = factOf(listing, index, MODE) & TYPE_BITS;
    if (type !== REGULAR && type !== LINK) {
      continue;
    }
    if (!filter.isOpen && filter.exclusion(packed.at(index)) !== undefined) {
      leftOut.push(index);
      continue;
    }
    places[index] = 1;
    count++;
    bytes += factOf(listing, index, SIZE);
  }
  // The time is that of the record of a directory that holds nothing.
  return { places, count, bytes, state: `${listing.digest} ${mtimeNs} ${leftOut.join(",")}` };
}
