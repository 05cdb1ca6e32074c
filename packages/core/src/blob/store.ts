import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { Meter } from "./meter.ts";

/**
 * A flat set of named, immutable byte strings: all that a repository asks of storage (spec §1). A store is
 * strongly consistent, and a put is atomic: readers see all of it or none of it.
 */

declare const kind: unique symbol;
/** An ASCII name such as `p2c5…-s31…`; one to 255 characters of `A-Z a-z 0-9 . _ -`. */
export type BlobId = string & { readonly [kind]: "blob" };

/** Throws `invalid-argument`. */
export function parseBlobId(text: string): BlobId {
  if (!/^[A-Za-z0-9._-]{1,255}$/.test(text) || text === "." || text === "..") {
    throw new VarveError(
      "invalid-argument",
      `not a blob id: ${JSON.stringify(text.slice(0, 300))}`,
    );
  }
  return text as BlobId; // the check above is the definition of the brand
}

export interface BlobInfo {
  readonly id: BlobId;
  /** Bytes. */
  readonly size: number;
  /** Storage's own time of the last write, milliseconds since the Unix epoch. */
  readonly mtimeMs: number;
}

/** Object lock: the blob cannot be deleted before `untilMs`. */
export interface Retention {
  readonly mode: "governance" | "compliance" | "locked";
  readonly untilMs: number;
}

export type StoreFeature = "put-if-absent" | "set-mtime" | "object-lock";

export interface GetOptions extends CallOptions {
  /** Exactly these bytes; `length` 0 is allowed and still checks that the blob exists. */
  readonly range?: { readonly offset: number; readonly length: number } | undefined;
  /** Memory that the store may fill from its start and give a view of, when it is long enough; it may also ignore it. */
  readonly into?: Uint8Array | undefined;
}

export interface PutOptions extends CallOptions {
  /** Fail with `blob-exists` instead of replacing; `unsupported` without feature `put-if-absent`. */
  readonly ifAbsent?: boolean | undefined;
  /** `unsupported` without feature `set-mtime`. */
  readonly mtimeMs?: number | undefined;
  /** `unsupported` without feature `object-lock`. */
  readonly retention?: Retention | undefined;
  /**
   * The `mtimeMs` of the result is the one that `stat` tells. Without, it may be off by seconds where storage does not
   * tell it with a put and would have to be asked.
   */
  readonly exactTime?: boolean | undefined;
}

/**
 * A blob that is written piece by piece, at any place, before it is there. What has neither been published nor discarded when the
 * process ends is a temporary file that nobody reads.
 */
export interface BlobDraft {
  /** Of an open file: any thread of this process may write to it, where nobody else does, until it is published or discarded. */
  readonly descriptor: number;
  /** What was written there. */
  read(range: { readonly offset: number; readonly length: number }): Promise<Uint8Array>;
  /** Writes the missing `pieces`, then stores the blob as `put` does: it is whole and durable when this resolves; discarded when it throws. */
  publish(pieces: readonly DraftPiece[], options?: CallOptions): Promise<BlobInfo>;
  /** Nothing of it is left. Harmless after either. */
  discard(): Promise<void>;
}

export interface DraftPiece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Every method may also throw `access-denied`, `storage-failed`, `storage-full` and the signal's reason. */
export interface BlobStore extends AsyncDisposable {
  /** For people; no secrets. */
  readonly label: string;
  readonly features: ReadonlySet<StoreFeature>;
  /** Lists come by ascending id, and what stands later was looked up later or at the same time. */
  readonly listsInOrder?: boolean | undefined;
  /** Counts what is asked of the store, where somebody wants to know: see `meteredStore`. */
  readonly meter?: Meter | undefined;
  /** Puts at the same time that pay as things are; left out, or `undefined`, where that is not known. */
  parallelPuts?(): number | undefined;
  /** The same of reads that are some MiB long. */
  parallelReads?(): number | undefined;
  /** The whole blob or exactly the range; the result is the caller's. Throws `blob-not-found`, `range-invalid`. */
  get(id: BlobId, options?: GetOptions): Promise<Uint8Array>;
  /** Stores the concatenation of `parts`, replacing an existing blob; the parts, which may lie in shared memory, are not changed and not kept. Durable when it resolves. Throws `read-only`. */
  put(id: BlobId, parts: readonly Uint8Array[], options?: PutOptions): Promise<BlobInfo>;
  /**
   * Begins a blob that threads write themselves; left out where a blob is put as a whole. For the one who holds the store: what a
   * wrapper must see of each put, it can only see by leaving this out. Throws as `put` does.
   */
  draft?: ((id: BlobId, options?: CallOptions) => Promise<BlobDraft>) | undefined;
  /** Throws `blob-not-found`. */
  stat(id: BlobId, options?: CallOptions): Promise<BlobInfo>;
  /** Every blob whose id starts with `prefix` (`""` for all), each once, in any order. Foreign names are left out. */
  list(prefix: string, options?: CallOptions): AsyncIterable<BlobInfo>;
  /** A missing blob is success. Throws `read-only`, and `blob-locked` where object lock or a retention policy keeps the blob for now. */
  delete(id: BlobId, options?: CallOptions): Promise<void>;
  /** Never shortens. Throws `unsupported` without feature `object-lock`, `blob-not-found`. */
  extendRetention(id: BlobId, retention: Retention, options?: CallOptions): Promise<void>;
  /** Bytes of the volume below the store; `undefined` when there is no such thing. */
  capacity?(options?: CallOptions): Promise<{ sizeBytes: number; freeBytes: number } | undefined>;
}
