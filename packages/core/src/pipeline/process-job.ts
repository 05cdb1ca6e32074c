import { READ_WINDOW_BYTES, SEALED_BATCH_BYTES } from "../base/budget.ts";
import type { CallOptions } from "../base/environment.ts";
import { assert, errorMessage, isVarveError } from "../base/errors.ts";
import type { Codec, Codecs } from "../compression/codec.ts";
import { compressContent } from "../compression/content-compression.ts";
import type { SealedContent } from "../content/content-store.ts";
import { sealContent } from "../content/seal-content.ts";
import type { Sealer } from "../format/sealer.ts";
import { type ContentId, contentIdOf } from "../index/content-id.ts";
import type { Splitter } from "../splitter/splitter.ts";
import type { FileJob, FileOutcome, FileResult, FileToRead, StoredPiece } from "./executor.ts";

/**
 * The CPU work of a backup, the same in every executor: files are read into a window, cut, hashed; the ids are
 * claimed, and what is new is compressed, sealed and appended. Here is neither a thread nor a file system. Between
 * `claim` and `append` nothing is read, so a claim is always followed by its append unless the session is lost.
 */

/** An open file. Both methods are synchronous: on a worker that is several times faster than promises. */
export interface OpenFile {
  /** Fills `target` from `position` as far as it can and tells how many bytes; 0 at the end of the file. */
  read(target: Uint8Array, position: number): number;
  close(): void;
}

/** What the jobs of one thread share. */
export interface JobTools {
  readonly sealer: Sealer;
  readonly codecs: Codecs;
  readonly splitter: (name: string) => Splitter;
  /** With 1, file data is compressed at object level (spec §3.4, §5.1). */
  readonly indexVersion: number;
  readonly openFile: (path: string | Uint8Array) => OpenFile;
}

/** A content sink that may be on the other side of a thread boundary. */
export interface JobSink {
  claim(ids: readonly ContentId[]): Promise<readonly boolean[]>;
  append(sealed: readonly SealedContent[]): Promise<void>;
}

export interface ProcessOptions extends CallOptions {
  readonly stop?: AbortSignal | undefined;
  /** {@link READ_WINDOW_BYTES} long, for this job alone while it runs. */
  readonly window: Uint8Array;
  readonly onBytes: (bytes: number) => void;
}

export function createWindow(): Uint8Array {
  return new Uint8Array(READ_WINDOW_BYTES);
}

/** Rejects when the sink does, with the signal's reason, and for nothing that a file can do. */
export function processJob(
  job: FileJob,
  tools: JobTools,
  sink: JobSink,
  options: ProcessOptions,
): Promise<FileResult> {
  return new JobRun(tools, sink, options).run(job);
}

/** A chunk that waits for its claim; `data` is a view of the window, or what object-level compression made of it. */
interface Chunk {
  readonly id: ContentId;
  readonly data: Uint8Array;
  readonly codec: Codec | undefined;
}

class JobRun {
  readonly #tools: JobTools;
  readonly #sink: JobSink;
  readonly #options: ProcessOptions;
  readonly #window: Uint8Array;
  /** The window holds chunks in `#chunks`, then from `#start` bytes that are not cut yet, up to `#filled`. */
  #start = 0;
  #filled = 0;
  readonly #chunks: Chunk[] = [];

  constructor(tools: JobTools, sink: JobSink, options: ProcessOptions) {
    this.#tools = tools;
    this.#sink = sink;
    this.#options = options;
    this.#window = options.window;
  }

  async run(job: FileJob): Promise<FileResult> {
    const outcomes: FileOutcome[] = [];
    for (const file of job.files) {
      this.#options.signal?.throwIfAborted();
      outcomes.push(await this.#file(file));
    }
    await this.#store();
    return { outcomes };
  }

  async #file(file: FileToRead): Promise<FileOutcome> {
    if (this.#options.stop?.aborted === true) {
      return { stopped: true };
    }
    let open: OpenFile;
    try {
      open = this.#tools.openFile(file.path);
    } catch (error) {
      return failure(error);
    }
    try {
      return await this.#readAll(open, file);
    } finally {
      open.close();
    }
  }

  async #readAll(open: OpenFile, file: FileToRead): Promise<FileOutcome> {
    const splitter = this.#tools.splitter(file.splitter);
    assert(splitter.maxSize <= this.#window.length, "a chunk fits into the read window");
    const codec =
      file.compressor === "none" ? undefined : this.#tools.codecs.byName(file.compressor);
    const pieces: StoredPiece[] = [];
    const end = file.offset + (file.length ?? Number.POSITIVE_INFINITY);
    let position = file.offset;
    this.#start = this.#filled;
    for (let atEnd = false; !atEnd; ) {
      if (this.#filled === this.#window.length) {
        await this.#makeRoom();
        if (this.#options.stop?.aborted === true) {
          return { stopped: true };
        }
      }
      let count: number;
      try {
        count = this.#read(open, position, end);
      } catch (error) {
        return failure(error);
      }
      position += count;
      atEnd = count === 0;
      // Cutting only full windows keeps the bytes that are looked at twice few.
      if (atEnd || this.#filled === this.#window.length) {
        this.#cut(splitter, codec, atEnd, pieces);
      }
    }
    if (pieces.length === 0) {
      pieces.push(this.#addChunk(new Uint8Array(0), undefined)); // spec §5.2: one content of zero bytes
    }
    return { pieces, sizeBytes: position - file.offset };
  }

  #read(open: OpenFile, position: number, end: number): number {
    const room = Math.min(this.#window.length - this.#filled, end - position);
    if (room === 0) {
      return 0;
    }
    const target = this.#window.subarray(this.#filled, this.#filled + room);
    const count = open.read(target, position);
    this.#filled += count;
    this.#options.onBytes(count);
    return count;
  }

  #cut(splitter: Splitter, codec: Codec | undefined, atEnd: boolean, pieces: StoredPiece[]): void {
    const base = this.#start;
    for (const end of splitter.cuts(this.#window.subarray(base, this.#filled), atEnd)) {
      pieces.push(this.#addChunk(this.#window.subarray(this.#start, base + end), codec));
      this.#start = base + end;
    }
  }

  #addChunk(data: Uint8Array, codec: Codec | undefined): StoredPiece {
    const { sealer, indexVersion } = this.#tools;
    if (codec !== undefined && indexVersion === 1) {
      const compressed = compressContent(data, codec);
      if (compressed !== undefined) {
        const id = contentIdOf("", sealer.hash(compressed));
        this.#chunks.push({ id, data: compressed, codec: undefined });
        return { length: data.length, object: `Z${id}` };
      }
    }
    const id = contentIdOf("", sealer.hash(data));
    this.#chunks.push({ id, data, codec: indexVersion === 1 ? undefined : codec });
    return { length: data.length, object: id };
  }

  /** Stores the chunks of a full window and moves what is not cut yet to its front. */
  async #makeRoom(): Promise<void> {
    await this.#store();
    this.#window.copyWithin(0, this.#start, this.#filled);
    this.#filled -= this.#start;
    this.#start = 0;
  }

  async #store(): Promise<void> {
    if (this.#chunks.length === 0) {
      return;
    }
    this.#options.signal?.throwIfAborted();
    const isNew = await this.#sink.claim(this.#chunks.map((chunk) => chunk.id));
    let batch: SealedContent[] = [];
    let batchBytes = 0;
    for (const [index, chunk] of this.#chunks.entries()) {
      if (isNew[index] !== true) {
        continue;
      }
      const sealed = sealContent({ ...chunk, sealer: this.#tools.sealer });
      if (batchBytes > 0 && batchBytes + sealed.sealed.length > SEALED_BATCH_BYTES) {
        await this.#append(batch);
        batch = [];
        batchBytes = 0;
      }
      batch.push(sealed);
      batchBytes += sealed.sealed.length;
    }
    if (batch.length > 0) {
      await this.#append(batch);
    }
    this.#chunks.length = 0;
  }

  async #append(batch: readonly SealedContent[]): Promise<void> {
    this.#options.signal?.throwIfAborted();
    await this.#sink.append(batch);
  }
}

function failure(error: unknown): FileOutcome {
  const code = isVarveError(error) ? error.code : "source-failed";
  return { failed: { code, message: errorMessage(error) } };
}
