import { totalLength } from "../base/bytes.ts";
import { assert } from "../base/errors.ts";
import type { CallOptions } from "../base/environment.ts";
import type { BlobDraft, BlobId, BlobInfo, BlobStore, DraftPiece } from "../blob/store.ts";
import type { Sealer } from "../format/sealer.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { type EntryOptions, PackLayout, type PackOptions } from "./pack-layout.ts";
import type { BatchLayout } from "./sealed-batch.ts";

/** Where a batch belongs: whoever has its sealed bytes writes them, and says so once. */
export interface BatchPlace {
  /** Of an open file; good until `written` or `lost` is called. */
  readonly descriptor: number;
  /** Of the first byte. */
  readonly position: number;
  /** There was room for more when it was given; else `ContentStore.room` is to be waited for. */
  readonly hasRoom: boolean;
  /** All of it is written. */
  written(): void;
  /** It will not be: the session is lost. */
  lost(cause: unknown): void;
}

interface Hole {
  readonly start: number;
  readonly end: number;
  /** Rejects when it is lost. */
  readonly filled: Promise<void>;
}

/**
 * An open pack that is written in storage itself, by the threads that seal its contents: no sealed byte waits in memory, and none
 * crosses threads. Its layout is decided here, before the bytes are there.
 */
export class DraftedPack {
  readonly #layout: PackLayout;
  readonly #draft: Promise<BlobDraft>;
  /** Places that are not written yet, or never will be. */
  readonly #holes = new Set<Hole>();
  /** From then on the file can no longer be read as a draft. */
  #publishing: Promise<BlobInfo> | undefined;

  constructor(options: PackOptions, draft: NonNullable<BlobStore["draft"]>) {
    this.#layout = new PackLayout(options);
    this.#draft = draft(this.id);
    this.#draft.catch(() => {}); // whoever waits for a place sees it
  }

  get id(): BlobId {
    return this.#layout.id;
  }

  /** Bytes so far, written or not. */
  get length(): number {
    return this.#layout.length;
  }

  /** The entries become true once the pack is stored. `lost` is called when the batch is not written, or has no place. */
  add(
    batch: BatchLayout,
    options: EntryOptions & { readonly lost: (cause: unknown) => void },
  ): {
    readonly entries: readonly ContentInfo[];
    readonly place: Promise<Omit<BatchPlace, "hasRoom">>;
  } {
    const position = this.length;
    const entries = this.#layout.add(batch, options);
    const { promise: filled, resolve, reject } = withResolvers();
    filled.catch(options.lost);
    const hole: Hole = { start: position, end: this.length, filled };
    this.#holes.add(hole);
    const written = (): void => {
      this.#holes.delete(hole);
      resolve();
    };
    const lost = reject; // a hole for ever
    const place = this.#draft.then(
      ({ descriptor }) => ({ descriptor, position, written, lost }),
      (error: unknown) => {
        lost(error);
        throw error;
      },
    );
    return { entries, place };
  }

  /** The bytes of a content that was added, as soon as they are written; nothing when they are read from storage. */
  async sealedAt({ packOffset, packedLength }: ContentInfo): Promise<Uint8Array | undefined> {
    for (const { start, end, filled } of this.#holes) {
      if (start <= packOffset && packOffset < end) {
        await filled;
      }
    }
    const draft = await this.#draft;
    if (this.#publishing !== undefined) {
      await this.#publishing;
      return undefined;
    }
    return await draft.read({ offset: packOffset, length: packedLength });
  }

  /** Resolves when nothing is missing any longer; rejects when something will be missing for ever. */
  async whole(): Promise<void> {
    await Promise.all([...this.#holes].map(({ filled }) => filled));
  }

  /** Stores the pack, which must be whole; gives its length, and its entries as an index file. */
  async publish(
    sealer: Sealer,
    options: CallOptions,
  ): Promise<{ readonly size: number; readonly index: Uint8Array }> {
    assert(this.#holes.size === 0, "a pack is stored whole");
    const end = this.length;
    const { head, tail, index } = this.#layout.finish(sealer);
    const pieces: DraftPiece[] = [...inRow(head, 0), ...inRow(tail, end)];
    const draft = await this.#draft;
    this.#publishing = draft.publish(pieces, options);
    await this.#publishing;
    return { size: end + totalLength(tail), index };
  }

  /** Nothing of it is left. Waits for those who were given a place: what they know is a number that the next open file may get. */
  async discard(): Promise<void> {
    await Promise.allSettled([...this.#holes].map(({ filled }) => filled));
    const draft = await this.#draft.catch(() => undefined);
    await draft?.discard();
  }
}

function* inRow(parts: readonly Uint8Array[], start: number): Generator<DraftPiece> {
  let offset = start;
  for (const bytes of parts) {
    yield { offset, bytes };
    offset += bytes.length;
  }
}

function withResolvers(): {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
} {
  let resolve: () => void = () => {};
  let reject: (cause: unknown) => void = () => {};
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
