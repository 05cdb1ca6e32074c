import { VarveError } from "../base/errors.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryRecord } from "../snapshot/directory.ts";
import type { DirectoryEntry, EntryMeta } from "../snapshot/entry.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { mayHavePlaceholder } from "../source/placeholder.ts";
import type { ReportBuilder } from "./report.ts";
import type { EntryPath, RestoreTarget } from "./target.ts";

/**
 * The directories of what is restored: read depth-first with some records ahead, made before what is in them, and
 * finished when everything in them is done, however many files are still being written elsewhere. Holds the way
 * down and the names still to come, never the whole tree.
 */

// Deeper than any file system allows paths to be; a hostile tree may be as deep as it likes.
export const MAX_DEPTH = 1000;

/** A directory that is being filled. */
export interface DirectoryNode {
  readonly path: EntryPath;
  readonly meta: EntryMeta | undefined;
  readonly parent: DirectoryNode | undefined;
  readonly depth: number;
  /** What must end before the directory is finished: its listing, and each entry in it. */
  open: number;
  /** False when it could not be made: then nothing in it is tried. */
  made: boolean;
}

/** Something to be restored, in the order of the tree. */
export type TreeStep =
  | {
      readonly kind: "directory";
      readonly node: DirectoryNode;
      readonly entries: readonly DirectoryEntry[];
    }
  | {
      readonly kind: "file" | "symlink";
      readonly path: EntryPath;
      readonly meta: EntryMeta | undefined;
      readonly object: ObjectId;
      readonly parent: DirectoryNode | undefined;
    };

interface PendingDirectory {
  readonly node: DirectoryNode;
  readonly object: ObjectId;
  record?: Promise<DirectoryRecord>;
}

/** How much of a tree is restored, and what stands for the rest. */
export interface Shallow {
  readonly depth: number;
  readonly minSizeBytes?: number | undefined;
}

export class TreeWalk {
  readonly #repository: Repository;
  readonly #target: RestoreTarget;
  readonly #report: ReportBuilder;
  readonly #shallow: Shallow | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(options: {
    repository: Repository;
    target: RestoreTarget;
    report: ReportBuilder;
    shallow: Shallow | undefined;
    signal: AbortSignal | undefined;
  }) {
    this.#repository = options.repository;
    this.#target = options.target;
    this.#report = options.report;
    this.#shallow = options.shallow;
    this.#signal = options.signal;
  }

  /** Every entry counts as open until `release` is called for its parent; directories do that themselves. */
  async *steps(root: DirectoryEntry | ObjectId): AsyncGenerator<TreeStep, void, undefined> {
    if (this.#shallow !== undefined && this.#target.placeholder === undefined) {
      throw new VarveError("unsupported", "a shallow restore needs a folder to write to");
    }
    const path: EntryPath = { name: typeof root === "string" ? "" : root.name };
    const meta = typeof root === "string" ? undefined : root;
    const object = typeof root === "string" ? root : root.object;
    const kind = typeof root === "string" ? kindOfObject(root) : root.type;
    if (kind !== "directory") {
      yield { kind, path, meta, object, parent: undefined };
      return;
    }
    const node = { path, meta, parent: undefined, depth: 0, open: 1, made: true };
    const stack: PendingDirectory[] = [{ node, object }];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      this.#signal?.throwIfAborted();
      const record = await this.#record(next);
      if (record !== undefined) {
        yield* this.#enter(next.node, record, stack);
        this.#readAhead(stack);
      }
      await this.release(next.node);
    }
  }

  /** Makes the directory of a step; its failure is in the report. */
  async make(node: DirectoryNode, entries: readonly DirectoryEntry[]): Promise<void> {
    try {
      this.#report.deleted += await this.#target.directory(node.path, node.meta, entries);
    } catch (error) {
      node.made = false;
      this.#report.fail(node.path, error);
    }
  }

  /** One thing in the directory has ended; the last one finishes it. */
  async release(node: DirectoryNode | undefined): Promise<void> {
    for (let at = node; at !== undefined; at = at.parent) {
      at.open -= 1;
      if (at.open > 0) {
        return;
      }
      if (at.made) {
        try {
          await this.#target.finishDirectory(at.path, at.meta);
          this.#report.directories += 1;
          this.#report.progress();
        } catch (error) {
          this.#report.fail(at.path, error);
        }
      }
    }
  }

  async *#enter(
    node: DirectoryNode,
    record: DirectoryRecord,
    stack: PendingDirectory[],
  ): AsyncGenerator<TreeStep, void, undefined> {
    if (this.#target.ordered === true) {
      yield { kind: "directory", node, entries: record.entries };
    } else {
      await this.make(node, record.entries);
    }
    for (const { name, reason } of record.damaged) {
      this.#report.fail({ parent: node.path, name }, new VarveError("corrupt", reason));
    }
    if (!node.made) {
      return;
    }
    const directories: PendingDirectory[] = [];
    for (const entry of record.entries) {
      const path = { parent: node.path, name: entry.name, nameBytes: entry.nameBytes };
      if (this.#isLeftOut(entry, node.depth + 1)) {
        await this.#writePlaceholder(path, entry);
        continue;
      }
      node.open += 1;
      if (entry.type === "directory") {
        const depth = node.depth + 1;
        directories.push({
          node: { path, meta: entry, parent: node, depth, open: 1, made: true },
          object: entry.object,
        });
      } else {
        yield { kind: entry.type, path, meta: entry, object: entry.object, parent: node };
      }
    }
    stack.push(...directories.reverse());
  }

  #isLeftOut(entry: DirectoryEntry, depth: number): boolean {
    const { depth: deepest = Number.POSITIVE_INFINITY, minSizeBytes = 0 } = this.#shallow ?? {};
    return (
      depth > deepest &&
      mayHavePlaceholder(entry) &&
      (entry.type === "directory" || (entry.type === "file" && entry.sizeBytes >= minSizeBytes))
    );
  }

  async #writePlaceholder(path: EntryPath, entry: DirectoryEntry): Promise<void> {
    try {
      await this.#target.placeholder?.(path, entry);
      this.#report.placeholders += 1;
      this.#report.progress();
    } catch (error) {
      this.#report.fail(path, error);
    }
  }

  async #record(pending: PendingDirectory): Promise<DirectoryRecord | undefined> {
    const { node } = pending;
    try {
      if (node.depth > MAX_DEPTH) {
        throw new VarveError("corrupt", `directories are nested more than ${MAX_DEPTH} deep`);
      }
      return await (pending.record ?? this.#read(pending));
    } catch (error) {
      this.#signal?.throwIfAborted();
      node.made = false;
      this.#report.fail(node.path, error);
      return undefined;
    }
  }

  /** Only the next ones, so that records read ahead stay few: a handful for each level of the tree. */
  #readAhead(stack: readonly PendingDirectory[]): void {
    for (const pending of stack.slice(-this.#repository.memory.parallelReads)) {
      if (pending.record === undefined && pending.node.depth <= MAX_DEPTH) {
        pending.record = this.#read(pending);
        pending.record.catch(() => {}); // looked at when its turn comes
      }
    }
  }

  #read(pending: PendingDirectory): Promise<DirectoryRecord> {
    return readDirectory(this.#repository, pending.object, { signal: this.#signal });
  }
}

/** Directory records have content prefix `k` (spec §6.4); an index above them keeps it visible after its `I`s. */
function kindOfObject(id: ObjectId): "directory" | "file" {
  return /^I*[Z]?D?k/.test(id) ? "directory" : "file";
}
