import type { BlobId } from "../blob/store.ts";
import type { ContentId } from "./content-id.ts";

/** One index entry: where a content lies and what was done to it (spec §4.1). */
export interface ContentInfo {
  readonly id: ContentId;
  readonly packBlobId: BlobId;
  /** Bytes from the start of the pack; below 2^30. */
  readonly packOffset: number;
  /** Bytes in the pack: compressed, sealed, with error correction. */
  readonly packedLength: number;
  /** Bytes of the plain content. */
  readonly originalLength: number;
  /** Unix seconds. */
  readonly timestampSeconds: number;
  readonly deleted: boolean;
  /** The repository's format version when it was written. */
  readonly formatVersion: number;
  /** 0 when stored uncompressed. */
  readonly compressionHeaderId: number;
  /** Left out for 0, the only one that anything can read (spec §4.1); kept so that copying an entry loses nothing. */
  readonly encryptionKeyId?: number | undefined;
}

/**
 * The merge rule (spec §4.2): whether `a` replaces `b`, an entry of the same content. The later one wins, of equal
 * times the live one, of equals the one in the lexicographically larger pack.
 */
export function winsOver(a: ContentInfo, b: ContentInfo): boolean {
  if (a.timestampSeconds !== b.timestampSeconds) {
    return a.timestampSeconds > b.timestampSeconds;
  }
  if (a.deleted !== b.deleted) {
    return b.deleted;
  }
  return a.packBlobId > b.packBlobId;
}
