import type { ErrorCode } from "../base/errors.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import type { BlobId } from "../blob/store.ts";
import type { PackRange } from "../content/bulk-reader.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { FileJob, FileOutcome, FileToRead } from "./executor.ts";
import type { ExecutorParameters } from "./executor-parameters.ts";

/**
 * What the main thread and a worker of the executor say to each other. A job asks one thing at a time: `claim` is
 * answered by `claimed`, `append` by `appended` once there is room, and either by `abort`. Where storage has places, a job asks for one instead:
 * `place` is answered by `placed` or `refused`, whatever else happens, since a place must be filled; `written` by
 * `appended`, unless there was room when it was placed. `jobId` counts up. Lists
 * cross as one string or one array of numbers: the structured clone takes microseconds for each object or string.
 */
export type ToWorker =
  | {
      readonly type: "run";
      readonly jobId: number;
      readonly job: PackedJob;
      /** Batches are written to places. */
      readonly hasPlaces: boolean;
    }
  | { readonly type: "claimed"; readonly jobId: number; readonly isNew: readonly boolean[] }
  | { readonly type: "appended"; readonly jobId: number }
  | {
      readonly type: "placed";
      readonly jobId: number;
      readonly descriptor: number;
      readonly position: number;
      /** There is room for more: nobody answers `written`. */
      readonly hasRoom: boolean;
    }
  | { readonly type: "refused"; readonly jobId: number }
  | { readonly type: "stop"; readonly jobId: number }
  | { readonly type: "abort"; readonly jobId: number }
  /** Answered by `opened`, however many of its contents can be opened. */
  | {
      readonly type: "open";
      readonly jobId: number;
      readonly range: PackedRange;
      /** In shared memory. */
      readonly packed: Uint8Array;
    };

/** What a worker is started with. */
export interface WorkerData {
  readonly parameters: ExecutorParameters;
  /** Of `SharedSlots`. */
  readonly slots: SharedArrayBuffer;
}

/** `bytes` were read since the last message of the job. */
export type FromWorker = { readonly jobId: number; readonly bytes: number } & (
  | { readonly type: "claim"; readonly ids: PackedIds }
  | {
      readonly type: "append";
      readonly ids: PackedIds;
      readonly numbers: Uint32Array;
      /** A slot of the shared ones, from now on the main thread's, or bytes that came along. */
      readonly sealed: { readonly slot: number; readonly length: number } | Uint8Array;
    }
  | { readonly type: "place"; readonly ids: PackedIds; readonly numbers: Uint32Array }
  | { readonly type: "written"; readonly hadRoom: boolean }
  | { readonly type: "done"; readonly outcomes: PackedOutcomes }
  | { readonly type: "failed"; readonly error: PlainError }
  | { readonly type: "opened"; readonly contents: readonly (Uint8Array | undefined)[] }
);

/** Content ids with blanks between them; no content has an empty id. */
export type PackedIds = string;

export function packIds(ids: readonly ContentId[]): PackedIds {
  return ids.join(" ");
}

export function unpackIds(packed: PackedIds): readonly ContentId[] {
  return packed === "" ? [] : (packed.split(" ") as ContentId[]); // packIds joined them
}

/** See {@link PackRange}. */
export interface PackedRange {
  readonly packBlobId: BlobId;
  readonly offset: number;
  readonly ids: PackedIds;
  /** For each content {@link NUMBERS_PER_INFO}. */
  readonly numbers: Uint32Array;
}

/** Offset in the pack, packed length, original length, compression header id, encryption key id. */
const NUMBERS_PER_INFO = 5;

export function packRange({ packBlobId, offset, infos }: PackRange): PackedRange {
  const numbers = new Uint32Array(infos.length * NUMBERS_PER_INFO);
  for (const [index, info] of infos.entries()) {
    const { packOffset, packedLength, originalLength, compressionHeaderId } = info;
    const key = info.encryptionKeyId ?? 0;
    numbers.set(
      [packOffset, packedLength, originalLength, compressionHeaderId, key],
      index * NUMBERS_PER_INFO,
    );
  }
  return { packBlobId, offset, ids: packIds(infos.map(({ id }) => id)), numbers };
}

/** Of each content what opening it takes. */
export function unpackRange({ packBlobId, ids, numbers }: PackedRange): ContentInfo[] {
  return unpackIds(ids).map((id, index) => {
    const at = index * NUMBERS_PER_INFO;
    const [packOffset = 0, packedLength = 0, originalLength = 0, compressionHeaderId = 0, key = 0] =
      numbers.subarray(at, at + NUMBERS_PER_INFO);
    const place = { packBlobId, packOffset, packedLength };
    const kind = { deleted: false, timestampSeconds: 0, formatVersion: 0 };
    return { id, ...place, originalLength, compressionHeaderId, encryptionKeyId: key, ...kind };
  });
}

/** Files as runs of neighbours that are read in the same way. */
export interface PackedJob {
  readonly runs: readonly {
    /** Text paths with NUL between them, which is in no path; a single one of bytes as it is. */
    readonly paths: string | Uint8Array;
    readonly how: Omit<FileToRead, "path">;
  }[];
}

export function packJob({ files }: FileJob): PackedJob {
  const runs: { paths: string | Uint8Array; how: Omit<FileToRead, "path"> }[] = [];
  let texts: string[] = [];
  for (const [index, { path, ...how }] of files.entries()) {
    if (typeof path !== "string") {
      runs.push({ paths: path, how });
      continue;
    }
    texts.push(path);
    const next = files[index + 1];
    if (next === undefined || typeof next.path !== "string" || !isReadLike(how, next)) {
      runs.push({ paths: texts.join("\0"), how });
      texts = [];
    }
  }
  return { runs };
}

export function unpackJob({ runs }: PackedJob): FileJob {
  const files = runs.flatMap(({ paths, how }) =>
    (typeof paths === "string" ? paths.split("\0") : [paths]).map((path) => ({ path, ...how })),
  );
  return { files };
}

function isReadLike(a: Omit<FileToRead, "path">, b: Omit<FileToRead, "path">): boolean {
  return (
    a.offset === b.offset &&
    a.length === b.length &&
    a.splitter === b.splitter &&
    a.compressor === b.compressor
  );
}

/** Files of one piece by their object ids and sizes, all others as they are. */
export interface PackedOutcomes {
  /** With blanks between them, empty for the others. */
  readonly objects: string;
  readonly sizes: Float64Array;
  readonly others: ReadonlyMap<number, FileOutcome>;
}

export function packOutcomes(outcomes: readonly FileOutcome[]): PackedOutcomes {
  const objects: string[] = [];
  const sizes = new Float64Array(outcomes.length);
  const others = new Map<number, FileOutcome>();
  for (const [index, outcome] of outcomes.entries()) {
    const only = "pieces" in outcome && outcome.pieces.length === 1 ? outcome.pieces[0] : undefined;
    objects.push(only?.object ?? "");
    sizes[index] = only?.length ?? 0;
    if (only === undefined) {
      others.set(index, outcome);
    }
  }
  return { objects: objects.join(" "), sizes, others };
}

export function unpackOutcomes({ objects, sizes, others }: PackedOutcomes): FileOutcome[] {
  const ids = objects.split(" ");
  return Array.from(sizes, (length, index) => {
    const object = ids[index] as string; // one for each size
    return others.get(index) ?? { pieces: [{ length, object }], sizeBytes: length };
  });
}

/** An error as it crosses threads, where classes do not survive. */
export interface PlainError {
  readonly code: ErrorCode | undefined;
  readonly message: string;
}

export function toPlainError(error: unknown): PlainError {
  return {
    code: isVarveError(error) ? error.code : undefined,
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  };
}

export function fromPlainError({ code, message }: PlainError): Error {
  const text = `executor thread: ${message}`;
  return code === undefined ? new Error(text) : new VarveError(code, text);
}
