import { errorMessage } from "../base/errors.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { type EntryName, nameKey } from "../snapshot/entry-name.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import type { SourceEntry } from "../source/source-entry.ts";

/** The directories of earlier snapshots that stand where one live directory stands (behaviour §1.2), newest first. */
export class PreviousDirectories {
  readonly #repository: Repository;
  readonly #directories: readonly ReadonlyMap<string, DirectoryEntry>[];

  constructor(repository: Repository, directories: readonly ReadonlyMap<string, DirectoryEntry>[]) {
    this.#repository = repository;
    this.#directories = directories;
  }

  /** The stored object of the first earlier entry that the live one equals (behaviour §1.3). */
  async unchanged(
    live: SourceEntry,
    options: { readonly checkPieces: boolean; readonly signal: AbortSignal },
  ): Promise<ObjectId | undefined> {
    const key = nameKey(live);
    for (const directory of this.#directories) {
      const earlier = directory.get(key);
      if (
        earlier !== undefined &&
        equalMetadata(live, earlier) &&
        this.#isStored(earlier.object) &&
        (!options.checkPieces || (await this.#hasAllPieces(earlier.object, options)))
      ) {
        return earlier.object;
      }
    }
    return undefined;
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

  async #hasAllPieces(object: ObjectId, { signal }: { signal: AbortSignal }): Promise<boolean> {
    const { contents, objects } = this.#repository;
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
}

/** Reads the directories; one that cannot be read only costs the comparison with it. */
export async function loadPreviousDirectories(
  repository: Repository,
  objects: readonly ObjectId[],
  options: { signal: AbortSignal },
): Promise<PreviousDirectories> {
  const directories: ReadonlyMap<string, DirectoryEntry>[] = [];
  for (const object of objects) {
    try {
      const { entries } = await readDirectory(repository, object, options);
      directories.push(new Map(entries.map((entry) => [nameKey(entry), entry])));
    } catch (error) {
      options.signal.throwIfAborted();
      repository.environment.log({
        level: "warning",
        message: `earlier directory ${object} is not compared with: ${errorMessage(error)}`,
      });
    }
  }
  return new PreviousDirectories(repository, directories);
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
