import type { CallOptions } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { summaryToJson } from "../snapshot/entry-json.ts";
import { nameKey } from "../snapshot/entry-name.ts";
import { readDirectory } from "../snapshot/read-directory.ts";

/**
 * Which object of the target holds the bytes of which of the source: what is in here is not read again. About 300 bytes for each
 * distinct object. It is learned anew from snapshots that were copied before, so nothing is kept beside the repositories.
 */
export class CopiedObjects {
  readonly files: Map<ObjectId, ObjectId> = new Map();
  readonly directories: Map<ObjectId, ObjectId> = new Map();
  readonly #source: Repository;
  readonly #target: Repository;

  constructor(repositories: { readonly source: Repository; readonly target: Repository }) {
    this.#source = repositories.source;
    this.#target = repositories.target;
  }

  /**
   * Goes through a tree and its copy together. A copy may be a part of it, as checkpoints are; what cannot be read, or has lost
   * contents since, is not learned. True when `copy` holds all of `original`.
   */
  async learn(
    original: DirectoryEntry,
    copy: DirectoryEntry,
    options: CallOptions = {},
  ): Promise<boolean> {
    options.signal?.throwIfAborted();
    if (!isSameMeta(original, copy)) {
      return false;
    }
    if (original.type !== "directory") {
      const isThere =
        this.files.get(original.object) === copy.object ||
        (await this.#isStored(copy.object, options));
      if (isThere) {
        this.files.set(original.object, copy.object);
      }
      return isThere;
    }
    if (this.directories.get(original.object) === copy.object) {
      return true;
    }
    const isWhole = await this.#learnDirectory(original.object, copy.object, options);
    if (isWhole) {
      this.directories.set(original.object, copy.object);
    }
    return isWhole;
  }

  async #learnDirectory(
    original: ObjectId,
    copy: ObjectId,
    options: CallOptions,
  ): Promise<boolean> {
    try {
      const there = await readDirectory(this.#target, copy, options);
      const here = await readDirectory(this.#source, original, options);
      const byName = new Map(there.entries.map((entry) => [nameKey(entry), entry]));
      let isWhole =
        here.damaged.length === 0 &&
        here.entries.length === there.entries.length &&
        // Also says that it is a part, where it is one.
        JSON.stringify(summaryToJson(here.summary)) ===
          JSON.stringify(summaryToJson(there.summary)) &&
        (await this.#isStored(copy, options));
      for (const entry of here.entries) {
        const other = byName.get(nameKey(entry));
        const isLearned = other !== undefined && (await this.learn(entry, other, options));
        isWhole &&= isLearned;
      }
      return isWhole;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (isVarveError(error)) {
        return false; // then it is copied again
      }
      throw error;
    }
  }

  async #isStored(object: ObjectId, options: CallOptions): Promise<boolean> {
    try {
      for await (const id of this.#target.objects.contents(object, options)) {
        if (!this.#target.contents.isStored(id)) {
          return false;
        }
      }
      return true;
    } catch (error) {
      if (isVarveError(error, "content-not-found") || isVarveError(error, "corrupt")) {
        return false;
      }
      throw error;
    }
  }
}

/** The root's name is not compared: it says where the snapshot was made. */
function isSameMeta(a: DirectoryEntry, b: DirectoryEntry): boolean {
  return (
    a.type === b.type &&
    a.mode === b.mode &&
    a.sizeBytes === b.sizeBytes &&
    a.mtimeNs === b.mtimeNs &&
    a.uid === b.uid &&
    a.gid === b.gid
  );
}
