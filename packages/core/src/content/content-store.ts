import type { CallOptions } from "../base/environment.ts";
import type { DamagedBlob } from "../blob/damaged-blob.ts";
import type { Codec } from "../compression/codec.ts";
import type { OpenOptions } from "../crypto/crypto.ts";
import type { ContentId, ContentPrefix } from "../index/content-id.ts";
import type { ContentIndex, LostContents } from "../index/content-index.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { BatchPlace } from "./drafted-pack.ts";
import type { BatchLayout, SealedBatch } from "./sealed-batch.ts";

/** A content that is ready for a pack: compressed, encrypted and error-corrected as the repository asks. */
export interface SealedContent {
  readonly id: ContentId;
  readonly sealed: Uint8Array;
  readonly originalLength: number;
  /** 0 when stored uncompressed. */
  readonly compressionHeaderId: number;
}

/** A content that cannot be moved. */
export interface RewriteFailure {
  readonly id: ContentId;
  readonly error: unknown;
}

export interface RewriteOptions extends CallOptions {
  /** What storage gives is taken for the contents, unchecked: it only counts requests. Default false. */
  readonly isRehearsal?: boolean | undefined;
}

/** What a session did; grows monotonically until the store is closed. */
export interface ContentStats {
  /** Contents claimed that were stored already, and their plain bytes where known. */
  readonly dedupedContents: number;
  /** Contents newly appended, their plain and their packed bytes. */
  readonly newContents: number;
  readonly newOriginalBytes: number;
  readonly newPackedBytes: number;
  /** Blobs put and their bytes: packs, indexes, session markers. */
  readonly uploadedBlobs: number;
  readonly uploadedBytes: number;
}

export type IndexView = Pick<
  ContentIndex,
  "refOf" | "idAt" | "infoAt" | "packAt" | "packCount" | "packName" | "packUse"
>;

/** The deduplicating heart: unique sealed chunks, in packs, found through indexes. */
export interface ContentStore {
  /**
   * Asks, for each id, whether the caller must append it: true means new and now owned by the caller, who must
   * `append` it before `flush`; false means stored, or on its way in another's hands. Synchronous, so that two workers can never
   * both own a content. An id whose index entry is deleted counts as new (spec §8.3), as does one that
   * `auditPacks` has found to be lost.
   */
  claim(ids: readonly ContentId[]): boolean[];
  /**
   * Puts claimed contents into an open pack; keeps the bytes. Resolves when there is room (backpressure); an aborted call
   * has still kept them. Throws `read-only` and, once a pack could not be stored, that first failure for ever: the
   * session is lost, and no index will name any of it.
   */
  append(batch: SealedBatch, options?: CallOptions): Promise<void>;
  /**
   * What `append` does, for a batch whose bytes the caller will write to storage itself: resolves with the place, or throws what `append` throws.
   * The contents count as stored, as those of `append` do, so a place must be filled or given up, and then {@link room} waited for.
   * Nothing where storage takes only whole blobs, or does now: who has it may go on with it. Only for contents without a prefix.
   */
  readonly place: ((layout: BatchLayout) => Promise<BatchPlace>) | undefined;
  /** Resolves when there is room (backpressure). Throws what `append` throws. */
  room(options?: CallOptions): Promise<void>;
  /**
   * Gives claims back that will not be appended. Harmless when nobody else was told that they are on their way; else the
   * session is lost: later calls throw `cause`.
   */
  abandon(ids: readonly ContentId[], cause: unknown): void;
  /** claim + seal + append of one small content (directories, manifests). `data` is not kept. */
  write(
    data: Uint8Array,
    options: CallOptions & { prefix: ContentPrefix; codec?: Codec | undefined },
  ): Promise<ContentId>;
  /** The plain bytes, not to be changed; their hash equals the id. Sees unflushed contents. Throws `content-not-found`, `corrupt`. */
  read(id: ContentId, options?: CallOptions): Promise<Uint8Array>;
  /** The live or deleted entry that wins the merge, pending ones included. */
  info(id: ContentId): ContentInfo | undefined;
  /** Whether an object may refer to the content without writing it: its entry is live and not known to be lost. */
  isStored(id: ContentId): boolean;
  /** {@link isStored} for all of these, given as binary keys (spec §3.1), one after the other. */
  areStored(keys: Uint8Array): boolean;
  /**
   * Compares the index with a listing of the packs: contents in packs that are missing or too short are lost, and count as not
   * stored until they are written anew or the next audit finds them. Costs a listing of prefixes `p` and `q` (on an object
   * store one request a thousand packs), and, when anything is lost, a `refresh`: maintenance may have moved it.
   */
  auditPacks(options?: CallOptions): Promise<LostContents>;
  /**
   * Index blobs that could not be read when the index was last loaded. What they alone name is not known: writing is safe, it
   * stores again; concluding that a content is not needed or not there is not.
   */
  readonly damagedIndexBlobs: readonly DamagedBlob[];
  /** What the last audit found to be lost and nobody has stored anew. */
  lost(): LostContents;
  /** What is known of contents, by numbers that never change, for those who go through all of them. */
  readonly index: IndexView;
  /** Winning entries; `deleted` adds those marked deleted. */
  entries(options?: { prefix?: ContentPrefix; deleted?: boolean }): Iterable<ContentInfo>;
  /** Decodes bytes read from a pack for `info`: error correction, decryption, decompression, hash check. Throws `corrupt`. */
  decode(info: ContentInfo, packed: Uint8Array, options?: OpenOptions): Uint8Array;
  /** Adds a tombstone for each live id; visible to others with the next `flush`. */
  remove(ids: readonly ContentId[]): void;
  /** Adds a live entry for each id that is marked deleted; visible to others with the next `flush`. */
  unremove(ids: readonly ContentId[]): void;
  /**
   * Adds entries for contents that lie in stored packs though the index does not know them, or knows them only in packs that the last
   * audit found lost; gives those, which the next `flush` makes visible. What it knows to be deleted stays so. `dryRun` adds nothing.
   */
  adopt(
    found: readonly ContentInfo[],
    options?: { readonly dryRun?: boolean },
  ): readonly ContentInfo[];
  /**
   * Stores a content anew, wherever it lies now: it is lost or damaged there. Throws `corrupt` for bytes that do not hash to the id.
   * Visible to others with the next `flush`.
   */
  heal(
    id: ContentId,
    data: Uint8Array,
    options?: CallOptions & { codec?: Codec | undefined },
  ): Promise<void>;
  /**
   * Copies contents that lie close together in one pack into open packs as they are, deleted ones included, each checked against its
   * id; those that are damaged stay where they are. The old pack stays, too. Throws `blob-not-found`, `range-invalid`.
   */
  rewrite(
    infos: readonly ContentInfo[],
    options?: RewriteOptions,
  ): Promise<readonly RewriteFailure[]>;
  /**
   * The commit point: waits for every claim made before, stores packs, then the index, then removes the session marker
   * (spec §0). Claims made meanwhile belong to the next session. After a failed index write or an abort it may be called
   * again. Sees first what others have committed when that was last done a while ago, so a long session must flush
   * every few minutes: Kopia does every 10. Does nothing when read-only.
   */
  flush(options?: CallOptions): Promise<void>;
  /** Loads what other clients have committed since. */
  refresh(options?: CallOptions): Promise<void>;
  /**
   * From now on everything is read from storage, for good; without a cache nothing happens. Index blobs that came from the
   * cache are read once more, now, but what they have said stays known. For those who must say what storage has. True when
   * there was a cache until now. Throws as opening the repository does.
   */
  bypassCache(options?: CallOptions): Promise<boolean>;
  /** Memory that entries take until the next `flush`. */
  readonly pendingBytes: number;
  readonly stats: ContentStats;
}
