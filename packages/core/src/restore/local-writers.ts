import { Worker } from "node:worker_threads";
import { assert, type ErrorCode, errorMessage, VarveError } from "../base/errors.ts";
import { openExactTimes } from "./local-exact-times.ts";
import type { EntryMetadata, MetadataOptions } from "./local-metadata.ts";
import type { OverwriteOptions } from "./local-place.ts";
import { WriterMemory } from "./writer-memory.ts";

/**
 * Threads that make whole small files. Making a file is four calls to the system that take fifty microseconds together,
 * nearly all of a restore of small files, and two threads do it at once where this one would wait. Files of
 * several directories go over in batches, packed, so that crossing costs little.
 */

export interface WholeFile {
  readonly at: string | Buffer;
  /** Descriptor of the directory it lies in, open until the file is complete. */
  readonly directory: number;
  readonly meta: EntryMetadata | undefined;
  /** At most `SMALL_FILE_BYTES`. */
  readonly bytes: Uint8Array;
}

export type WriterOptions = OverwriteOptions & Omit<MetadataOptions, "exactTimes">;

/** What a thread is started with. */
export interface WriterData {
  readonly options: WriterOptions;
  /** Of `WriterMemory`. */
  readonly memory: SharedArrayBuffer;
}

/** What crosses: one element of each list for each file. */
export interface FileBatch {
  readonly batchId: number;
  readonly places: readonly (string | Uint8Array)[];
  readonly directories: Int32Array;
  /** Mode, uid, gid; mode -1 without metadata. */
  readonly owners: Int32Array;
  readonly timesNs: BigInt64Array;
  /** Where their bytes lie in the shared memory. */
  readonly offsets: Uint32Array;
  readonly lengths: Uint32Array;
}

export interface BatchResult {
  readonly batchId: number;
  readonly failures: readonly {
    readonly position: number;
    readonly code: ErrorCode;
    readonly message: string;
  }[];
}

/** A file whose bytes are in the shared memory. */
type PlacedFile = Omit<WholeFile, "bytes"> & { readonly offset: number; readonly length: number };

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const BATCH_FILES = 64;
const BATCH_BYTES = 1024 * 1024;
const ENTRY_URL = new URL("./local-writer-entry.js", import.meta.url);
// A thread holds a batch and nothing else.
const HEAP_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 };

export class LocalWriters {
  readonly #startThread: () => WriterThread;
  readonly #maxThreads: number;
  readonly #threads: WriterThread[] = [];
  readonly #memory = new WriterMemory();
  /** By directory; a directory stays with its thread while any of its files is on the way. */
  readonly #directories = new Map<number, DirectoryFiles>();
  #scheduled = false;

  /** `url`: the compiled `local-writer-entry`, when it does not lie beside this module. */
  constructor(threads: number, options: WriterOptions, url: URL = ENTRY_URL) {
    const data = { options, memory: this.#memory.shared };
    this.#startThread = () => new WriterThread(url, data);
    this.#maxThreads = threads;
    // The library of `ffi-rs` must not be unloaded with the thread that loaded it: that ends the process (ffi-rs 1.3).
    openExactTimes();
  }

  /**
   * Resolves when its bytes have been taken; then `done` resolves when the file is complete, or rejects with why it could
   * not be made: then nothing of it is there.
   */
  async add(file: WholeFile): Promise<{ done: Promise<void> }> {
    const { bytes, ...rest } = file;
    const offset = await this.#memory.hold(bytes);
    const directory = this.#directory(file.directory);
    directory.files.push({ ...rest, offset, length: bytes.length });
    directory.bytes += bytes.length;
    directory.open += 1;
    const done = new Promise<void>((resolve, reject) => {
      directory.waiting.push({ resolve, reject });
    }).finally(() => {
      directory.open -= 1;
      if (directory.open === 0) {
        this.#directories.delete(file.directory);
      }
      this.#memory.giveBack(offset);
    });
    done.catch(() => {}); // whoever finishes the file looks at it
    if (directory.files.length >= BATCH_FILES || directory.bytes >= BATCH_BYTES) {
      directory.send();
    } else if (!this.#scheduled) {
      // When nothing more can be added before something is read from storage.
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.#sendAll();
      });
    }
    return { done };
  }

  /** Resolves when no thread works any longer; what is on its way is finished first. Idempotent. */
  async close(): Promise<void> {
    this.#sendAll();
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  #sendAll(): void {
    for (const directory of this.#directories.values()) {
      directory.send();
    }
  }

  #directory(descriptor: number): DirectoryFiles {
    let directory = this.#directories.get(descriptor);
    if (directory === undefined) {
      directory = new DirectoryFiles(this.#thread());
      this.#directories.set(descriptor, directory);
    }
    return directory;
  }

  #thread(): WriterThread {
    const least = this.#threads.toSorted((a, b) => a.load - b.load)[0];
    if (least === undefined || (least.load > 0 && this.#threads.length < this.#maxThreads)) {
      const thread = this.#startThread();
      this.#threads.push(thread);
      return thread;
    }
    return least;
  }
}

/** What one thread makes in one directory: two threads in the same one would only wait for each other. */
class DirectoryFiles {
  files: PlacedFile[] = [];
  waiting: Waiting[] = [];
  bytes = 0;
  /** Files that are not complete. */
  open = 0;
  readonly #thread: WriterThread;

  constructor(thread: WriterThread) {
    this.#thread = thread;
  }

  send(): void {
    const { files, waiting } = this;
    this.files = [];
    this.waiting = [];
    this.bytes = 0;
    if (files.length > 0) {
      this.#thread.send(files, waiting);
    }
  }
}

class WriterThread {
  /** Files on their way. */
  load = 0;
  readonly #worker: Worker;
  readonly #batches = new Map<number, readonly Waiting[]>();
  #nextId = 0;
  #death: VarveError | undefined;
  #idle: (() => void) | undefined;

  constructor(url: URL, workerData: WriterData) {
    this.#worker = new Worker(url, { workerData, resourceLimits: HEAP_LIMITS });
    this.#worker.on("message", (result: BatchResult) => this.#onResult(result));
    this.#worker.on("messageerror", (error) => this.#die(errorMessage(error)));
    this.#worker.on("error", (error) => this.#die(errorMessage(error)));
    this.#worker.on("exit", (code) => this.#die(`exit code ${code}`));
  }

  send(files: readonly PlacedFile[], waiting: readonly Waiting[]): void {
    if (this.#death !== undefined) {
      rejectAll(waiting, this.#death);
      return;
    }
    const batch = packFiles(this.#nextId++, files);
    this.#batches.set(batch.batchId, waiting);
    this.load += files.length;
    const { directories, owners, timesNs, offsets, lengths } = batch;
    const lists = [directories, owners, timesNs, offsets, lengths];
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(
      batch,
      lists.map((list) => list.buffer as ArrayBuffer), // packFiles has allocated each
    );
  }

  async close(): Promise<void> {
    if (this.#batches.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await this.#worker.terminate();
  }

  #onResult({ batchId, failures }: BatchResult): void {
    const waiting = this.#batches.get(batchId);
    assert(waiting !== undefined, "a thread answers what it was sent");
    this.#batches.delete(batchId);
    this.load -= waiting.length;
    for (const { position, code, message } of failures) {
      waiting[position]?.reject(new VarveError(code, message));
    }
    for (const { resolve } of waiting) {
      resolve(); // nothing to one that was rejected
    }
    if (this.#batches.size === 0) {
      this.#idle?.();
    }
  }

  #die(how: string): void {
    this.#death ??= new VarveError("target-failed", `writing thread ended: ${how}`);
    for (const waiting of this.#batches.values()) {
      rejectAll(waiting, this.#death);
    }
    this.#batches.clear();
    this.load = 0;
    this.#idle?.();
  }
}

function rejectAll(waiting: readonly Waiting[], error: VarveError): void {
  for (const { reject } of waiting) {
    reject(error);
  }
}

function packFiles(batchId: number, files: readonly PlacedFile[]): FileBatch {
  return {
    batchId,
    places: files.map(({ at }) => at),
    directories: Int32Array.from(files, ({ directory }) => directory),
    owners: Int32Array.from(
      files.flatMap(({ meta }) =>
        meta === undefined ? [-1, 0, 0] : [meta.mode, meta.uid, meta.gid],
      ),
    ),
    timesNs: BigInt64Array.from(files, ({ meta }) => meta?.mtimeNs ?? 0n),
    offsets: Uint32Array.from(files, ({ offset }) => offset),
    lengths: Uint32Array.from(files, ({ length }) => length),
  };
}
