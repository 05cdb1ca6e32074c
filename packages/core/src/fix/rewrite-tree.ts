import { type ErrorCode, VarveError } from "../base/errors.ts";
import type { Codec } from "../compression/codec.ts";
import type { ManifestId } from "../manifest/manifest-store.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import { type DirectoryRecord, encodeDirectory } from "../snapshot/directory.ts";
import type { DirectoryEntry, DirectorySummary } from "../snapshot/entry.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { singleFileSummary } from "../snapshot/summary.ts";
import { IdSet } from "../verify/id-set.ts";
import { MAX_DEPTH, reasonOf } from "../verify/structure.ts";
import type { FixChange, InvalidFileHandling } from "./fix-options.ts";
import { rewrittenSummary } from "./rewritten-summary.ts";
import { stubBytes, stubName } from "./stub.ts";

/** What is to become of an entry that cannot stay unseen. */
export interface Verdict {
  readonly handling: InvalidFileHandling;
  readonly reason: { readonly code?: ErrorCode | undefined; readonly message: string };
}

/** Where the rewriter stands. */
interface Place {
  readonly snapshot: ManifestId;
  readonly path: string;
  readonly depth: number;
  readonly codec: Codec | undefined;
}

/** `unchanged` keeps its object id. */
type Outcome =
  | "unchanged"
  | { readonly object: ObjectId; readonly summary: DirectorySummary }
  | { readonly problem: Verdict["reason"] };

/** Stands for an entry of a directory that is being rewritten. */
interface Replacement {
  readonly entry: DirectoryEntry;
  /** Has its name still to be made unique. */
  readonly isStub?: boolean;
}

export interface RewriteOptions {
  readonly repository: Repository;
  /** Judges an entry by itself; `directory` is left out for a root. */
  readonly judge: (
    entry: DirectoryEntry,
    directory: ObjectId | undefined,
  ) => Promise<Verdict | undefined>;
  /** Why a directory must not be entered, where that is known. */
  readonly directoryProblem: (object: ObjectId) => Promise<Verdict["reason"] | undefined>;
  readonly invalidDirectories: "stub" | "keep" | "fail";
  /** Rewrites a directory for nothing but entries that were set aside while reading it. */
  readonly dropDamaged: boolean;
  /** Stores bytes and gives their object; `instead` is one that may be given when nothing is to be written. */
  readonly store: (
    bytes: Uint8Array,
    options: { prefix: "" | "k"; codec: Codec | undefined; instead: ObjectId },
  ) => Promise<ObjectId>;
  /** Throws when the error is not damage that will stay. */
  readonly requireDamage: (error: unknown) => void;
  readonly report: (change: FixChange) => void;
  readonly onDirectory: () => void;
  readonly parallel?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Rewrites directory trees bottom-up. Every distinct directory is read and written once, however many snapshots and paths
 * lead to it. Holds about half a kilobyte for each distinct directory that changes, and the
 * records on the way down from the root for each of its strands.
 */
export class TreeRewriter {
  readonly #options: RewriteOptions;
  readonly #unchanged: IdSet;
  /** Begun or changed, by object id and mtime, on which the record of a directory depends that becomes empty. */
  readonly #outcomes = new Map<string, Promise<Outcome>>();
  #freeStrands: number;

  constructor(options: RewriteOptions) {
    this.#options = options;
    this.#unchanged = new IdSet(options.repository.contents.index);
    this.#freeStrands = (options.parallel ?? options.repository.memory.parallelReads) - 1;
  }

  /** The root of a snapshot after all changes; the same value when there are none. A root is never removed but replaced. */
  async rewriteRoot(
    root: DirectoryEntry,
    at: { readonly snapshot: ManifestId; readonly codec: Codec | undefined },
  ): Promise<DirectoryEntry> {
    const place: Place = { ...at, path: "", depth: 0 };
    const verdict = await this.#options.judge(root, undefined);
    const handling =
      verdict?.handling === "remove" ? this.#options.invalidDirectories : verdict?.handling;
    const replacement =
      verdict === undefined || handling === undefined
        ? await this.#rewriteUnjudged(root, place)
        : await this.#replace(root, { ...verdict, handling }, place);
    if (replacement?.isStub !== true) {
      return replacement?.entry ?? root;
    }
    const { entry } = replacement;
    return { ...entry, name: stubName(root, new Set()), summary: singleFileSummary(entry) };
  }

  async #rewriteUnjudged(entry: DirectoryEntry, place: Place): Promise<Replacement | undefined> {
    if (entry.type !== "directory") {
      return { entry };
    }
    const outcome = await this.#rewriteDirectory(entry, place);
    if (outcome === "unchanged") {
      return { entry };
    }
    if ("object" in outcome) {
      return { entry: { ...entry, ...outcome } };
    }
    const handling = this.#options.invalidDirectories;
    return await this.#replace(entry, { handling, reason: outcome.problem }, place);
  }

  /** Nothing when the entry is removed. */
  async #replace(
    entry: DirectoryEntry,
    { handling, reason }: Verdict,
    { snapshot, path }: Place,
  ): Promise<Replacement | undefined> {
    if (handling === "fail") {
      const message = `snapshot ${snapshot}: ${JSON.stringify(path)}: ${reason.message}`;
      throw new VarveError(reason.code ?? "invalid-argument", message);
    }
    this.#options.report({ snapshot, path, action: handling, ...reason });
    if (handling !== "stub") {
      return handling === "keep" ? { entry } : undefined;
    }
    const bytes = stubBytes(entry, reason.message);
    const { mode, mtimeNs, uid, gid, name } = entry;
    const stored = { prefix: "", codec: undefined, instead: entry.object } as const;
    const object = await this.#options.store(bytes, stored);
    const sizeBytes = bytes.length;
    return {
      entry: { name, type: "file", mode, sizeBytes, mtimeNs, uid, gid, object },
      isStub: true,
    };
  }

  async #rewriteDirectory(entry: DirectoryEntry, place: Place): Promise<Outcome> {
    if (this.#unchanged.has(entry.object)) {
      return "unchanged";
    }
    const key = `${entry.object} ${entry.mtimeNs}`;
    let outcome = this.#outcomes.get(key);
    if (outcome === undefined) {
      outcome = this.#readAndRewrite(entry, place);
      this.#outcomes.set(key, outcome);
    }
    const ended = await outcome;
    if (ended === "unchanged") {
      this.#unchanged.add(entry.object);
      this.#outcomes.delete(key);
    }
    return ended;
  }

  async #readAndRewrite(entry: DirectoryEntry, place: Place): Promise<Outcome> {
    const { repository, signal, directoryProblem, requireDamage, onDirectory } = this.#options;
    signal?.throwIfAborted();
    if (place.depth > MAX_DEPTH) {
      const message = `directories are nested more than ${MAX_DEPTH} deep`;
      return { problem: { code: "corrupt", message } };
    }
    let record: DirectoryRecord;
    try {
      const problem = await directoryProblem(entry.object);
      if (problem !== undefined) {
        return { problem };
      }
      onDirectory();
      record = await readDirectory(repository, entry.object, { signal });
    } catch (error) {
      signal?.throwIfAborted();
      requireDamage(error);
      return { problem: reasonOf(error) };
    }
    const replacements = await this.#rewriteEntries(entry.object, record.entries, place);
    const isChanged =
      replacements.some((found, index) => found?.entry !== record.entries[index]) ||
      (this.#options.dropDamaged && record.damaged.length > 0);
    return isChanged ? await this.#write(entry, record, replacements, place) : "unchanged";
  }

  /** In the order of the entries. Subdirectories are shared among strands while any are free. */
  async #rewriteEntries(
    directory: ObjectId,
    entries: readonly DirectoryEntry[],
    place: Place,
  ): Promise<readonly (Replacement | undefined)[]> {
    const replacements: (Replacement | undefined)[] = entries.map(() => undefined);
    const strands: Promise<void>[] = []; // at most as many as there are strands
    let failure: { error: unknown } | undefined;
    const rewrite = async (index: number, entry: DirectoryEntry): Promise<void> => {
      const path = place.path === "" ? entry.name : `${place.path}/${entry.name}`;
      const below = { ...place, path, depth: place.depth + 1 };
      try {
        const verdict = await this.#options.judge(entry, directory);
        replacements[index] =
          verdict === undefined
            ? await this.#rewriteUnjudged(entry, below)
            : await this.#replace(entry, verdict, below);
      } catch (error) {
        failure ??= { error };
      }
    };
    for (const [index, entry] of entries.entries()) {
      if (failure !== undefined) {
        break;
      }
      if (entry.type === "directory" && this.#freeStrands > 0) {
        this.#freeStrands--;
        strands.push(rewrite(index, entry).finally(() => this.#freeStrands++));
      } else {
        await rewrite(index, entry);
      }
    }
    await Promise.all(strands);
    if (failure !== undefined) {
      throw failure.error;
    }
    return replacements;
  }

  async #write(
    entry: DirectoryEntry,
    record: DirectoryRecord,
    replacements: readonly (Replacement | undefined)[],
    place: Place,
  ): Promise<Outcome> {
    for (const { name, reason } of record.damaged) {
      // It has no form in which it could be written again.
      const path = place.path === "" ? name : `${place.path}/${name}`;
      const { snapshot } = place;
      this.#options.report({ snapshot, path, action: "remove", code: "corrupt", message: reason });
    }
    const entries = withStubNames(replacements);
    const summary = rewrittenSummary(record, { entries, mtimeNs: entry.mtimeNs });
    const object = await this.#options.store(encodeDirectory({ entries, summary }), {
      prefix: "k",
      codec: place.codec,
      instead: entry.object,
    });
    return { object, summary };
  }
}

function withStubNames(replacements: readonly (Replacement | undefined)[]): DirectoryEntry[] {
  const taken = new Set(
    replacements.flatMap((found) => (found?.isStub ? [] : (found?.entry.name ?? []))),
  );
  return replacements.flatMap((found) => {
    if (found?.isStub !== true) {
      return found?.entry ?? [];
    }
    const name = stubName(found.entry, taken);
    taken.add(name);
    return { ...found.entry, name };
  });
}
