import { type ErrorCode, VarveError, errorMessage } from "../base/errors.ts";
import { Turns } from "../base/turns.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { ObjectEntry } from "../object/object-store.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryRecord } from "../snapshot/directory.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { nameKey } from "../snapshot/entry-name.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { IdSet } from "./id-set.ts";
import { type PackSizes, placeProblem } from "./packs.ts";

/** Deeper than restore goes; see there. */
export const MAX_DEPTH = 1000;

/** What is wrong with something that several paths may lead to. */
export interface Reason {
  readonly code: ErrorCode;
  readonly message: string;
}

export function reasonOf(error: unknown): Reason {
  return {
    code: error instanceof VarveError ? error.code : "storage-failed",
    message: errorMessage(error),
  };
}

/** Everything bad that was found, by what it is bad in; paths come later. */
export interface Findings {
  readonly contents: Map<ContentId, Reason>;
  /** Directories that cannot be read, and files whose pieces do not fit together. */
  readonly objects: Map<ObjectId, Reason>;
  /** By {@link entryKey}: entries that say of their object what is not so. */
  readonly entries: Map<string, Reason>;
  /** Directories with entries that were set aside while reading. */
  readonly directories: Set<ObjectId>;
}

export function noFindings(): Findings {
  return { contents: new Map(), objects: new Map(), entries: new Map(), directories: new Set() };
}

export function entryKey(directory: ObjectId, entry: DirectoryEntry): string {
  return `${directory}/${nameKey(entry)}`;
}

/**
 * Reads every distinct directory below some roots, and looks up where every content of every distinct file lies. Collects
 * the contents whose bytes are to be read, and what is wrong; follows no path twice.
 */
export class StructureCheck {
  readonly findings: Findings = noFindings();
  /** All contents that are used. */
  readonly contents: IdSet;
  /** Those among them to be read. */
  readonly toRead: IdSet;
  directories = 0;
  files = 0;
  readonly #seen: IdSet;
  readonly #repository: Repository;
  readonly #packs: PackSizes | undefined;
  readonly #isSelected: (file: ObjectId) => boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: () => void;
  readonly #turns: Turns;

  constructor(options: {
    repository: Repository;
    /** Left out, contents are looked up in the index alone. */
    packs: PackSizes | undefined;
    isSelected: (file: ObjectId) => boolean;
    signal: AbortSignal | undefined;
    onProgress: () => void;
  }) {
    const { index } = options.repository.contents;
    this.contents = new IdSet(index);
    this.toRead = new IdSet(index);
    this.#seen = new IdSet(index);
    this.#repository = options.repository;
    this.#packs = options.packs;
    this.#isSelected = options.isSelected;
    this.#signal = options.signal;
    this.#onProgress = options.onProgress;
    this.#turns = new Turns(options.repository.environment);
  }

  async checkDirectory(root: ObjectId): Promise<void> {
    const stack = this.#seen.add(root) ? [{ object: root, depth: 0 }] : [];
    while (stack.length > 0) {
      const next = stack.splice(-this.#repository.memory.parallelReads); // what is read at once
      const records = await Promise.all(next.map(({ object }) => this.#read(object)));
      for (const [index, { object, depth }] of next.entries()) {
        const record = records[index];
        if (record === undefined) {
          continue;
        }
        for (const entry of record.entries) {
          await this.#turns.due();
          if (entry.type !== "directory") {
            await this.#checkEntry(object, entry);
          } else if (this.#seen.add(entry.object)) {
            stack.push({ object: entry.object, depth: depth + 1 });
          }
        }
        if (depth > MAX_DEPTH) {
          const message = `directories are nested more than ${MAX_DEPTH} deep`;
          this.findings.objects.set(object, { code: "corrupt", message });
        }
      }
      this.#onProgress();
    }
  }

  /** Gives the file's length, unless only reading it could tell. */
  async checkFile(object: ObjectId): Promise<number | undefined> {
    this.#signal?.throwIfAborted();
    const isNew = this.#seen.add(object);
    this.files += isNew ? 1 : 0;
    const { indirections, compressed, contentId } = splitObjectId(object);
    const isSelected = this.#isSelected(object);
    if (indirections === 0) {
      const info = this.#checkContent(contentId, isSelected);
      return compressed ? undefined : info?.originalLength;
    }
    return isNew ? await this.#checkPieces(object, isSelected) : undefined;
  }

  async #read(directory: ObjectId): Promise<DirectoryRecord | undefined> {
    this.directories += 1;
    await this.#turns.due();
    try {
      for await (const id of this.#repository.objects.contents(directory, {
        signal: this.#signal,
      })) {
        this.#checkContent(id, false); // reading the record is what checks its bytes
      }
      const record = await readDirectory(this.#repository, directory, { signal: this.#signal });
      if (record.damaged.length > 0) {
        this.findings.directories.add(directory);
      }
      return record;
    } catch (error) {
      this.#signal?.throwIfAborted();
      this.findings.objects.set(directory, reasonOf(error));
      return undefined;
    }
  }

  async #checkEntry(directory: ObjectId, entry: DirectoryEntry): Promise<void> {
    const sizeBytes = await this.checkFile(entry.object);
    if (sizeBytes !== undefined && sizeBytes !== entry.sizeBytes) {
      this.findings.entries.set(entryKey(directory, entry), {
        code: "corrupt",
        message: `recorded with ${entry.sizeBytes} bytes, object ${entry.object} has ${sizeBytes}`,
      });
    }
  }

  async #checkPieces(object: ObjectId, isSelected: boolean): Promise<number | undefined> {
    try {
      let end = 0;
      let gap: number | undefined;
      for await (const part of this.#repository.objects.parts(object, { signal: this.#signal })) {
        await this.#turns.due();
        for (const id of part.index) {
          this.#checkContent(id, false); // going through the pieces reads it
        }
        for (const piece of part.pieces) {
          const fits = this.#checkPiece(piece, isSelected) && piece.start === end;
          gap ??= fits ? undefined : end; // what comes after it is in use, too
          end += piece.length;
        }
      }
      if (gap !== undefined) {
        throw new VarveError("corrupt", `object ${object}: pieces do not fit together at ${gap}`);
      }
      return end;
    } catch (error) {
      this.#signal?.throwIfAborted();
      this.findings.objects.set(object, reasonOf(error));
      return undefined;
    }
  }

  /** False when it has not the length that is listed. */
  #checkPiece({ object, length }: ObjectEntry, isSelected: boolean): boolean {
    const { compressed, contentId } = splitObjectId(object);
    const info = this.#checkContent(contentId, isSelected);
    return compressed || info === undefined || info.originalLength === length;
  }

  #checkContent(id: ContentId, isSelected: boolean): ContentInfo | undefined {
    const info = this.#repository.contents.info(id);
    if (this.contents.add(id)) {
      const problem =
        info === undefined
          ? new VarveError("content-not-found", `content ${id} is in no index`)
          : this.#packs && placeProblem(this.#packs, info);
      if (problem !== undefined) {
        this.findings.contents.set(id, reasonOf(problem));
      }
    }
    if (isSelected && !this.findings.contents.has(id)) {
      this.toRead.add(id);
    }
    return info;
  }
}
