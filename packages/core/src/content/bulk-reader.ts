import { Semaphore, forEachLimit } from "../base/concurrency.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import type { MemoryPlan } from "../base/memory-plan.ts";
import { VarveError, errorMessage } from "../base/errors.ts";
import { Turns } from "../base/turns.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { ContentStore } from "./content-store.ts";

/**
 * Reads many contents with few requests: contents that lie close together in a pack come with one get, several gets
 * are in flight, and the bytes held are bounded. What a joined read does not give is asked for alone, so
 * that damage never spreads to neighbours. Restore and verify read file data through this and nothing else.
 */

/** Contents of one pack with at most this much between them are read together: less than a request costs. */
export const JOIN_GAP_BYTES: number = 64 * 1024;
/** A joined read is not made longer than this; a single content may be. */
export const JOINED_READ_BYTES: number = 4 * 1024 * 1024;
/** Shorter reads take no more memory than this, so that many can be under way. */
const SHORT_READ_BYTES = 1024 * 1024;

/** Bytes of one pack to be read at once, and the contents in them by ascending offset. */
export interface PackRange {
  readonly packBlobId: BlobId;
  readonly offset: number;
  readonly length: number;
  readonly infos: readonly ContentInfo[];
}

/** Opens the contents of a range on another thread. */
export interface ContentOpener {
  /**
   * `packed` are the bytes of the range, in shared memory; contents are opened in their place where they can be, and only looked at again when
   * this has settled. Nothing stands for a content that cannot be opened. Left out where there are no threads.
   */
  readonly openRange?:
    | ((range: PackRange, packed: Uint8Array) => Promise<readonly (Uint8Array | undefined)[]>)
    | undefined;
}

export interface ContentReadSource {
  /** Left out: contents are opened on the calling thread. */
  readonly executor?: ContentOpener | undefined;
  readonly blobs: Pick<BlobStore, "get" | "parallelReads">;
  readonly contents: Pick<ContentStore, "read" | "decode">;
  readonly memory: Pick<MemoryPlan, "parallelReads" | "readAheadBytes">;
  readonly environment: Pick<Environment, "nowMs" | "sleep">;
}

/** The plain bytes of a content, or why there are none. The bytes are gone once `use` has settled. */
export type ContentOutcome = { readonly bytes: Uint8Array } | { readonly error: VarveError };

/** Joins neighbours into ranges; the ranges stand in the order in which their first content was named. */
export function planRanges(infos: Iterable<ContentInfo>): PackRange[] {
  const packs = new Map<BlobId, { info: ContentInfo; rank: number }[]>();
  let rank = 0;
  for (const info of infos) {
    const members = packs.get(info.packBlobId);
    const member = { info, rank: rank++ };
    if (members === undefined) {
      packs.set(info.packBlobId, [member]);
    } else {
      members.push(member);
    }
  }
  const ranges: { rank: number; range: PackRange }[] = [];
  for (const [packBlobId, members] of packs) {
    members.sort((a, b) => a.info.packOffset - b.info.packOffset);
    for (let first = 0; first < members.length; ) {
      const taken = takeRange(packBlobId, members, first);
      ranges.push(taken);
      first += taken.range.infos.length;
    }
  }
  return ranges.sort((a, b) => a.rank - b.rank).map(({ range }) => range);
}

function heldBytes(length: number): number {
  return length <= SHORT_READ_BYTES ? SHORT_READ_BYTES : Math.max(length, JOINED_READ_BYTES);
}

function takeRange(
  packBlobId: BlobId,
  members: readonly { info: ContentInfo; rank: number }[],
  first: number,
): { rank: number; range: PackRange } {
  const infos: ContentInfo[] = [];
  let rank = Number.POSITIVE_INFINITY;
  let offset = 0;
  let end = 0;
  for (const member of members.slice(first)) {
    const { packOffset, packedLength } = member.info;
    const newEnd = Math.max(end, packOffset + packedLength);
    if (infos.length === 0) {
      offset = packOffset;
    } else if (packOffset - end > JOIN_GAP_BYTES || newEnd - offset > JOINED_READ_BYTES) {
      break;
    }
    infos.push(member.info);
    rank = Math.min(rank, member.rank);
    end = newEnd;
  }
  return { rank, range: { packBlobId, offset, length: end - offset, infos } };
}

/** Shares one budget of bytes among all the reads of a restore or a verification. */
export class BulkReader {
  readonly #source: ContentReadSource;
  readonly #parallel: number;
  readonly #held: Semaphore;
  readonly #turns: Turns;
  /** Memory of earlier reads, by length: fresh pages for each would cost the system more than the read. */
  readonly #spare: Record<number, Uint8Array[]> = {
    [SHORT_READ_BYTES]: [],
    [JOINED_READ_BYTES]: [],
  };
  #bytesRead = 0;

  constructor(source: ContentReadSource, options: { parallel?: number | undefined } = {}) {
    this.#source = source;
    this.#parallel = options.parallel ?? source.memory.parallelReads;
    const pays = (source.blobs.parallelReads?.() ?? Number.POSITIVE_INFINITY) * JOINED_READ_BYTES;
    this.#held = new Semaphore(Math.min(source.memory.readAheadBytes, pays));
    this.#turns = new Turns(source.environment);
  }

  /** Packed bytes fetched so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /**
   * Calls `use` once for every info, in any order, several at a time; a content that cannot be had is an outcome, not a
   * throw. Rejects with what `use` throws and with the signal's reason.
   */
  async read(
    infos: Iterable<ContentInfo>,
    use: (info: ContentInfo, outcome: ContentOutcome) => Promise<void> | void,
    { signal }: CallOptions = {},
  ): Promise<void> {
    await forEachLimit(planRanges(infos), { limit: this.#parallel, signal }, async (range) => {
      const held = heldBytes(range.length);
      await this.#held.acquire(held, { signal });
      const into = this.#memory(held);
      try {
        const packed = await this.#fetch(range, { into, signal });
        const opened = await this.#openElsewhere(range, packed);
        for (const [index, info] of range.infos.entries()) {
          await this.#turns.due();
          const bytes = opened?.[index];
          const outcome =
            bytes === undefined
              ? this.#open(info, range, opened ? undefined : packed, { signal })
              : { bytes };
          await use(info, await outcome);
        }
      } finally {
        this.#spare[held]?.push(into);
        this.#held.release(held);
      }
    });
  }

  /** From what lies spare, of each length no more than is held at once: V8 would not know that shared memory is garbage. */
  #memory(length: number): Uint8Array {
    const spare = this.#spare[length]?.pop();
    if (spare !== undefined) {
      return spare;
    }
    const isShared = length === JOINED_READ_BYTES && this.#source.executor?.openRange !== undefined;
    return new Uint8Array(isShared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));
  }

  /** Nothing when the range is better opened here. */
  async #openElsewhere(
    range: PackRange,
    packed: Uint8Array | undefined,
  ): Promise<readonly (Uint8Array | undefined)[] | undefined> {
    // Hosts without threads may know no shared memory either.
    if (packed === undefined || packed.buffer instanceof ArrayBuffer) {
      return undefined;
    }
    // A thread that died has opened nothing: its contents are asked for alone.
    return await this.#source.executor?.openRange?.(range, packed).catch(() => []);
  }

  /** Nothing when the range cannot be had as a whole. */
  async #fetch(
    range: PackRange,
    { into, signal }: CallOptions & { into: Uint8Array },
  ): Promise<Uint8Array | undefined> {
    const { packBlobId, offset, length } = range;
    try {
      const bytes = await this.#source.blobs.get(packBlobId, {
        range: { offset, length },
        into,
        signal,
      });
      this.#bytesRead += bytes.length;
      return bytes;
    } catch {
      signal?.throwIfAborted();
      return undefined;
    }
  }

  async #open(
    info: ContentInfo,
    range: PackRange,
    packed: Uint8Array | undefined,
    { signal }: CallOptions,
  ): Promise<ContentOutcome> {
    if (packed !== undefined) {
      const start = info.packOffset - range.offset;
      try {
        return {
          bytes: this.#source.contents.decode(
            info,
            packed.subarray(start, start + info.packedLength),
            { inPlace: true },
          ),
        };
      } catch {
        // Asked for alone below: the content may have moved to another pack meanwhile.
      }
    }
    try {
      return { bytes: await this.#source.contents.read(info.id, { signal }) };
    } catch (error) {
      signal?.throwIfAborted();
      return {
        error:
          error instanceof VarveError
            ? error
            : new VarveError("storage-failed", errorMessage(error), { cause: error }),
      };
    }
  }
}
