import type { ErrorCode } from "../base/errors.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryRecord } from "../snapshot/directory.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { IdSet } from "./id-set.ts";
import { ObjectProblems } from "./object-problems.ts";
import { type Findings, entryKey, reasonOf } from "./structure.ts";

/** Something in a snapshot that cannot be restored as it was. */
export interface Damage {
  /**
   * The manifest id of the snapshot, the root object's id where that was asked for, the content id of manifests that cannot be
   * read, or the id of such an index blob.
   */
  readonly snapshot: string;
  /** Relative to the root, `""` for the root itself. A damaged directory stands for all that was in it. */
  readonly path: string;
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * Leads findings back to every path of every snapshot that they are met on. Walks the trees again, but only into
 * directories that are not known to be clean.
 */
export class DamageMap {
  readonly #repository: Repository;
  readonly #findings: Findings;
  readonly #signal: AbortSignal | undefined;
  readonly #report: (damage: Damage) => void;
  readonly #problems: ObjectProblems;
  /** Directories. */
  readonly #clean: IdSet;

  constructor(options: {
    repository: Repository;
    findings: Findings;
    signal: AbortSignal | undefined;
    report: (damage: Damage) => void;
  }) {
    this.#repository = options.repository;
    this.#clean = new IdSet(options.repository.contents.index);
    this.#findings = options.findings;
    this.#problems = new ObjectProblems(options);
    this.#signal = options.signal;
    this.#report = options.report;
  }

  /** True when the directory or anything below it is damaged. */
  async mapDirectory(snapshot: string, object: ObjectId, path: string): Promise<boolean> {
    this.#signal?.throwIfAborted();
    if (this.#clean.has(object)) {
      return false;
    }
    const known = this.#findings.objects.get(object);
    if (known !== undefined) {
      this.#report({ snapshot, path, ...known });
      return true;
    }
    let record: DirectoryRecord;
    try {
      record = await readDirectory(this.#repository, object, { signal: this.#signal });
    } catch (error) {
      this.#signal?.throwIfAborted();
      this.#report({ snapshot, path, ...reasonOf(error) });
      return true;
    }
    const contentProblem = await this.#problems.ofContents(object);
    if (contentProblem !== undefined) {
      this.#report({ snapshot, path, ...contentProblem });
    }
    let damaged = contentProblem !== undefined || record.damaged.length > 0;
    for (const { name, reason } of record.damaged) {
      this.#report({ snapshot, path: join(path, name), code: "corrupt", message: reason });
    }
    for (const entry of record.entries) {
      damaged = (await this.#mapEntry(snapshot, object, path, entry)) || damaged;
    }
    if (!damaged) {
      this.#clean.add(object);
    }
    return damaged;
  }

  async mapFile(snapshot: string, object: ObjectId, path: string): Promise<boolean> {
    const reason = await this.#problems.of(object);
    if (reason !== undefined) {
      this.#report({ snapshot, path, ...reason });
    }
    return reason !== undefined;
  }

  async #mapEntry(
    snapshot: string,
    directory: ObjectId,
    directoryPath: string,
    entry: DirectoryEntry,
  ): Promise<boolean> {
    const path = join(directoryPath, entry.name);
    if (entry.type === "directory") {
      return await this.mapDirectory(snapshot, entry.object, path);
    }
    if (await this.mapFile(snapshot, entry.object, path)) {
      return true;
    }
    const reason = this.#findings.entries.get(entryKey(directory, entry));
    if (reason !== undefined) {
      this.#report({ snapshot, path, ...reason });
    }
    return reason !== undefined;
  }
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}
