import { ByteReader } from "../base/cursor.ts";
import { forEachLimit, Semaphore } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { Turns } from "../base/turns.ts";
import { decompressContent } from "../compression/content-compression.ts";
import { type ContentOutcome, BulkReader } from "../content/bulk-reader.ts";
import type { ContentId } from "../index/content-id.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { FileTask } from "./file-task.ts";
import { mapAhead } from "./read-ahead.ts";
import { ReportBuilder, type RestoreCounts, type RestoreReport } from "./report.ts";
import { isSingleContent, maxPlannedFiles, RestoreWindow, type Use } from "./restore-window.ts";
import type { RestoreTarget } from "./target.ts";
import { type Shallow, type TreeStep, TreeWalk } from "./tree-walk.ts";

/**
 * Restore: walks the directory records, plans files as ranges of packs, reads packs in order of first use, and writes each
 * content at every offset that wants it, across files and out of order (architecture, "A restore"). Memory is bounded by
 * the window and the read budget, not by the tree. Whatever the repository says is taken as hostile: names are checked,
 * depth is bounded, and an entry that is damaged is a line in the report while the rest goes on.
 */

export interface RestoreOptions extends CallOptions {
  /** The entry of a snapshot's root or of anything below it; a bare object id has no mode, owner and times to give back. */
  readonly root: DirectoryEntry | ObjectId;
  /** Finished or abandoned when the restore has ended: it is of no use after. */
  readonly target: RestoreTarget;
  /**
   * Files and directories more than `depth` levels below the root (whose entries are at level 1) become placeholders, smaller files than
   * `minSizeBytes` excepted. Throws `unsupported` for a target that knows none.
   */
  readonly shallow?: Shallow | undefined;
  /** Called often; must not throw. */
  readonly onProgress?: ((counts: RestoreCounts) => void) | undefined;
  /** Reads from storage in flight. */
  readonly parallel?: number | undefined;
  /** False: rejects with the first failure. Default true: failures are in the report. */
  readonly ignoreErrors?: boolean | undefined;
}

/** Rejects with the signal's reason, with what the target's `finish` throws, and as `ignoreErrors` says. */
export async function restore(
  repository: Repository,
  options: RestoreOptions,
): Promise<RestoreReport> {
  const run = new RestoreRun(repository, options);
  try {
    await run.run();
    await options.target.finish();
  } catch (error) {
    await run.abandon();
    await options.target.abandon();
    throw error;
  }
  return run.report();
}

// One is read and written while the next is planned, and what an ordered target waits for is held.
const PARALLEL_WINDOWS = 2;

class RestoreRun {
  readonly #repository: Repository;
  readonly #options: RestoreOptions;
  readonly #ordered: boolean;
  readonly #report: ReportBuilder;
  readonly #walk: TreeWalk;
  readonly #reader: BulkReader;
  readonly #turns: Turns;
  /** Files that are planned and not complete. */
  readonly #planned: Semaphore;
  readonly #unfinished: Set<FileTask> = new Set();
  #previousWindow: Promise<void> = Promise.resolve();

  constructor(repository: Repository, options: RestoreOptions) {
    const { target, signal, shallow } = options;
    this.#repository = repository;
    this.#options = options;
    this.#ordered = target.ordered === true;
    this.#report = new ReportBuilder({
      stopAtFirst: options.ignoreErrors === false,
      onProgress: options.onProgress,
    });
    this.#walk = new TreeWalk({ repository, target, report: this.#report, shallow, signal });
    this.#reader = new BulkReader(repository, { parallel: options.parallel });
    this.#turns = new Turns(repository.environment);
    const { parallelReads } = repository.memory;
    this.#planned = new Semaphore(
      this.#ordered ? Number.POSITIVE_INFINITY : maxPlannedFiles(parallelReads),
    );
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    await forEachLimit(this.#windows(), { limit: PARALLEL_WINDOWS, signal }, (window) =>
      this.#ordered ? this.#runInOrder(window) : this.#runAsRead(window),
    );
    this.#report.throwIfStopped();
  }

  async abandon(): Promise<void> {
    for (const task of this.#unfinished) {
      await task.abandon();
    }
  }

  report(): RestoreReport {
    return { ...this.#report.counts(), failures: this.#report.failures };
  }

  async *#windows(): AsyncGenerator<RestoreWindow, void, undefined> {
    const { parallelReads } = this.#repository.memory;
    const newWindow = (): RestoreWindow =>
      new RestoreWindow({ ordered: this.#ordered, parallelReads });
    let window = newWindow();
    const steps = this.#walk.steps(this.#options.root);
    for await (const task of mapAhead(steps, parallelReads, (step) => this.#prepare(step))) {
      await this.#turns.due();
      if (!(task instanceof FileTask)) {
        window.addDirectory(task);
      } else {
        await this.#planned.acquire(1, { signal: this.#options.signal });
        this.#unfinished.add(task);
        if (!this.#ordered) {
          await task.start(); // before anything is read, so that what is skipped costs nothing
        }
        for await (const _ of this.#plan(task, () => window)) {
          yield window;
          window = newWindow();
        }
        window.addEnd(task);
      }
      this.#report.throwIfStopped();
      if (window.full) {
        yield window;
        window = newWindow();
      }
    }
    this.#report.throwIfStopped();
    yield window;
  }

  /** Gives control back each time that the window is full. */
  async *#plan(task: FileTask, window: () => RestoreWindow): AsyncGenerator<void, void, undefined> {
    const { objects, contents } = this.#repository;
    const { signal } = this.#options;
    try {
      if (!task.wanted || task.sizeBytes === 0) {
        return;
      }
      if (isSingleContent(task.object)) {
        const piece = { start: 0, length: task.sizeBytes, object: task.object };
        window().addPiece(contents, task, piece);
        return;
      }
      let end = 0;
      for await (const piece of objects.pieces(task.object, { signal })) {
        if (piece.start !== end || end + piece.length > task.sizeBytes) {
          throw new VarveError("corrupt", `object ${task.object}: pieces do not fit together`);
        }
        end += piece.length;
        if (piece.length > 0) {
          window().addPiece(contents, task, piece);
        }
        if (window().full) {
          yield;
        }
      }
      if (end !== task.sizeBytes) {
        throw new VarveError("corrupt", `object ${task.object}: pieces do not fit together`);
      }
    } catch (error) {
      signal?.throwIfAborted();
      task.fail(error);
    }
  }

  /** Finds out how long a file is: its header in an archive needs it, and its pieces must add up to it. */
  async #prepare(step: TreeStep): Promise<FileTask | Extract<TreeStep, { kind: "directory" }>> {
    if (step.kind === "directory") {
      return step;
    }
    const { target, signal } = this.#options;
    const common = { ...step, target, report: this.#report };
    let sizeBytes: number;
    try {
      sizeBytes = await this.#sizeOf(step.object, { signal });
    } catch (error) {
      signal?.throwIfAborted();
      const task = new FileTask({ ...common, sizeBytes: 0 });
      task.fail(error);
      return task;
    }
    if (step.meta !== undefined && step.meta.sizeBytes !== sizeBytes) {
      // The object is what was backed up; the entry's number is only information.
      this.#report.fail(
        step.path,
        new VarveError(
          "corrupt",
          `recorded with ${step.meta.sizeBytes} bytes, its object has ${sizeBytes}; restored as stored`,
        ),
      );
    }
    return new FileTask({ ...common, sizeBytes });
  }

  async #sizeOf(object: ObjectId, options: CallOptions): Promise<number> {
    if (!isSingleContent(object)) {
      return (await this.#repository.objects.open(object, options)).size;
    }
    const { contentId } = splitObjectId(object);
    const info = this.#repository.contents.info(contentId);
    if (info === undefined) {
      throw new VarveError("content-not-found", `content ${contentId} is in no index`);
    }
    return info.originalLength;
  }

  async #runAsRead(window: RestoreWindow): Promise<void> {
    const infos = [...window.uses.values()].map(({ info }) => info);
    // Finishing a file goes on while others are read: at most what one window has.
    const releases: Promise<void>[] = [];
    for (const step of window.steps) {
      if (step.kind === "end") {
        await this.#turns.due();
        releases.push(quiet(this.#release(step.file))); // its pieces still hold it
      }
    }
    await this.#reader.read(
      infos,
      async (info, outcome) => {
        const uses = window.uses.get(info.id)?.uses ?? [];
        window.uses.delete(info.id);
        for (const use of uses) {
          await this.#write(use, outcome);
          releases.push(quiet(this.#release(use.file)));
        }
      },
      { signal: this.#options.signal },
    );
    await Promise.all(releases);
  }

  async #runInOrder(window: RestoreWindow): Promise<void> {
    const previous = this.#previousWindow;
    let done: (() => void) | undefined;
    this.#previousWindow = new Promise((resolve) => {
      done = resolve;
    });
    try {
      const outcomes = new Map<ContentId, ContentOutcome>();
      await this.#reader.read(
        [...window.uses.values()].map(({ info }) => info),
        (info, outcome) =>
          void outcomes.set(
            info.id,
            "bytes" in outcome ? { bytes: outcome.bytes.slice() } : outcome,
          ),
        { signal: this.#options.signal },
      );
      await previous;
      for (const step of window.steps) {
        this.#options.signal?.throwIfAborted();
        if (step.kind === "directory") {
          await this.#walk.make(step.node, step.entries);
        } else if (step.kind === "end") {
          await step.file.start();
          await this.#release(step.file);
        } else {
          const outcome = outcomes.get(step.info.id);
          await step.use.file.start();
          await this.#write(step.use, outcome ?? { error: new VarveError("corrupt", "not read") });
          await this.#release(step.use.file);
        }
      }
    } finally {
      done?.();
    }
  }

  async #write(use: Use, outcome: ContentOutcome): Promise<void> {
    const { file, offset, length, compressed } = use;
    if ("error" in outcome) {
      file.fail(outcome.error);
    } else if (file.wanted) {
      try {
        const bytes = compressed ? this.#decompress(outcome.bytes, length) : outcome.bytes;
        if (bytes.length !== length) {
          throw new VarveError("corrupt", `piece of ${bytes.length} bytes instead of ${length}`);
        }
        await file.write(offset, bytes);
      } catch (error) {
        file.fail(error);
      }
    }
  }

  /** Spec §5.1: a `Z` piece is a compressed stream behind its header. */
  #decompress(stored: Uint8Array, maxSize: number): Uint8Array {
    const headerId = new ByteReader(stored, { what: "compressed object" }).u32();
    return decompressContent(stored, { headerId, codecs: this.#repository.codecs, maxSize });
  }

  async #release(file: FileTask): Promise<void> {
    if (await file.release()) {
      this.#unfinished.delete(file);
      this.#planned.release(1);
      await this.#walk.release(file.parent);
    }
    this.#report.throwIfStopped();
  }
}

/** To be awaited later: until then its failure is nobody's. */
function quiet(work: Promise<void>): Promise<void> {
  work.catch(() => {});
  return work;
}
