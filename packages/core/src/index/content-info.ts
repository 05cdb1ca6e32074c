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
}
