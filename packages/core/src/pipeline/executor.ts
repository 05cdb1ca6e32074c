import type { ErrorCode } from "../base/errors.ts";
import type { CallOptions } from "../base/environment.ts";
import type { ContentOpener } from "../content/bulk-reader.ts";
import type { BatchPlace } from "../content/drafted-pack.ts";
import type { BatchLayout, SealedBatch } from "../content/sealed-batch.ts";
import type { ContentId } from "../index/content-id.ts";

/** One regular file, or a section of one, to be read and stored. */
export interface FileToRead {
  /** Bytes when the name is not valid UTF-8. */
  readonly path: string | Uint8Array;
  readonly offset: number;
  /** Bytes from `offset`; left out: to the end of the file, even when it grows. */
  readonly length?: number | undefined;
  readonly splitter: string;
  /** Name of a codec, or `none`. */
  readonly compressor: string;
}

export interface FileJob {
  readonly files: readonly FileToRead[];
}

/** A piece of a file that is stored, or is being stored: an object id by spec §5.1 (`Z…` when compressed at object level). */
export interface StoredPiece {
  readonly length: number;
  readonly object: string;
}

export type FileOutcome =
  | { readonly pieces: readonly StoredPiece[]; readonly sizeBytes: number }
  | { readonly failed: { readonly code: ErrorCode; readonly message: string } }
  /** `RunOptions.stop` came before the file was read to its end. */
  | { readonly stopped: true };

export interface FileResult {
  /** One for each file of the job, in its order. An empty file has one piece of length 0. */
  readonly outcomes: readonly FileOutcome[];
}

/** The part of a content store that a job needs. */
export interface ContentSink {
  claim(ids: readonly ContentId[]): boolean[];
  append(batch: SealedBatch, options?: CallOptions): Promise<void>;
  /** For threads that write what they have sealed; see `ContentStore.place`. Left out where they hand it over. */
  readonly place?: ((layout: BatchLayout) => Promise<BatchPlace>) | undefined;
  /** Resolves when there is room for more; with `place`. */
  room?(options?: CallOptions): Promise<void>;
  /** Gives back what a lost job has claimed and not appended. */
  abandon(ids: readonly ContentId[], cause: unknown): void;
}

export interface RunOptions extends CallOptions {
  /** Ends the job at its next batch: what was claimed is appended, files that are not read to their end are `stopped`. */
  readonly stop?: AbortSignal | undefined;
  /** Called with bytes read since the last call. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/**
 * Whole files in, sealed contents out: read, split, hash, claim, compress, seal, append. Object ids depend on
 * file bytes and names of algorithms alone, never on which executor ran, on threads or on timing.
 */
export interface Executor extends ContentOpener, AsyncDisposable {
  /** Jobs worth holding at once; the caller keeps this many in flight and no more. */
  readonly parallelJobs: number;
  /** A file that cannot be read is a failed outcome; a rejected promise means that the job is lost, and its open claims are abandoned. */
  run(job: FileJob, sink: ContentSink, options?: RunOptions): Promise<FileResult>;
}
