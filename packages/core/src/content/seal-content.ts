import type { Codec } from "../compression/codec.ts";
import { compressContent } from "../compression/content-compression.ts";
import { ivOfHash, type Sealer } from "../format/sealer.ts";
import { type ContentId, contentHash } from "../index/content-id.ts";
import { BatchBuilder, type SealedBatch } from "./sealed-batch.ts";

/** A content that is neither compressed nor sealed yet. */
export interface PlainContent {
  /** The prefix and hash of `data`. */
  readonly id: ContentId;
  readonly data: Uint8Array;
  /** Left out in a repository of index version 1, whose entries cannot say that a content is compressed. */
  readonly codec?: Codec | undefined;
}

/**
 * Makes contents ready for a pack (spec §3.3, §3.4): compressed when that is shorter, encrypted, error-corrected.
 * Pure but for the cipher's random nonce, so that any thread may do it. `data` is not kept; the bytes of the result
 * lie in `target`, which has room for all of them uncompressed.
 */
export function sealContents(
  contents: readonly PlainContent[],
  options: { sealer: Sealer; target: Uint8Array },
): SealedBatch {
  const { sealer, target } = options;
  const batch = new BatchBuilder({ target, maxContents: contents.length });
  for (const { id, data, codec } of contents) {
    const compressed = codec === undefined ? undefined : compressContent(data, codec);
    const stored = compressed ?? data;
    const sealedLength = sealer.sealedLength(stored.length);
    sealer.sealInto(batch.room(sealedLength), stored, ivOfHash(contentHash(id)));
    const compressionHeaderId =
      codec === undefined || compressed === undefined ? 0 : codec.headerId;
    batch.add({ id, originalLength: data.length, compressionHeaderId }, sealedLength);
  }
  return batch.finish();
}

/** The bytes that {@link sealContents} needs at most. */
export function roomFor(contents: readonly PlainContent[], sealer: Sealer): number {
  return contents.reduce((sum, { data }) => sum + sealer.sealedLength(data.length), 0);
}
