import { errorMessage } from "../base/errors.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { type EntryName, nameKey } from "../snapshot/entry-name.ts";
import type { KeptEntries } from "../snapshot/kept-entries.ts";
import { parseDirectory } from "../snapshot/directory.ts";
import { readRecord } from "../snapshot/read-directory.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import type { EarlierRecord } from "./earlier-record.ts";
import { withoutKept } from "./match-entries.ts";

/** The directories of earlier snapshots that stand where one live directory stands (behaviour §1.2), newest first. */
export class PreviousDirectories {
  readonly #repository: Repository;
  readonly #directories: readonly ReadonlyMap<string, DirectoryEntry>[];
  readonly newest: EarlierRecord | undefined;

  constructor(repository: Repository, records: readonly EarlierRecord[]) {
    this.#repository = repository;
    this.newest = records[0];
    this.#directories = records.map(
      ({ record }) => new Map(record.entries.map((entry) => [nameKey(entry), entry])),
    );
  }

  /** The first earlier entry that the live one equals and whose object is stored (behaviour §1.3). */
  unchanged(live: SourceEntry): DirectoryEntry | undefined {
    const key = nameKey(live);
    for (const directory of this.#directories) {
      const earlier = this.#equal(directory.get(key), live);
      if (earlier !== undefined) {
        return earlier;
      }
    }
    return undefined;
  }

  /** The same, when contents are known to be lost: every piece of the object must be stored. */
  async unchangedInAllPieces(
    live: SourceEntry,
    options: { readonly signal: AbortSignal },
  ): Promise<DirectoryEntry | undefined> {
    const key = nameKey(live);
    for (const directory of this.#directories) {
      const earlier = this.#equal(directory.get(key), live);
      if (
        earlier !== undefined &&
        (await hasAllPieces(this.#repository, earlier.object, options))
      ) {
        return earlier;
      }
    }
    return undefined;
  }

  #equal(earlier: DirectoryEntry | undefined, live: SourceEntry): DirectoryEntry | undefined {
    return earlier !== undefined && equalMetadata(live, earlier) && this.#isStored(earlier.object)
      ? earlier
      : undefined;
  }

  /** The earlier directories of that name, each once. */
  children(name: EntryName): readonly ObjectId[] {
    const key = nameKey(name);
    const found = this.#directories.flatMap((directory) => {
      const earlier = directory.get(key);
      return earlier?.type === "directory" ? [earlier.object] : [];
    });
    return [...new Set(found)];
  }

  /** Kopia trusts the earlier snapshot; looking into the index costs little and heals a file whose content was lost. */
  #isStored(object: ObjectId): boolean {
    return this.#repository.contents.isStored(splitObjectId(object).contentId);
  }
}

/** False, too, when that cannot be told. */
export async function hasAllPieces(
  { contents, objects }: Repository,
  object: ObjectId,
  { signal }: { readonly signal: AbortSignal },
): Promise<boolean> {
  try {
    for await (const id of objects.contents(object, { signal })) {
      if (!contents.isStored(id)) {
        return false;
      }
    }
    return true;
  } catch {
    signal.throwIfAborted();
    return false; // the index of its pieces is damaged: the file is at hand
  }
}

/** Finds what of a record can be kept as it is; see `match-entries.ts`. */
export type Keeper = (record: Uint8Array) => Promise<KeptEntries | undefined>;

/**
 * Reads the directories; one that cannot be read only costs the comparison with it. What `keep` finds in the newest is in
 * `kept` and not among the entries.
 */
export async function loadPreviousDirectories(
  repository: Repository,
  objects: readonly ObjectId[],
  { keep, signal }: { readonly keep?: Keeper | undefined; readonly signal: AbortSignal },
): Promise<{ readonly previous: PreviousDirectories; readonly kept: KeptEntries | undefined }> {
  const records: EarlierRecord[] = [];
  let kept: KeptEntries | undefined;
  for (const object of objects) {
    try {
      const bytes = await readRecord(repository, object, { signal });
      const found = records.length === 0 ? await keep?.(bytes) : undefined;
      const rest = found === undefined ? bytes : withoutKept(found);
      records.push({ object, record: parseDirectory(rest, `directory ${object}`) });
      kept ??= found;
    } catch (error) {
      signal.throwIfAborted();
      repository.environment.log({
        level: "warning",
        message: `earlier directory ${object} is not compared with: ${errorMessage(error)}`,
      });
    }
  }
  return { previous: new PreviousDirectories(repository, records), kept };
}

function equalMetadata({ meta }: SourceEntry, earlier: DirectoryEntry): boolean {
  return (
    meta.mtimeNs === earlier.mtimeNs &&
    meta.type === earlier.type &&
    meta.mode === earlier.mode &&
    meta.uid === earlier.uid &&
    meta.gid === earlier.gid &&
    meta.sizeBytes === earlier.sizeBytes
  );
}
