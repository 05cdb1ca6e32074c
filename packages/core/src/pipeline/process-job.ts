import {
  BYTES_PER_JOB,
  PLACED_BATCH_BYTES,
  READ_WINDOW_BYTES,
  SEALED_BATCH_BYTES,
} from "../base/budget.ts";
import type { CallOptions } from "../base/environment.ts";
import { assert, errorMessage, isVarveError } from "../base/errors.ts";
import type { Codec, Codecs } from "../compression/codec.ts";
import { compressContent } from "../compression/content-compression.ts";
import {
  compressContents,
  type PlainContent,
  roomFor,
  type SealBuffer,
  sealContents,
  sealedPieces,
} from "../content/seal-content.ts";
import type { BatchLayout, SealedBatch } from "../content/sealed-batch.ts";
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
  /** When it was opened, where that is known; what is appended meanwhile is read all the same, or not. */
  readonly sizeBytes?: number | undefined;
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
  /** Where contents are sealed that are written at once. */
  readonly sealed: SealBuffer;
}

/** A content sink that may be on the other side of a thread boundary. */
export interface JobSink {
  claim(ids: readonly ContentId[]): Promise<readonly boolean[]>;
  append(batch: SealedBatch): Promise<void>;
  /** Left out: batches are appended. A place that was given must be filled at once. */
  place?(layout: BatchLayout): Promise<JobPlace>;
}

/** Where a batch lies in storage. */
export interface JobPlace {
  /** Its next bytes, not kept. Synchronous. */
  write(sealed: Uint8Array): void;
  /** All of it is written; resolves when there is room for more. */
  finish(): Promise<void>;
}

export interface ProcessOptions extends CallOptions {
  readonly stop?: AbortSignal | undefined;
  /** {@link READ_WINDOW_BYTES} long, for this job alone while it runs. */
  readonly window: Uint8Array;
  readonly onBytes: (bytes: number) => void;
  /** Room for at least `size` sealed bytes, which goes with the batch; left out: fresh memory each time. */
  readonly allocate?: ((size: number) => Uint8Array) | undefined;
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

class JobRun {
  readonly #tools: JobTools;
  readonly #sink: JobSink;
  readonly #options: ProcessOptions;
  /** As much of the given one as the current file's chunks ask for: memory that is not touched costs nothing. */
  #window: Uint8Array;
  /** The window holds chunks in `#chunks`, then from `#start` bytes that are not cut yet, up to `#filled`. */
  #start = 0;
  #filled = 0;
  /** Chunks that wait for their claim: views of the window, or what object-level compression made of them. Nobody reads their bytes again once they are compressed. */
  readonly #chunks: PlainContent[] = [];

  constructor(tools: JobTools, sink: JobSink, options: ProcessOptions) {
    this.#tools = tools;
    this.#sink = sink;
    this.#options = options;
    this.#window = options.window.subarray(0, BYTES_PER_JOB);
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
    assert(splitter.maxSize <= this.#options.window.length, "a chunk fits into the read window");
    // What is not cut yet is moved to the front of each window: the longer the window, the less often.
    const length = Math.max(this.#window.length, splitter.maxSize + BYTES_PER_JOB);
    this.#window = this.#options.window.subarray(0, length);
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
      // The second question spares most small files a read that only finds the end.
      atEnd = count === 0 || (position === open.sizeBytes && this.#filled < this.#window.length);
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
    const fresh = this.#chunks.filter((_, index) => isNew[index] === true);
    this.#chunks.length = 0;
    const { sealer } = this.#tools;
    const hasPlaces = this.#sink.place !== undefined;
    const maxBytes = hasPlaces ? PLACED_BATCH_BYTES : SEALED_BATCH_BYTES;
    for (const contents of inBatches(fresh, { sealer, maxBytes })) {
      await (hasPlaces ? this.#write(contents) : this.#append(contents));
    }
  }

  async #append(contents: readonly PlainContent[]): Promise<void> {
    const { sealer } = this.#tools;
    const room = roomFor(contents, sealer);
    const target = this.#options.allocate?.(room) ?? new Uint8Array(room);
    const batch = sealContents(contents, { sealer, target, inPlace: true });
    this.#options.signal?.throwIfAborted();
    await this.#sink.append(batch);
  }

  /** Sealed bytes go straight to storage, through memory that is used again. */
  async #write(contents: readonly PlainContent[]): Promise<void> {
    const { sealer } = this.#tools;
    const compressed = compressContents(contents, { sealer, inPlace: true });
    this.#options.signal?.throwIfAborted();
    const place = await this.#sink.place?.(compressed);
    assert(place !== undefined, "there are places");
    for (const sealed of sealedPieces(compressed, { sealer, buffer: this.#tools.sealed })) {
      place.write(sealed);
    }
    await place.finish();
  }
}

/** As many as fit into a batch, or a single one that is longer. */
function* inBatches(
  contents: readonly PlainContent[],
  { sealer, maxBytes }: { sealer: Sealer; maxBytes: number },
): Generator<readonly PlainContent[]> {
  let start = 0;
  let bytes = 0;
  for (const [index, { data }] of contents.entries()) {
    const length = sealer.sealedLength(data.length);
    if (index > start && bytes + length > maxBytes) {
      yield contents.slice(start, index);
      start = index;
      bytes = 0;
    }
    bytes += length;
  }
  if (start < contents.length) {
    yield contents.slice(start);
  }
}

function failure(error: unknown): FileOutcome {
  const code = isVarveError(error) ? error.code : "source-failed";
  return { failed: { code, message: errorMessage(error) } };
}
