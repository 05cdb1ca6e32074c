import { PACK_UPLOADS } from "../base/budget.ts";
import { Semaphore } from "../base/concurrency.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import type { ScratchFile } from "../index/slabs.ts";
import { type MemoryPlan, unboundedMemory } from "../base/memory-plan.ts";
import { VarveError } from "../base/errors.ts";
import type { DamagedBlob } from "../blob/damaged-blob.ts";
import type { SwitchedCache } from "../blob/blob-cache.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import type { Codec, Codecs } from "../compression/codec.ts";
import type { EpochListing, IndexBlobs } from "../epoch/index-blobs.ts";
import { loadContentIndex } from "../epoch/load-index.ts";
import type { OpenOptions } from "../crypto/crypto.ts";
import type { Crypto } from "../crypto/registry.ts";
import type { RepositoryFormat } from "../format/format.ts";
import type { Sealer } from "../format/sealer.ts";
import {
  type ContentId,
  type ContentPrefix,
  contentIdOf,
  contentPrefix,
} from "../index/content-id.ts";
import {
  type ContentIndex,
  createContentIndex,
  type LostContents,
} from "../index/content-index.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { shardIndex } from "../index/index-writer.ts";
import { ContentReader, isMissingPack } from "./content-reader.ts";
import type {
  ContentStats,
  ContentStore,
  IndexView,
  RewriteFailure,
  RewriteOptions,
} from "./content-store.ts";
import { Intake } from "./intake.ts";
import { PackWriter, type WriteSession } from "./pack-writer.ts";
import { Relocator } from "./relocator.ts";
import { type PlainContent, roomFor, sealContents } from "./seal-content.ts";
import type { SealedBatch } from "./sealed-batch.ts";
import { removeSessionMarker, type SessionOwner } from "./session.ts";

/**
 * The content store over packs and index blobs (spec §3, §4.1). What makes it safe is an order: a session marker, then
 * packs, then the index that names them, then the marker's removal; and one rule: after the first pack that could not
 * be stored nothing is committed any more, since others may count on what was in it.
 */

export interface OpenContentStoreOptions extends CallOptions {
  readonly store: BlobStore;
  readonly format: RepositoryFormat;
  readonly crypto: Crypto;
  readonly sealer: Sealer;
  readonly codecs: Codecs;
  readonly indexBlobs: IndexBlobs;
  readonly environment: Environment;
  readonly owner: SessionOwner;
  readonly readOnly: boolean;
  /** Default: without a ceiling. */
  readonly memory?: MemoryPlan | undefined;
  /** For what the index needs beyond its share of `memory`; closed with the content store. Default: all of it in memory. */
  readonly scratch?: ScratchFile | undefined;
  /** For metadata; `indexBlobs` has the same. */
  readonly cache?: SwitchedCache | undefined;
  /** Called before an index is written; what it throws ends the flush, which may be tried again. */
  readonly beforeCommit?: ((options: CallOptions) => Promise<void>) | undefined;
}

/** A content store that its repository can close. */
export interface OpenContentStore extends ContentStore {
  /** Discards what is not flushed; resolves when no upload is in flight any longer. Idempotent. */
  close(): Promise<void>;
}

/** Loads the index, as much of it as can be read. Throws what the store throws. */
export async function openContentStore(
  options: OpenContentStoreOptions,
): Promise<OpenContentStore> {
  const contents = new PackContentStore(options);
  await contents.refresh({ signal: options.signal });
  return contents;
}

// A missing pack may mean that maintenance has moved its contents: worth a look, but not for each of a thousand.
const MIN_REFRESH_INTERVAL_MS = 60_000;
// spec §8.3: what a client does not look at for longer may have been collected meanwhile.
const MAX_INDEX_AGE_MS = 15 * 60_000;

class PackContentStore implements OpenContentStore {
  readonly #options: OpenContentStoreOptions;
  /** All that is known: committed by anybody, stored, or in a pack that is still open. */
  readonly #index: ContentIndex;
  /** Index blobs that are merged into it: they never change. */
  readonly #knownIndexBlobs = new Set<BlobId>();
  #damagedIndexBlobs: readonly DamagedBlob[] = [];
  readonly #reader: ContentReader;
  readonly #writer: PackWriter;
  readonly #intake: Intake;
  readonly #relocator: Relocator;
  /** Sessions whose packs are closed and whose index is not written yet, oldest first. */
  readonly #ended: WriteSession[] = [];
  /** Of markers of sessions that are committed: at most one for each commit that is not older than a request. */
  readonly #removals = new Set<Promise<void>>();
  /** Held by `flush` and `refresh`. */
  readonly #commit = new Semaphore(1);
  #refreshedMs = Number.NEGATIVE_INFINITY;
  #listing: EpochListing | undefined;

  constructor(options: OpenContentStoreOptions) {
    const memory = options.memory ?? unboundedMemory();
    const { scratch } = options;
    this.#index = createContentIndex(
      scratch === undefined ? undefined : { maxBytes: memory.indexBytes, scratch },
    );
    this.#options = options;
    this.#reader = new ContentReader({ ...options, cacheBytes: memory.contentCacheBytes });
    this.#writer = new PackWriter({
      ...options,
      parallelUploads: () =>
        Math.min(memory.packUploads, options.store.parallelPuts?.() ?? PACK_UPLOADS),
      onFailure: (error) => this.#intake.fail(error),
    });
    const nowSeconds = (): number => Math.floor(options.environment.nowMs() / 1000);
    const { readOnly } = options;
    this.#intake = new Intake(
      { index: this.#index, writer: this.#writer },
      { readOnly, nowSeconds },
    );
    this.#relocator = new Relocator({
      store: options.store,
      index: this.#index,
      writer: this.#writer,
      reader: this.#reader,
      timestampFor: (id) => this.#intake.timestampFor(id),
    });
  }

  claim(ids: readonly ContentId[]): boolean[] {
    return this.#intake.claim(ids);
  }

  async append(batch: SealedBatch, options?: CallOptions): Promise<void> {
    await this.#intake.append(batch, options);
  }

  get place(): ContentStore["place"] {
    return this.#intake.place;
  }

  async room(options?: CallOptions): Promise<void> {
    await this.#writer.room(options);
  }

  abandon(ids: readonly ContentId[], cause: unknown): void {
    this.#intake.abandon(ids, cause);
  }

  async write(
    data: Uint8Array,
    options: CallOptions & { prefix: ContentPrefix; codec?: Codec | undefined },
  ): Promise<ContentId> {
    options.signal?.throwIfAborted();
    if (!/^[g-z]?$/.test(options.prefix)) {
      throw new VarveError("invalid-argument", `not a content prefix: ${options.prefix}`);
    }
    const { sealer, format } = this.#options;
    const id = contentIdOf(options.prefix, sealer.hash(data));
    if (this.claim([id])[0] === true) {
      // spec §3.4: an index of version 1 cannot say that a content is compressed.
      const codec = format.indexVersion === 1 ? undefined : options.codec;
      await this.append(this.#seal({ id, data, codec }), { signal: options.signal });
    }
    return id;
  }

  async read(id: ContentId, options: CallOptions = {}): Promise<Uint8Array> {
    const info = this.#index.get(id);
    if (info === undefined) {
      throw new VarveError("content-not-found", `content ${id} is in no index`);
    }
    const waiting = this.#writer.inFlight(info);
    const inFlight = waiting instanceof Promise ? await waiting : waiting;
    if (inFlight !== undefined) {
      return this.#reader.decode(info, inFlight);
    }
    try {
      return await this.#reader.read(info, options);
    } catch (error) {
      const moved = isMissingPack(error) ? await this.#movedTo(info, options) : undefined;
      if (moved === undefined) {
        throw error;
      }
      return await this.#reader.read(moved, options);
    }
  }

  info(id: ContentId): ContentInfo | undefined {
    return this.#index.get(id);
  }

  get index(): IndexView {
    return this.#index;
  }

  isStored(id: ContentId): boolean {
    return this.#index.isLive(id);
  }

  areStored(keys: Uint8Array): boolean {
    return this.#index.areLive(keys);
  }

  async auditPacks({ signal }: CallOptions = {}): Promise<LostContents> {
    // Taken at one moment before the listing: whatever an index names by then was stored, or is still in our hands.
    const needs = this.#index.packNeeds();
    for (const id of this.#writer.unstoredPacks()) {
      needs.found(id, Number.POSITIVE_INFINITY);
    }
    await Promise.all(
      ["p", "q"].map(async (prefix) => {
        for await (const { id, size } of this.#options.store.list(prefix, { signal })) {
          needs.found(id, size);
        }
      }),
    );
    const unmet = needs.unmet();
    if (unmet.size > 0) {
      await this.refresh({ signal });
    }
    this.#index.setPackSizes(unmet);
    return this.#index.lost();
  }

  get damagedIndexBlobs(): readonly DamagedBlob[] {
    return this.#damagedIndexBlobs;
  }

  lost(): LostContents {
    return this.#index.lost();
  }

  entries(options: { prefix?: ContentPrefix; deleted?: boolean } = {}): Iterable<ContentInfo> {
    return this.#index.entries(options);
  }

  decode(info: ContentInfo, packed: Uint8Array, options?: OpenOptions): Uint8Array {
    return this.#reader.decode(info, packed, options);
  }

  remove(ids: readonly ContentId[]): void {
    this.#intake.requireWritable();
    for (const id of ids) {
      const info = this.#index.get(id);
      if (info !== undefined && !info.deleted) {
        this.#relocator.addEntry({ ...info, deleted: true });
      }
    }
  }

  unremove(ids: readonly ContentId[]): void {
    this.#intake.requireWritable();
    for (const id of ids) {
      const info = this.#index.get(id);
      if (info?.deleted === true) {
        this.#relocator.addEntry({ ...info, deleted: false });
      }
    }
  }

  adopt(
    found: readonly ContentInfo[],
    options: { readonly dryRun?: boolean } = {},
  ): readonly ContentInfo[] {
    if (options.dryRun !== true) {
      this.#intake.requireWritable();
    }
    return this.#relocator.adopt(found, options);
  }

  async rewrite(
    infos: readonly ContentInfo[],
    options: RewriteOptions = {},
  ): Promise<readonly RewriteFailure[]> {
    this.#intake.requireWritable();
    return await this.#relocator.rewrite(infos, options);
  }

  async heal(
    id: ContentId,
    data: Uint8Array,
    options: CallOptions & { codec?: Codec | undefined } = {},
  ): Promise<void> {
    this.#intake.requireWritable();
    const { sealer, format } = this.#options;
    if (contentIdOf(contentPrefix(id), sealer.hash(data)) !== id) {
      throw new VarveError("corrupt", `these are not the bytes of content ${id}`);
    }
    const codec = format.indexVersion === 1 ? undefined : options.codec;
    await this.#relocator.place(this.#seal({ id, data, codec }), options);
  }

  async flush({ signal }: CallOptions = {}): Promise<void> {
    if (this.#options.readOnly) {
      return;
    }
    const { lastClaim } = this.#intake;
    await this.#exclusively({ signal }, async () => {
      this.#writer.throwIfFailed();
      if (this.#options.environment.nowMs() - this.#refreshedMs >= MAX_INDEX_AGE_MS) {
        await this.#load({ signal });
      }
      await this.#intake.settled(lastClaim, { signal });
      const session = this.#writer.endSession();
      if (session !== undefined) {
        this.#ended.push(session);
      }
      for (let next = this.#ended[0]; next !== undefined; next = this.#ended[0]) {
        await this.#commitSession(next, { signal });
        this.#ended.shift();
      }
    });
  }

  async refresh(options: CallOptions = {}): Promise<void> {
    await this.#exclusively(options, () => this.#load(options));
  }

  async bypassCache({ signal }: CallOptions = {}): Promise<boolean> {
    const { cache } = this.#options;
    if (cache?.isOn !== true) {
      return false;
    }
    await this.#exclusively({ signal }, async () => {
      cache.isOn = false;
      this.#reader.forget();
      this.#knownIndexBlobs.clear(); // what was merged stays; each blob is read again, and must be whole
      await this.#load({ signal });
    });
    return true;
  }

  get pendingBytes(): number {
    return this.#writer.pendingBytes;
  }

  get stats(): ContentStats {
    return {
      ...this.#intake.stats,
      uploadedBlobs: this.#writer.uploadedBlobs,
      uploadedBytes: this.#writer.uploadedBytes,
    };
  }

  async close(): Promise<void> {
    await this.#writer.close(this.#ended);
    await this.#exclusively({}, async () => {}); // what holds it ends by itself now
    await Promise.all(this.#removals);
    this.#options.scratch?.[Symbol.dispose]();
  }

  #seal(content: PlainContent): SealedBatch {
    const { sealer } = this.#options;
    try {
      const target = new Uint8Array(roomFor([content], sealer));
      return sealContents([content], { sealer, target });
    } catch (error) {
      this.abandon([content.id], error);
      throw error;
    }
  }

  async #commitSession(session: WriteSession, { signal }: CallOptions): Promise<void> {
    // While the last packs are on their way: a round trip less. What it looks for is announced well before it happens.
    const checked = this.#options.beforeCommit?.({ signal });
    checked?.catch(() => {}); // looked at below
    // After an abort the uploads in flight are still waited for, so that nothing is written once this has thrown.
    await Promise.all(session.uploads);
    await Promise.allSettled([checked]);
    this.#writer.throwIfFailed();
    signal?.throwIfAborted();
    if (session.index.count > 0) {
      await checked;
      await this.#writeIndex(session, { signal });
    }
    if (session.marker !== undefined) {
      this.#removeLater(await session.marker, { signal });
    }
  }

  /** The commit is done without it. */
  #removeLater(marker: BlobId, options: CallOptions): void {
    const removal: Promise<void> = removeSessionMarker(this.#options, marker, options).finally(() =>
      this.#removals.delete(removal),
    );
    this.#removals.add(removal);
  }

  async #writeIndex(session: WriteSession, { signal }: CallOptions): Promise<void> {
    const version = this.#options.format.indexVersion === 1 ? 1 : 2;
    const files = shardIndex(session.index, { version });
    try {
      const options = { sessionId: session.id, listing: this.#listing, signal };
      const put = await this.#options.indexBlobs.write(files, options);
      for (const { id, size } of put) {
        this.#knownIndexBlobs.add(id);
        this.#writer.count(size);
      }
    } catch (error) {
      // It may have failed for having taken too long: then the packs may be gone, and must not be named any more.
      if (signal?.aborted !== true) {
        this.#writer.fail(error);
      }
      throw error;
    }
  }

  async #movedTo(info: ContentInfo, options: CallOptions): Promise<ContentInfo | undefined> {
    if (this.#options.environment.nowMs() - this.#refreshedMs >= MIN_REFRESH_INTERVAL_MS) {
      await this.refresh(options);
    }
    const current = this.#index.get(info.id);
    return current?.packBlobId === info.packBlobId ? undefined : current;
  }

  async #load({ signal }: CallOptions): Promise<void> {
    const { indexBlobs, environment } = this.#options;
    const startedMs = environment.nowMs();
    const into = this.#index;
    const known = this.#knownIndexBlobs;
    const { limitBytes, readAheadBytes = 0 } = this.#options.memory ?? {};
    const held = limitBytes === undefined ? {} : { readAheadBytes: readAheadBytes / 2 };
    const options = { into, known, environment, ...held, signal };
    const { loaded, damaged, listing } = await loadContentIndex(indexBlobs, options);
    this.#listing = listing;
    for (const id of loaded) {
      known.add(id);
    }
    const told = new Set(this.#damagedIndexBlobs.map(({ id }) => id));
    for (const { id, error } of damaged.filter((blob) => !told.has(blob.id))) {
      const message = `index blob ${id} is left out, contents may be missing until the index is recovered: ${error.message}`;
      environment.log({ level: "warning", message });
    }
    this.#damagedIndexBlobs = damaged;
    this.#refreshedMs = startedMs;
  }

  async #exclusively(options: CallOptions, work: () => Promise<void>): Promise<void> {
    await this.#commit.acquire(1, options);
    try {
      await work();
    } finally {
      this.#commit.release(1);
    }
  }
}
