import { concatBytes, totalLength } from "../base/bytes.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import { resolveRange } from "../blob/range.ts";
import type { BlobId, BlobInfo, BlobStore, GetOptions, PutOptions } from "../blob/store.ts";
import type { ScratchFile } from "../index/slabs.ts";
import type { TaskName } from "./schedule.ts";

/** A run that is not for good. */
export interface Rehearsal {
  /** Below the repository. */
  readonly store: RehearsalStore;
  /** Called after each step; of `open` more than once, when an emergency frees space before it begins. */
  readonly onStep: (step: TaskName | "open" | "close") => void;
}

/** How storage has answered while it was read. */
export interface Answers {
  /** Requests for little, and the time that they took together, in milliseconds. */
  readonly small: { readonly count: number; readonly ms: number };
  /** The same of requests for much, with their bytes. */
  readonly large: { readonly count: number; readonly ms: number; readonly bytes: number };
  /** How long at least one request was under way. */
  readonly waitedMs: number;
}

interface Written {
  readonly info: BlobInfo;
  /** Where its bytes lie; a pack's are not kept, since nobody reads them again. */
  readonly bytes: () => Uint8Array;
}

export interface RehearsalOptions {
  readonly environment: Environment;
  /** For what would be written. Default: memory. */
  readonly scratch?: ScratchFile | undefined;
}

const LARGE_BYTES = 256 * 1024;

/**
 * Storage as it would be after what has been done to it, where nothing is done: reads go to storage, writes and deletions are
 * only remembered. What maintenance does here is what it would do there, and a plan is a count of it. Disposing of it leaves
 * the storage as it is.
 */
export class RehearsalStore implements BlobStore {
  readonly label: string;
  readonly features: BlobStore["features"];
  readonly listsInOrder: boolean | undefined;
  /** While true packs are not read either: their bytes are zeros. */
  skipsPacks = false;
  readonly #store: BlobStore;
  readonly #environment: Environment;
  readonly #written = new Map<BlobId, Written>();
  readonly #deleted = new Set<BlobId>();
  readonly #keep: (parts: readonly Uint8Array[]) => () => Uint8Array;
  readonly #stopwatch: Stopwatch;

  constructor(store: BlobStore, { environment, scratch }: RehearsalOptions) {
    this.label = store.label;
    this.features = store.features;
    this.listsInOrder = store.listsInOrder;
    this.#store = store;
    this.#environment = environment;
    this.#keep = keeper(scratch);
    this.#stopwatch = new Stopwatch(environment);
  }

  get answers(): Answers {
    return this.#stopwatch.answers;
  }

  parallelPuts(): number | undefined {
    return this.#store.parallelPuts?.();
  }

  async get(id: BlobId, options: GetOptions = {}): Promise<Uint8Array> {
    const mine = this.#written.get(id);
    if (mine !== undefined) {
      const { offset, length } = resolveRange(id, mine.info.size, options.range);
      return mine.bytes().slice(offset, offset + length);
    }
    this.#refuseDeleted(id);
    return this.skipsPacks && isPack(id) && options.range !== undefined
      ? new Uint8Array(options.range.length)
      : await this.#stopwatch.time(
          () => this.#store.get(id, options),
          ({ length }) => length,
        );
  }

  async put(
    id: BlobId,
    parts: readonly Uint8Array[],
    { ifAbsent = false, mtimeMs }: PutOptions = {},
  ): Promise<BlobInfo> {
    if (ifAbsent && (await this.#isThere(id))) {
      throw new VarveError("blob-exists", `put ${id}: it is there already`);
    }
    const size = totalLength(parts);
    const info = { id, size, mtimeMs: mtimeMs ?? this.#environment.nowMs() };
    const bytes = isPack(id) ? () => new Uint8Array(size) : this.#keep(parts);
    this.#written.set(id, { info, bytes });
    this.#deleted.delete(id);
    return info;
  }

  async stat(id: BlobId, options?: CallOptions): Promise<BlobInfo> {
    this.#refuseDeleted(id);
    return (
      this.#written.get(id)?.info ??
      (await this.#stopwatch.time(() => this.#store.stat(id, options)))
    );
  }

  async delete(id: BlobId): Promise<void> {
    this.#written.delete(id);
    this.#deleted.add(id);
  }

  async extendRetention(id: BlobId): Promise<void> {
    this.#refuseDeleted(id);
  }

  /** In order where storage's lists are. */
  async *list(prefix: string, options?: CallOptions): AsyncGenerator<BlobInfo> {
    const mine = [...this.#written.values()]
      .map(({ info }) => info)
      .filter(({ id }) => id.startsWith(prefix))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for await (const info of this.#stopwatch.timeList(this.#store.list(prefix, options))) {
      while (mine[0] !== undefined && mine[0].id < info.id) {
        yield* mine.splice(0, 1);
      }
      if (!this.#deleted.has(info.id) && !this.#written.has(info.id)) {
        yield info;
      }
    }
    yield* mine;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #isThere(id: BlobId): Promise<boolean> {
    try {
      await this.stat(id);
      return true;
    } catch (error) {
      if (isVarveError(error, "blob-not-found")) {
        return false;
      }
      throw error;
    }
  }

  #refuseDeleted(id: BlobId): void {
    if (this.#deleted.has(id)) {
      throw new VarveError("blob-not-found", `blob ${id} would be deleted by then`);
    }
  }
}

function isPack(id: BlobId): boolean {
  return /^[pq]/.test(id);
}

function keeper(
  scratch: ScratchFile | undefined,
): (parts: readonly Uint8Array[]) => () => Uint8Array {
  let end = 0;
  return (parts) => {
    const bytes = concatBytes(parts);
    if (scratch === undefined) {
      return () => bytes;
    }
    const position = end;
    const size = bytes.length;
    end += size;
    scratch.write(position, bytes);
    return () => {
      const target = new Uint8Array(size);
      scratch.read(position, target);
      return target;
    };
  };
}

class Stopwatch {
  readonly #environment: Environment;
  readonly #small = { count: 0, ms: 0 };
  readonly #large = { count: 0, ms: 0, bytes: 0 };
  #waitedMs = 0;
  #inFlight = 0;
  #busySinceMs = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get answers(): Answers {
    return { small: { ...this.#small }, large: { ...this.#large }, waitedMs: this.#waitedMs };
  }

  async time<T>(work: () => Promise<T>, bytesOf: (result: T) => number = () => 0): Promise<T> {
    const startMs = this.#begin();
    try {
      const result = await work();
      const bytes = bytesOf(result);
      const tally = bytes < LARGE_BYTES ? this.#small : this.#large;
      tally.count += 1;
      tally.ms += this.#environment.nowMs() - startMs;
      this.#large.bytes += bytes < LARGE_BYTES ? 0 : bytes;
      return result;
    } finally {
      this.#end();
    }
  }

  /** The wait for the first blob; the others of a page come with it. */
  async *timeList(list: AsyncIterable<BlobInfo>): AsyncGenerator<BlobInfo> {
    const iterator = list[Symbol.asyncIterator]();
    const first = await this.time(() => iterator.next());
    if (first.done !== true) {
      yield first.value;
      yield* { [Symbol.asyncIterator]: () => iterator };
    }
  }

  #begin(): number {
    const nowMs = this.#environment.nowMs();
    this.#busySinceMs = this.#inFlight === 0 ? nowMs : this.#busySinceMs;
    this.#inFlight += 1;
    return nowMs;
  }

  #end(): void {
    this.#inFlight -= 1;
    this.#waitedMs += this.#inFlight === 0 ? this.#environment.nowMs() - this.#busySinceMs : 0;
  }
}
