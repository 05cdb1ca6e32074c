import { assert, type ErrorCode } from "../base/errors.ts";
import type { ObjectEntry } from "../object/object-store.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import type { FileOutcome, StoredPiece } from "../pipeline/executor.ts";
import { compressorFor } from "../policy/compression-choice.ts";
import type { Policy } from "../policy/policy.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import { fileSections, metadataCodec } from "./file-options.ts";
import type { FileQueue } from "./file-queue.ts";
import type { UploadSession } from "./session.ts";

/** How the storing of one file or link ended. */
export type FileEnd =
  | { readonly object: ObjectId; readonly sizeBytes: number }
  | { readonly failed: { readonly code: ErrorCode; readonly message: string } }
  | { readonly stopped: true };

export interface FileUpload {
  readonly source: SourceEntry;
  readonly policy: Policy;
  /** Called once, unless the upload is lost. */
  readonly settle: (end: FileEnd) => void;
}

/** Puts a file with a path into the queue, in sections when it is very long. Resolves when the queue has taken it. */
export async function queueFile(
  session: UploadSession,
  queue: FileQueue,
  upload: FileUpload & { readonly path: string | Uint8Array },
): Promise<void> {
  const { source, policy, path } = upload;
  const { sizeBytes } = source.meta;
  const splitter = session.repository.splitter(policy.splitter?.algorithm).name;
  const compressor = compressorFor(policy, { name: source.name, sizeBytes });
  const sections = fileSections(policy, sizeBytes);
  const outcomes: (FileOutcome | undefined)[] = sections.map(() => undefined);
  let open = sections.length;
  for (const [index, section] of sections.entries()) {
    const settle = (outcome: FileOutcome): void => {
      outcomes[index] = outcome;
      open--;
      if (open === 0) {
        finishFile(session, upload, outcomes);
      }
    };
    await queue.add({ file: { path, ...section, splitter, compressor }, settle }, sizeBytes);
  }
}

function finishFile(
  session: UploadSession,
  upload: FileUpload,
  outcomes: readonly (FileOutcome | undefined)[],
): void {
  const pieces: StoredPiece[] = [];
  for (const outcome of outcomes) {
    assert(outcome !== undefined, "all sections are settled");
    if (!("pieces" in outcome)) {
      upload.settle(outcome);
      return;
    }
    for (const piece of outcome.pieces) {
      pieces.push(piece);
    }
  }
  const [only] = pieces;
  assert(only !== undefined, "a file has at least one piece");
  if (pieces.length === 1) {
    upload.settle({ object: parseObjectId(only.object), sizeBytes: only.length });
  } else {
    session.track(assemble(session, upload, pieces));
  }
}

async function assemble(
  session: UploadSession,
  { policy, settle }: FileUpload,
  pieces: readonly StoredPiece[],
): Promise<void> {
  const { repository, signal } = session;
  const entries: ObjectEntry[] = [];
  let sizeBytes = 0;
  for (const { length, object } of pieces) {
    entries.push({ start: sizeBytes, length, object: parseObjectId(object) });
    sizeBytes += length;
  }
  const object = await repository.objects.assemble(entries, {
    metadataCodec: metadataCodec(repository, policy),
    signal,
  });
  settle({ object, sizeBytes });
}
