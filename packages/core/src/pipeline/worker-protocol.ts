import { concatBytes } from "../base/bytes.ts";
import type { ErrorCode } from "../base/errors.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import type { SealedContent } from "../content/content-store.ts";
import type { ContentId } from "../index/content-id.ts";
import type { FileJob, FileOutcome } from "./executor.ts";

/**
 * What the main thread and a worker of the executor say to each other. A job asks one thing at a time: `claim` is
 * answered by `claimed`, `append` by `appended` once there is room, and either by `abort`. `jobId` counts up.
 */
export type ToWorker =
  | { readonly type: "run"; readonly jobId: number; readonly job: FileJob }
  | { readonly type: "claimed"; readonly jobId: number; readonly isNew: readonly boolean[] }
  | { readonly type: "appended"; readonly jobId: number }
  | { readonly type: "stop"; readonly jobId: number }
  | { readonly type: "abort"; readonly jobId: number };

/** `bytes` were read since the last message of the job. */
export type FromWorker = { readonly jobId: number; readonly bytes: number } & (
  | { readonly type: "claim"; readonly ids: readonly ContentId[] }
  | {
      readonly type: "append";
      readonly small: PackedContents;
      readonly large: readonly SealedContent[];
    }
  | { readonly type: "done"; readonly outcomes: readonly FileOutcome[] }
  | { readonly type: "failed"; readonly error: PlainError }
);

/** Many small contents in few objects: as objects of their own they cost 20 µs each to send, most of it for the structured clone. */
export interface PackedContents {
  readonly ids: readonly ContentId[];
  /** For each content its sealed length, original length and compression header id. */
  readonly numbers: Uint32Array;
  /** The sealed bytes, one after the other. */
  readonly bytes: Uint8Array;
}

const NUMBERS_PER_CONTENT = 3;

export function packContents(sealed: readonly SealedContent[]): PackedContents {
  return {
    ids: sealed.map((content) => content.id),
    numbers: Uint32Array.from(
      sealed.flatMap((content) => [
        content.sealed.length,
        content.originalLength,
        content.compressionHeaderId,
      ]),
    ),
    bytes: concatBytes(sealed.map((content) => content.sealed)),
  };
}

export function unpackContents({ ids, numbers, bytes }: PackedContents): readonly SealedContent[] {
  let offset = 0;
  return ids.map((id, index) => {
    const at = index * NUMBERS_PER_CONTENT;
    const [length = 0, originalLength = 0, compressionHeaderId = 0] = numbers.subarray(
      at,
      at + NUMBERS_PER_CONTENT,
    );
    offset += length;
    return {
      id,
      sealed: bytes.subarray(offset - length, offset),
      originalLength,
      compressionHeaderId,
    };
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
