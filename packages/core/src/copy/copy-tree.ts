import { PARALLEL_READS } from "../base/budget.ts";
import { forEachLimit } from "../base/concurrency.ts";
import { type ErrorCode, errorMessage, isVarveError, VarveError } from "../base/errors.ts";
import type { Codec } from "../compression/codec.ts";
import type { ObjectId } from "../object/object-id.ts";
import { compressorFor, metadataCompressorFor } from "../policy/compression-choice.ts";
import type { Policy } from "../policy/policy.ts";
import type { PolicyTree } from "../policy/policy-tree.ts";
import type { Repository } from "../repository/repository.ts";
import { type DirectoryRecord, encodeDirectory } from "../snapshot/directory.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { buildSummary } from "../snapshot/summary.ts";
import type { CopiedObjects } from "./copied-objects.ts";

/** Deeper than restore goes. */
const MAX_DEPTH = 1000;

/** What cannot be read will not be readable the next time either: the snapshot is left out, and others go on. */
const DAMAGE: readonly ErrorCode[] = [
  "corrupt",
  "content-not-found",
  "object-not-found",
  "blob-not-found",
  "range-invalid",
  "format-unsupported",
];

export interface CopyTreeOptions {
  readonly source: Repository;
  readonly target: Repository;
  readonly copied: CopiedObjects;
  /** Files of a directory, at most. */
  readonly parallelReads: number;
  readonly signal: AbortSignal | undefined;
  /** Called while bytes go through, `bytes` of them since the last call; and with 0 between two entries. */
  readonly onBytes: (bytes: number) => Promise<void>;
  readonly onFile: () => void;
}

/** A directory of which a part is copied. */
interface Frame {
  readonly entry: DirectoryEntry;
  readonly policy: PolicyTree;
  readonly done: DirectoryEntry[];
}

/**
 * Copies one tree bottom-up, each distinct object once: bytes are read from the source, and cut, hashed, compressed and encrypted as
 * the target's format and policies say. Where both agree, contents have equal ids, and those that are there are not written again.
 */
export class TreeCopier {
  readonly #options: CopyTreeOptions;
  /** From the root down to where the copier stands. */
  readonly #open: Frame[] = [];

  constructor(options: CopyTreeOptions) {
    this.#options = options;
  }

  /** Throws `source-failed` naming the path when the source is damaged there. */
  async copy(root: DirectoryEntry, policy: PolicyTree): Promise<DirectoryEntry> {
    this.#open.length = 0;
    return { ...root, object: await this.#object(root, policy, "") };
  }

  /** A tree of what is copied so far, stored as records that say they are incomplete; nothing for a file or before the first entry. */
  async storePart(): Promise<DirectoryEntry | undefined> {
    let child: DirectoryEntry | undefined;
    // Taken at one moment: files end meanwhile.
    const frames = this.#open.map((frame) => ({ ...frame, done: [...frame.done] }));
    for (const { entry, policy, done } of frames.toReversed()) {
      const entries = child === undefined ? done : [...done, child];
      const summary = buildSummary({
        entries,
        failures: [],
        incomplete: "checkpoint",
        mtimeNs: entry.mtimeNs,
      });
      const object = await this.#storeRecord({ entries, summary }, policy.effective);
      child = { ...entry, object, summary };
    }
    return child;
  }

  async #object(entry: DirectoryEntry, policy: PolicyTree, path: string): Promise<ObjectId> {
    const { files, directories } = this.#options.copied;
    const map = entry.type === "directory" ? directories : files;
    const known = map.get(entry.object);
    if (known !== undefined) {
      return known;
    }
    const object =
      entry.type === "directory"
        ? await this.#directory(entry, policy, path)
        : await this.#file(entry, policy.effective, path);
    map.set(entry.object, object);
    return object;
  }

  async #directory(entry: DirectoryEntry, policy: PolicyTree, path: string): Promise<ObjectId> {
    const { parallelReads, onBytes, signal } = this.#options;
    const record = await this.#readRecord(entry.object, path);
    const frame: Frame = { entry, policy, done: [] };
    this.#open.push(frame);
    const below = (child: DirectoryEntry): string =>
      path === "" ? child.name : `${path}/${child.name}`;
    const isDirectory = ({ type }: DirectoryEntry): boolean => type === "directory";
    const limit = Math.min(PARALLEL_READS, parallelReads);
    await forEachLimit(
      record.entries.filter((child) => !isDirectory(child)),
      { limit, signal },
      async (child) => {
        const object = await this.#object(child, policy, below(child));
        frame.done.push({ ...child, object });
        await onBytes(0);
      },
    );
    for (const child of record.entries.filter(isDirectory)) {
      const object = await this.#object(child, policy.child(child.name), below(child));
      frame.done.push({ ...child, object });
      await onBytes(0);
    }
    this.#open.pop();
    const { summary } = record;
    return await this.#storeRecord({ entries: frame.done, summary }, policy.effective);
  }

  async #readRecord(object: ObjectId, path: string): Promise<DirectoryRecord> {
    const { source, signal } = this.#options;
    signal?.throwIfAborted();
    if (this.#open.length > MAX_DEPTH) {
      throw sourceFailed(path, `directories are nested more than ${MAX_DEPTH} deep`);
    }
    let record: DirectoryRecord;
    try {
      record = await readDirectory(source, object, { signal });
    } catch (error) {
      throw orSourceFailed(error, path);
    }
    const [damaged] = record.damaged;
    if (damaged !== undefined) {
      throw sourceFailed(path, `entry ${JSON.stringify(damaged.name)}: ${damaged.reason}`);
    }
    return record;
  }

  async #file(entry: DirectoryEntry, policy: Policy, path: string): Promise<ObjectId> {
    const { target, onFile, signal } = this.#options;
    const splitter = target.splitter(policy.splitter?.algorithm);
    const compressor = compressorFor(policy, entry);
    const codec = compressor === "none" ? undefined : target.codecs.byName(compressor);
    const metadataCodec = this.#metadataCodec(policy);
    const data = this.#read(entry.object, path);
    const { id } = await target.objects.write(data, { splitter, codec, metadataCodec, signal });
    onFile();
    return id;
  }

  async *#read(object: ObjectId, path: string): AsyncGenerator<Uint8Array, void, undefined> {
    const { onBytes } = this.#options;
    for await (const part of this.#parts(object, path)) {
      yield part;
      await onBytes(part.length); // here, so that what it throws is not taken for the source's
    }
  }

  async *#parts(object: ObjectId, path: string): AsyncGenerator<Uint8Array, void, undefined> {
    const { source, signal } = this.#options;
    try {
      const reader = await source.objects.open(object, { signal });
      yield* reader.stream({ signal });
    } catch (error) {
      throw orSourceFailed(error, path);
    }
  }

  async #storeRecord(
    record: Parameters<typeof encodeDirectory>[0],
    policy: Policy,
  ): Promise<ObjectId> {
    const { target, signal } = this.#options;
    const codec = this.#metadataCodec(policy);
    const bytes = encodeDirectory(record);
    const { id } = await target.objects.write(once(bytes), {
      prefix: "k",
      codec,
      metadataCodec: codec,
      signal,
    });
    return id;
  }

  /** None with index version 1 (spec §3.4). */
  #metadataCodec(policy: Policy): Codec | undefined {
    const { target } = this.#options;
    const name = metadataCompressorFor(policy);
    return name === "none" || target.format.indexVersion === 1
      ? undefined
      : target.codecs.byName(name);
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}

function sourceFailed(path: string, why: string, cause?: unknown): VarveError {
  return new VarveError("source-failed", `${JSON.stringify(path)}: ${why}`, { cause });
}

function orSourceFailed(error: unknown, path: string): unknown {
  return isVarveError(error) && DAMAGE.includes(error.code)
    ? sourceFailed(path, errorMessage(error), error)
    : error;
}
