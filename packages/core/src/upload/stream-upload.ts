import { errorMessage, isVarveError } from "../base/errors.ts";
import type { WriteObjectOptions } from "../object/object-store.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import type { FileEnd } from "./file-upload.ts";
import type { UploadSession } from "./session.ts";

/** Reads a source without a path on this thread and stores it as it comes. */
export async function storeStream(
  session: UploadSession,
  source: SourceEntry,
  options: WriteObjectOptions,
): Promise<FileEnd> {
  const { repository, signal } = session;
  const reading: Reading = { problem: undefined, stopped: false };
  try {
    const { id, size } = await repository.objects.write(watch(session, source, reading), {
      ...options,
      signal,
    });
    return { object: id, sizeBytes: size };
  } catch (error) {
    signal.throwIfAborted();
    if (reading.stopped) {
      return { stopped: true };
    }
    if (reading.problem === undefined) {
      throw error; // storage, not the source
    }
    const { problem } = reading;
    const code = isVarveError(problem.error) ? problem.error.code : "source-failed";
    return { failed: { code, message: errorMessage(problem.error) } };
  }
}

interface Reading {
  problem: { readonly error: unknown } | undefined;
  stopped: boolean;
}

/** Passes the bytes on and keeps apart what the source did wrong from what storage does. */
async function* watch(
  session: UploadSession,
  source: SourceEntry,
  reading: Reading,
): AsyncGenerator<Uint8Array, void, undefined> {
  const parts = source.read({ signal: session.signal })[Symbol.asyncIterator]();
  try {
    for (;;) {
      let next: IteratorResult<Uint8Array>;
      try {
        next = await parts.next();
      } catch (error) {
        reading.problem = { error };
        throw error;
      }
      if (next.done === true) {
        return;
      }
      session.countBytes(next.value.length);
      if (session.stopReason !== undefined) {
        reading.stopped = true;
        throw new Error("the upload is ending");
      }
      yield next.value;
    }
  } finally {
    await parts.return?.();
  }
}
