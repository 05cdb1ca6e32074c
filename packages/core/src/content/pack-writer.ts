import { totalLength } from "../base/bytes.ts";
import { Semaphore } from "../base/concurrency.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import { assert, VarveError } from "../base/errors.ts";
import type { BlobCache } from "../blob/blob-cache.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import type { Crypto } from "../crypto/registry.ts";
import type { RepositoryFormat } from "../format/format.ts";
import type { Sealer } from "../format/sealer.ts";
import { type ContentIndex, createContentIndex } from "../index/content-index.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { DraftedPack } from "./drafted-pack.ts";
import { PackBuilder } from "./pack-builder.ts";
import { type EntryOptions, type PackKind, packKindOf } from "./pack-layout.ts";
import type { BatchLayout, SealedBatch } from "./sealed-batch.ts";
import { newSessionId, putSessionMarker, type SessionOwner } from "./session.ts";

/**
 * One session: the packs between two commits, under one session id (spec §1.1, §8.1). Its index names a content only
 * once the content's pack is stored.
 */
export interface WriteSession {
  readonly id: string;
  readonly open: Map<PackKind, PackBuilder>;
  /** The open one of data that threads write themselves. */
  drafted: DraftedPack | undefined;
  readonly uploads: Set<Promise<void>>;
  /** Entries whose packs are stored, and tombstones: what the commit will write. */
  readonly index: ContentIndex;
  /** Put before the first pack. */
  marker: Promise<BlobId> | undefined;
}

export interface PackWriterOptions {
  readonly store: BlobStore;
  readonly sealer: Sealer;
  readonly format: RepositoryFormat;
  readonly crypto: Crypto;
  readonly environment: Environment;
  readonly owner: SessionOwner;
  /** Keeps packs of metadata, which the next backup reads. */
  readonly cache?: BlobCache | undefined;
  /** Packs on their way to storage at the same time, as things are. */
  readonly parallelUploads: () => number;
  /** Called once, with the first thing that went wrong. */
  readonly onFailure: (error: unknown) => void;
}

// Offsets in a pack have 30 bits (spec §4.4); no format asks for packs anywhere near.
const MAX_PACK_SIZE = 2 ** 29;

/**
 * Fills packs and stores them, several at a time. The first failure ends everything: who was told that a content is
 * stored or on its way must never find an index that lacks it.
 */
export class PackWriter {
  uploadedBlobs = 0;
  uploadedBytes = 0;
  readonly #options: PackWriterOptions;
  readonly #maxPackSize: number;
  readonly #slots: Semaphore;
  readonly #stop = new AbortController();
  /** Open, or on their way. */
  readonly #unstored = new Map<BlobId, PackBuilder | DraftedPack>();
  #session: WriteSession | undefined;
  #closedPacks = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: PackWriterOptions) {
    this.#options = options;
    this.#slots = new Semaphore(options.parallelUploads);
    this.#maxPackSize = Math.min(options.format.maxPackSize, MAX_PACK_SIZE);
  }

  /** Puts a batch into an open pack, whatever its length, and keeps it; gives the entries of its contents. */
  add(batch: SealedBatch, options: EntryOptions): readonly ContentInfo[] {
    if (batch.ids.length === 0) {
      return [];
    }
    const session = this.#currentSession();
    const kind = kindOf(batch);
    let pack = session.open.get(kind);
    if (pack === undefined) {
      pack = new PackBuilder({ kind, sessionId: session.id, ...this.#options });
      session.open.set(kind, pack);
      this.#unstored.set(pack.id, pack);
    }
    return pack.add(batch, options);
  }

  /** Where threads may write data to storage themselves: for {@link place}. */
  get draft(): BlobStore["draft"] {
    const { store } = this.#options;
    return store.draft?.bind(store);
  }

  /**
   * Puts a batch of data into an open pack, whatever its length, before its bytes are there: the place is where they are to be written. A place
   * that is lost ends the writer.
   */
  place(
    batch: BatchLayout,
    options: EntryOptions & { readonly draft: NonNullable<BlobStore["draft"]> },
  ): {
    readonly entries: readonly ContentInfo[];
    readonly place: ReturnType<DraftedPack["add"]>["place"];
  } {
    assert(kindOf(batch) === "p", "only data is written by threads");
    const session = this.#currentSession();
    if (session.drafted === undefined) {
      const pack = new DraftedPack(
        { kind: "p", sessionId: session.id, ...this.#options },
        options.draft,
      );
      session.drafted = pack;
      this.#unstored.set(pack.id, pack);
    }
    return session.drafted.add(batch, { ...options, lost: (cause) => this.fail(cause) });
  }

  /** For a content that is in storage already. */
  addEntry(entry: ContentInfo): void {
    this.#currentSession().index.addEntry(entry);
  }

  /** The sealed bytes of a content whose pack is not in storage yet. What is not promised is to be used at once, or copied. */
  inFlight(info: ContentInfo): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    return this.#unstored.get(info.packBlobId)?.sealedAt(info);
  }

  /** Packs that entries may name already though they are not in storage. */
  unstoredPacks(): Iterable<BlobId> {
    return this.#unstored.keys();
  }

  /** Closes the packs that are full and starts to store them. */
  startFullPacks(): void {
    const session = this.#session;
    if (session === undefined) {
      return;
    }
    for (const [kind, pack] of session.open) {
      if (pack.length >= this.#maxPackSize) {
        session.open.delete(kind);
        this.#start(session, pack);
      }
    }
    if (session.drafted !== undefined && session.drafted.length >= this.#maxPackSize) {
      this.#start(session, session.drafted);
      session.drafted = undefined;
    }
  }

  get hasRoom(): boolean {
    return this.#closedPacks < this.#options.parallelUploads();
  }

  /** Waits while as many packs are closed as may be on their way: the only thing that slows a producer down. */
  async room({ signal }: CallOptions = {}): Promise<void> {
    if (!this.hasRoom) {
      // First come, first served: this slot is free only after every closed pack has had one.
      await this.#slots.acquire(1, { signal });
      this.#slots.release(1);
    }
    this.throwIfFailed();
  }

  /** Ends the session: starts to store its open packs; what is added from now on belongs to the next one. */
  endSession(): WriteSession | undefined {
    const session = this.#session;
    if (session !== undefined) {
      this.#session = undefined;
      for (const pack of openPacks(session)) {
        this.#start(session, pack);
      }
      session.open.clear();
      session.drafted = undefined;
    }
    return session;
  }

  /** Memory of the entries of the session that goes on. */
  get pendingBytes(): number {
    return this.#session?.index.memoryBytes ?? 0;
  }

  /** The first failure ends the writer. */
  fail(error: unknown): void {
    if (this.#failure === undefined) {
      this.#failure = { error };
      this.#options.onFailure(error);
    }
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) {
      throw this.#failure.error;
    }
  }

  /** Gives up what is not stored; resolves when no upload is in flight any longer. */
  async close(session: readonly WriteSession[]): Promise<void> {
    this.fail(new VarveError("invalid-argument", "the repository is closed"));
    this.#stop.abort(new VarveError("invalid-argument", "the repository was closed meanwhile"));
    const sessions = this.#session === undefined ? session : [...session, this.#session];
    await Promise.all(sessions.flatMap(({ uploads }) => [...uploads]));
    for (const pack of this.#unstored.values()) {
      await (pack instanceof DraftedPack ? pack.discard() : undefined);
    }
    this.#unstored.clear();
  }

  #currentSession(): WriteSession {
    this.#session ??= {
      id: newSessionId(this.#options.environment),
      open: new Map(),
      drafted: undefined,
      uploads: new Set(),
      index: createContentIndex(),
      marker: undefined,
    };
    return this.#session;
  }

  #start(session: WriteSession, pack: PackBuilder | DraftedPack): void {
    this.#closedPacks++;
    const upload: Promise<void> = this.#upload(session, pack)
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.#closedPacks--;
        session.uploads.delete(upload);
      });
    session.uploads.add(upload);
  }

  async #upload(session: WriteSession, pack: PackBuilder | DraftedPack): Promise<void> {
    await this.#slots.acquire(1);
    try {
      await (pack instanceof DraftedPack ? pack.whole() : undefined);
      this.throwIfFailed();
      session.marker ??= this.#putMarker(session);
      await session.marker;
      const { size, index } = await this.#store(pack);
      this.count(size);
      session.index.addFile(index);
      this.#unstored.delete(pack.id);
    } finally {
      this.#slots.release(1);
    }
  }

  /** Gives its length and its index file. */
  async #store(pack: PackBuilder | DraftedPack): Promise<{ size: number; index: Uint8Array }> {
    const { store, sealer, cache } = this.#options;
    const { signal } = this.#stop;
    if (pack instanceof DraftedPack) {
      return await pack.publish(sealer, { signal });
    }
    const { id, parts, index } = pack.finish(sealer);
    await store.put(id, parts, { signal });
    if (id.startsWith("q")) {
      await cache?.put(id, parts);
    }
    pack.release();
    return { size: totalLength(parts), index };
  }

  async #putMarker(session: WriteSession): Promise<BlobId> {
    const { store, sealer, environment, owner } = this.#options;
    const signal = this.#stop.signal;
    const options = { sessionId: session.id, owner, sealer, environment, signal };
    const { id, size } = await putSessionMarker(store, options);
    this.count(size);
    return id;
  }

  /** One more blob is in storage. */
  count(bytes: number): void {
    this.uploadedBlobs++;
    this.uploadedBytes += bytes;
  }
}

function* openPacks({ open, drafted }: WriteSession): Generator<PackBuilder | DraftedPack> {
  yield* open.values();
  if (drafted !== undefined) {
    yield drafted;
  }
}

function kindOf({ ids }: BatchLayout): PackKind {
  const [first] = ids;
  assert(first !== undefined, "a batch has contents");
  const kind = packKindOf(first);
  assert(
    ids.every((id) => packKindOf(id) === kind),
    "the contents of a batch go to one pack",
  );
  return kind;
}
