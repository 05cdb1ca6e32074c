import { Semaphore } from "../base/concurrency.ts";
import { assert, VarveError } from "../base/errors.ts";
import { Turns } from "../base/turns.ts";
import type { ObjectId } from "../object/object-id.ts";
import { compressorFor } from "../policy/compression-choice.ts";
import type { PolicyTree } from "../policy/policy-tree.ts";
import type { DirectoryEntry, EntryMeta } from "../snapshot/entry.ts";
import { nameKey } from "../snapshot/entry-name.ts";
import { EntryText } from "../snapshot/entry-text.ts";
import type { KeptEntries } from "../snapshot/kept-entries.ts";
import { singleFileSummary } from "../snapshot/summary.ts";
import { nameOfPlaceholder } from "../source/placeholder.ts";
import { renamed, type SourceEntry, type UnreadableEntry } from "../source/source-entry.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Actions } from "./actions.ts";
import { type DirectoryFilter, enterDirectory } from "./directory-filter.ts";
import { metadataCodec } from "./file-options.ts";
import { badName, codeAndMessage, type Failure } from "./failure.ts";
import { FileQueue } from "./file-queue.ts";
import { type FileEnd, queueFile } from "./file-upload.ts";
import type { Listing } from "./listing.ts";
import { EntryMatcher } from "./match-entries.ts";
import { OpenDirectory, storedEntry, unchangedEntry, writeDirectory } from "./open-directory.ts";
import { loadPreviousDirectories, PreviousDirectories } from "./previous-directories.ts";
import { keptByPlaceholder, mayHavePlaceholders } from "./placeholders.ts";
import { ObjectKeys } from "./remembered-tree.ts";
import type { UploadSession } from "./session.ts";
import { storeStream } from "./stream-upload.ts";
import { DirectoryUnreadable, openChildren, unreadable } from "./unreadable-directory.ts";
import { type LiveFiles, liveFiles, type TreeMemory } from "./tree-memory.ts";

/**
 * The walk of a backup (behaviour §1): depth first, with the earlier snapshots alongside. It never waits for a file:
 * files go to the queue, a directory is written when its last part has ended, and the walk goes on meanwhile. What
 * bounds memory is the queue's slots and how many entries may stand in directories that the walk has left.
 */

/** Entries of directories that are walked but not written; a longer directory may stand alone. */
const MAX_WAITING_ENTRIES = 100_000;
/** Comparing so many takes 20 ms. */
const ENTRIES_PER_TURN = 20_000;

interface Walk {
  readonly directory: OpenDirectory;
  readonly listing: Listing;
  readonly filter: DirectoryFilter;
  readonly previous: PreviousDirectories;
  /** The earlier directories in the place of a child. */
  readonly earlier: (child: SourceEntry) => readonly ObjectId[];
}

export class TreeUpload {
  readonly #session: UploadSession;
  readonly #turns: Turns;
  readonly #queue: FileQueue;
  readonly #checkpoints: Checkpoints;
  readonly #forceHashPercent: number;
  readonly #memory: TreeMemory | undefined;
  readonly #actions: Actions;
  readonly #waitingEntries: Semaphore = new Semaphore(MAX_WAITING_ENTRIES);
  readonly #text = new EntryText();
  #root: DirectoryEntry | undefined;

  constructor(
    session: UploadSession,
    options: {
      readonly parallelJobs: number;
      readonly checkpoints: Checkpoints;
      readonly forceHashPercent: number;
      readonly memory: TreeMemory | undefined;
      readonly actions: Actions;
    },
  ) {
    this.#actions = options.actions;
    this.#session = session;
    this.#turns = new Turns(session.repository.environment);
    this.#queue = new FileQueue(session, options);
    this.#checkpoints = options.checkpoints;
    this.#forceHashPercent = options.forceHashPercent;
    this.#memory = options.memory;
  }

  /** Stores the tree and gives its root's entry. A root that cannot be read throws (behaviour §1.8). */
  async store(
    root: SourceEntry,
    policy: PolicyTree,
    previous: readonly ObjectId[],
  ): Promise<DirectoryEntry> {
    if (root.meta.type === "directory") {
      const directory = this.#open({ source: root, path: "", policy });
      this.#checkpoints.root = directory;
      await this.#walk(directory, undefined, previous);
    } else if (root.meta.type === "file") {
      await this.#storeRootFile(root, policy);
    } else {
      throw new VarveError("invalid-argument", `${root.name}: neither a directory nor a file`);
    }
    await this.#queue.startBatch();
    await this.#session.settled();
    assert(this.#root !== undefined, "a settled upload has a root");
    return this.#root;
  }

  #open(options: {
    source: SourceEntry;
    path: string;
    policy: PolicyTree;
    parent?: OpenDirectory;
  }): OpenDirectory {
    this.#session.tally.stats.dirCount++;
    const onComplete = (directory: OpenDirectory): void =>
      this.#session.track(this.#finish(directory));
    return new OpenDirectory({ ...options, onComplete });
  }

  /** Walks a directory; its failure is its own, unless the upload is lost. */
  async #walk(
    directory: OpenDirectory,
    above: DirectoryFilter | undefined,
    previous: readonly ObjectId[],
  ): Promise<void> {
    await this.#turns.due();
    directory.begin();
    try {
      await this.#walkChildren(directory, above, previous);
    } catch (error) {
      this.#session.signal.throwIfAborted();
      if (!(error instanceof DirectoryUnreadable)) {
        throw error;
      }
      directory.failure = error.cause;
    }
    await this.#leave(directory);
  }

  async #walkChildren(
    directory: OpenDirectory,
    above: DirectoryFilter | undefined,
    previousIds: readonly ObjectId[],
  ): Promise<void> {
    const { repository, signal, tally } = this.#session;
    directory.bracket = await unreadable(this.#actions.begin("folder", directory));
    directory.source = directory.bracket?.source ?? directory.source;
    const entered = await unreadable(enterDirectory(directory, above, { signal }));
    if (entered === "cache directory") {
      tally.skipped.cacheDirectories++;
      return;
    }
    using listing = entered.listing;
    const { mtimeNs } = directory.source.meta;
    const packed = mayHavePlaceholders(listing) ? undefined : listing.packed;
    const live = packed && liveFiles(packed, { filter: entered.filter, mtimeNs });
    const { filter } = live ?? entered;
    directory.state = live?.state;
    const known = this.#maySkip() ? this.#memory?.match(directory, previousIds) : undefined;
    if (live !== undefined && known !== undefined) {
      const previous = new PreviousDirectories(repository, []);
      const earlier = ({ name }: SourceEntry): readonly ObjectId[] =>
        this.#memory?.objects(directory.pathOf(name)) ?? [];
      const isComplete = await this.#visitAll(
        { directory, listing, filter, previous, earlier },
        listing.children(live.places),
      );
      if (isComplete && this.#memory?.take(directory, known) === true) {
        this.#countKept(directory, live);
        return;
      }
    }
    if (known !== undefined && live?.count === 0) {
      return; // its directories were visited, and there is nothing else that its record could tell
    }
    const { previous, isKept = new Uint8Array(live?.places.length ?? 0) } =
      await this.#loadPrevious(directory, { listing, live }, previousIds);
    if (live !== undefined && known !== undefined) {
      for (let place = 0; place < isKept.length; place++) {
        isKept[place] = live.places[place] === 1 ? (isKept[place] as number) : 1; // the rest was visited
      }
    }
    const earlier = (child: SourceEntry): readonly ObjectId[] => previous.children(child);
    const walk = { directory, listing, filter, previous, earlier };
    await this.#visitAll(walk, listing.children(isKept));
    directory.keepEarlier(previous.newest);
  }

  /** False when it ended before the children did. */
  async #visitAll(walk: Walk, listed: ReturnType<Listing["children"]>): Promise<boolean> {
    const children = openChildren(listed);
    let lastKey: string | undefined;
    for (;;) {
      const child = await children.next();
      if (child === undefined || this.#session.stopReason !== undefined) {
        await children.close();
        return child === undefined;
      }
      // A listing that changes while it is read may give a name twice; a record must not.
      const key = nameKey(child);
      if (key !== lastKey) {
        lastKey = key;
        await this.#turns.due();
        await this.#visit(walk, child);
        await this.#checkpoints.writeIfDue();
      }
    }
  }

  /** Takes over what has not changed, where that can be told at once. */
  async #loadPrevious(
    directory: OpenDirectory,
    { listing, live }: { readonly listing: Listing; readonly live: LiveFiles | undefined },
    previousIds: readonly ObjectId[],
  ): Promise<{ readonly previous: PreviousDirectories; readonly isKept?: Uint8Array }> {
    const session = this.#session;
    const { repository, signal } = session;
    const { packed } = listing;
    const keys = this.#memory && new ObjectKeys();
    let matcher: EntryMatcher | undefined;
    const keep = async (record: Uint8Array): Promise<KeptEntries | undefined> => {
      if (packed === undefined || live === undefined || !this.#maySkip()) {
        return undefined;
      }
      matcher = new EntryMatcher({
        record,
        listing: packed.listing,
        mayKeep: live.places,
        isStored: (id) => {
          const isStored = repository.contents.isStored(id); // the last of the conditions
          if (isStored) {
            keys?.addContent(id);
          }
          return isStored;
        },
        text: this.#text,
      });
      while (matcher.step(ENTRIES_PER_TURN)) {
        await repository.environment.sleep(0, { signal });
      }
      return matcher.result();
    };
    const { previous, kept } = await loadPreviousDirectories(repository, previousIds, {
      keep,
      signal,
    });
    if (kept === undefined || matcher === undefined) {
      return { previous };
    }
    directory.kept = kept;
    directory.keptKeys = keys;
    this.#countKept(directory, { bytes: matcher.keptBytes, count: matcher.keptCount });
    return { previous, isKept: matcher.kept };
  }

  #countKept(
    { path }: OpenDirectory,
    { bytes, count }: { readonly bytes: number; readonly count: number },
  ): void {
    this.#session.tally.addCached(bytes, count);
    this.#session.currentPath = path;
    this.#session.reportProgress();
  }

  /** Whether files may be taken over by their directory's record alone. */
  #maySkip(): boolean {
    return this.#forceHashPercent <= 0 && this.#session.lost.contents === 0;
  }

  /** The walk is done with a directory; files and directories below may not be. */
  async #leave(directory: OpenDirectory): Promise<void> {
    const held = directory.entries.length + (directory.kept?.ranges.length ?? 0) / 2;
    if (this.#waitingEntries.used + held > MAX_WAITING_ENTRIES || directory.bracket !== undefined) {
      await this.#queue.startBatch(); // what waits, its action too, may wait for files that are only gathered
    }
    await this.#waitingEntries.acquire(held, { signal: this.#session.signal });
    directory.heldEntries = held;
    directory.end();
  }

  async #finish(directory: OpenDirectory): Promise<void> {
    await directory.bracket?.end();
    const { repository, signal, stopReason } = this.#session;
    const { parent, path, failure } = directory;
    if (failure !== undefined) {
      if (parent === undefined) {
        throw failure;
      }
      const ignored = directory.policy.effective.errorHandling?.ignoreDirectoryErrors ?? false;
      this.#addFailure(parent, path, { ...codeAndMessage(failure), ignored });
    } else {
      const entry = await writeDirectory(repository, directory, {
        entries: directory.entries,
        failures: directory.failures,
        incomplete: stopReason,
        signal,
      });
      if (stopReason === undefined) {
        this.#memory?.remember(directory, entry);
      }
      if (parent === undefined) {
        this.#root = entry;
      } else {
        parent.entries.push(entry);
      }
    }
    this.#waitingEntries.release(directory.heldEntries);
    parent?.openChildren.delete(directory);
    parent?.end();
  }

  async #visit(walk: Walk, child: SourceEntry | UnreadableEntry): Promise<void> {
    const { directory, filter } = walk;
    const { tally } = this.#session;
    const path = directory.pathOf(child.name);
    const problem = "error" in child ? child.error : badName(child);
    if (problem !== undefined || "error" in child) {
      this.#failFile(directory, child.name, codeAndMessage(problem), { policyOf: "child" });
      return;
    }
    const realName = nameOfPlaceholder(child);
    const excluded = filter.exclusion(
      realName === undefined ? child : renamed(child, { name: realName }),
    );
    if (excluded === "ignored") {
      countExcluded(tally.stats, child);
    } else if (excluded !== undefined) {
      tally.skipped[excluded]++;
    } else if (realName !== undefined) {
      await this.#visitPlaceholder(walk, child);
    } else if (child.meta.type === "directory") {
      const policy = directory.policy.child(child.name);
      const below = this.#open({ source: child, path, policy, parent: directory });
      directory.begin();
      directory.openChildren.add(below);
      directory.walkedChildren++;
      await this.#walk(below, filter, walk.earlier(child));
    } else if (child.meta.type === "other") {
      this.#skipSpecial(directory, child);
    } else {
      await this.#visitFile(walk, child, child.meta.type, path);
    }
  }

  async #visitPlaceholder({ directory, listing }: Walk, child: SourceEntry): Promise<void> {
    const { repository, signal, tally } = this.#session;
    try {
      const entry = await keptByPlaceholder(repository, child, { listing, signal });
      directory.entries.push(entry);
      tally.addCached(entry.summary?.sizeBytes ?? entry.sizeBytes);
    } catch (error) {
      signal.throwIfAborted();
      this.#failFile(directory, child.name, codeAndMessage(error), { policyOf: "parent" });
    }
  }

  #skipSpecial(directory: OpenDirectory, child: SourceEntry): void {
    const policy = directory.policy.child(child.name).effective;
    if (policy.errorHandling?.ignoreUnknownTypes ?? true) {
      this.#session.tally.skipped.special++;
    } else {
      const message = "unknown or unsupported entry type";
      this.#addFailure(directory, directory.pathOf(child.name), {
        code: "unsupported",
        message,
        ignored: false,
      });
    }
  }

  async #visitFile(
    { directory, previous }: Walk,
    source: SourceEntry,
    type: "file" | "symlink",
    path: string,
  ): Promise<void> {
    const session = this.#session;
    const { sizeBytes } = source.meta;
    session.currentPath = path;
    session.reportProgress();
    const unchanged = this.#hashAnyway()
      ? undefined
      : session.lost.contents > 0
        ? await previous.unchangedInAllPieces(source, { signal: session.signal })
        : previous.unchanged(source);
    if (unchanged !== undefined) {
      session.tally.addCached(sizeBytes);
      directory.entries.push(unchangedEntry(source, unchanged));
      return;
    }
    if (!session.reserveBytes(sizeBytes)) {
      return;
    }
    directory.begin();
    const settle = (end: FileEnd): void => {
      if ("object" in end) {
        directory.entries.push(storedEntry(source, { type, ...end }));
        directory.isExact &&= end.sizeBytes === sizeBytes;
        this.#countStored(type, end.sizeBytes);
      } else if ("failed" in end) {
        this.#failFile(directory, source.name, end.failed, { policyOf: "parent" });
      }
      directory.end();
    };
    await this.#storeFile(source, directory.policy.child(source.name), settle);
  }

  /** Files with a path are read by the executor, all else on this thread. */
  async #storeFile(
    source: SourceEntry,
    policyTree: PolicyTree,
    settle: (end: FileEnd) => void,
  ): Promise<void> {
    const session = this.#session;
    const { repository } = session;
    const policy = policyTree.effective;
    const indexCodec = metadataCodec(repository, policy);
    if (source.meta.type === "symlink") {
      settle(await storeStream(session, source, { metadataCodec: indexCodec }));
      return;
    }
    session.tally.stats.nonCachedFiles++;
    const { path } = source;
    if (path !== undefined) {
      await queueFile(session, this.#queue, { source, policy, path, settle });
      return;
    }
    const { name, meta } = source;
    const compressor = compressorFor(policy, { name, sizeBytes: meta.sizeBytes });
    const codec = compressor === "none" ? undefined : repository.codecs.byName(compressor);
    const splitter = repository.splitter(policy.splitter?.algorithm);
    settle(await storeStream(session, source, { codec, metadataCodec: indexCodec, splitter }));
  }

  async #storeRootFile(source: SourceEntry, policy: PolicyTree): Promise<void> {
    this.#session.currentPath = source.name;
    const settle = (end: FileEnd): void => {
      if ("failed" in end) {
        this.#session.fail(new VarveError(end.failed.code, end.failed.message));
      } else if ("stopped" in end) {
        this.#session.fail(
          new VarveError("source-failed", `${source.name}: stopped before its end`),
        );
      } else {
        const { mtimeNs } = source.meta;
        const summary = singleFileSummary({ sizeBytes: end.sizeBytes, mtimeNs });
        this.#root = storedEntry(source, { type: "file", ...end, summary });
        this.#countStored("file", end.sizeBytes);
      }
    };
    await this.#storeFile(source, policy, settle);
  }

  #countStored(type: EntryMeta["type"], sizeBytes: number): void {
    if (type === "file") {
      this.#session.tally.addStored(sizeBytes);
    } else {
      this.#session.tally.filesDone++; // Kopia counts links only when they are cached (behaviour §9)
    }
  }

  #failFile(
    directory: OpenDirectory,
    name: string,
    failure: Failure,
    options: { readonly policyOf: "parent" | "child" },
  ): void {
    // behaviour §1.8: which policy decides
    const policy = options.policyOf === "child" ? directory.policy.child(name) : directory.policy;
    const ignored = policy.effective.errorHandling?.ignoreFileErrors ?? false;
    this.#addFailure(directory, directory.pathOf(name), { ...failure, ignored });
  }

  #addFailure(
    directory: OpenDirectory,
    path: string,
    { code, message, ignored }: Failure & { readonly ignored: boolean },
  ): void {
    directory.failures.push({ path, error: message, ignored });
    this.#session.addError({ path, code, message, ignored });
  }

  #hashAnyway(): boolean {
    const percent = this.#forceHashPercent;
    if (percent <= 0 || percent >= 100) {
      return percent >= 100;
    }
    const random = new DataView(this.#session.repository.environment.randomBytes(4).buffer);
    return (random.getUint32(0) / 2 ** 32) * 100 < percent;
  }
}

function countExcluded(
  stats: { excludedFileCount: number; excludedDirCount: number; excludedTotalSize: number },
  child: SourceEntry,
): void {
  if (child.meta.type === "directory") {
    stats.excludedDirCount++;
  } else {
    stats.excludedFileCount++;
    stats.excludedTotalSize += child.meta.sizeBytes;
  }
}
