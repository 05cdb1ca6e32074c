import type { CallOptions, Environment } from "../base/environment.ts";
import { msToNs } from "../base/time.ts";
import { VarveError } from "../base/errors.ts";
import { type SourceEntry, failingIterable } from "./source-entry.ts";

/**
 * A stream (standard input) as a source (behaviour §1.11): a made-up directory with one file. Kopia gives both a time
 * in 1754, an accident of its zero time; here it is the time of the call.
 */

export interface StreamSourceOptions {
  /** Name of the file. */
  readonly name: string;
  /** Read once, when the file is. */
  readonly data: AsyncIterable<Uint8Array>;
  /** Name of the root directory; Kopia uses the whole path. */
  readonly directoryName: string;
  readonly environment: Environment;
}

/** The size of the file is unknown before it is read, and given as 0; reading it twice throws `source-failed`. */
export function streamSource(options: StreamSourceOptions): SourceEntry {
  const common = { mode: 0o777, mtimeNs: msToNs(options.environment.nowMs()), uid: 0, gid: 0 };
  let taken = false;
  const file: SourceEntry = {
    name: options.name,
    meta: { ...common, type: "file", sizeBytes: 0 },
    async *read({ signal }: CallOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
      if (taken) {
        throw new VarveError("source-failed", `${options.name}: a stream can be read only once`);
      }
      taken = true;
      for await (const part of options.data) {
        signal?.throwIfAborted();
        yield part;
      }
    },
    children: () => failingIterable(`${options.name}: not a directory`),
  };
  return {
    name: options.directoryName,
    meta: { ...common, type: "directory", sizeBytes: 0 },
    read: () => failingIterable(`${options.directoryName}: is a directory`),
    async *children(): AsyncGenerator<SourceEntry, void, undefined> {
      yield file;
    },
  };
}
