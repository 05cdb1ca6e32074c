import type { CallOptions, Environment } from "../base/environment.ts";
import type { DamagedBlob } from "../blob/damaged-blob.ts";
import type { BlobCache } from "../blob/blob-cache.ts";
import type { BlobId, BlobInfo, BlobStore } from "../blob/store.ts";
import type { RepositoryFormat } from "../format/format.ts";
import type { Sealer } from "../format/sealer.ts";
import { createEpochIndexBlobs } from "./epoch-index-blobs.ts";
import { createLegacyIndexBlobs } from "./legacy-index-blobs.ts";

/**
 * Which index blobs a reader must merge and under which name a writer adds one (spec §4.5, §4.7). Nothing here looks
 * into an index file, and nothing is remembered between calls: storage is asked each time.
 */
export interface IndexBlobs {
  /** Throws a retryable `storage-failed` when listing takes too long to be trusted, time after time. */
  live(options?: CallOptions): Promise<LiveIndexBlobs>;
  /** The decrypted index file. Throws `blob-not-found` when it was cleaned up meanwhile, `corrupt`. */
  read(id: BlobId, options?: CallOptions): Promise<Uint8Array>;
  /**
   * Writes the index files of one flush, one after the other; each is visible when it is put. Gives what was put, in the
   * order of `files`. `listing` spares a request while it is younger than the refresh frequency. Throws `storage-failed` when it took so long that maintenance may have passed it by: then
   * nothing is committed, and what the files refer to may be gone.
   */
  write(
    files: readonly Uint8Array[],
    options: CallOptions & { sessionId: string; listing?: EpochListing | undefined },
  ): Promise<readonly BlobInfo[]>;
}

/** What a listing said about epochs: for a while a write may go by it instead of asking once more. */
export interface EpochListing {
  readonly writeEpoch: number;
  /** By the markers alone. */
  readonly markedEpoch: number;
  /** When the listing began. */
  readonly listedMs: number;
}

export interface LiveIndexBlobs {
  /** The blobs a reader must merge now, in no particular order. */
  readonly blobs: readonly BlobInfo[];
  /** Index blobs that are still there though others have replaced them: what is left of those that are damaged. */
  readonly spare: readonly BlobInfo[];
  /** Unix seconds; 0 without a watermark. */
  readonly watermarkSeconds: number;
  /** The epoch that is written to, 0 without epochs. */
  readonly writeEpoch: number;
  /** To be given back to `write`; nothing without epochs. */
  readonly listing?: EpochListing | undefined;
  /** Logs of compactions that cannot be read; what they replaced is merged, too. */
  readonly damaged: readonly DamagedBlob[];
}

export interface IndexBlobsOptions {
  readonly store: BlobStore;
  readonly sealer: Sealer;
  readonly format: Pick<RepositoryFormat, "epochs">;
  readonly environment: Environment;
  /** For index blobs, read and written. */
  readonly cache?: BlobCache | undefined;
}

/** The index blobs of a repository, by epochs or the way before them, as its format says. */
export function createIndexBlobs(options: IndexBlobsOptions): IndexBlobs {
  return options.format.epochs.enabled
    ? createEpochIndexBlobs(options)
    : createLegacyIndexBlobs(options);
}
