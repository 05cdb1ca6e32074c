import type { Codec } from "../compression/codec.ts";
import { compressContent } from "../compression/content-compression.ts";
import { ivOfHash, type Sealer } from "../format/sealer.ts";
import { type ContentId, contentHash } from "../index/content-id.ts";
import type { SealedContent } from "./content-store.ts";

/**
 * Makes one content ready for a pack (spec §3.3, §3.4): compressed when that is shorter, encrypted,
 * error-corrected. Pure but for the cipher's random nonce, so that any thread may do it. `id` is the prefix and
 * hash of `data`; `codec` must be left out in a repository of index version 1, whose entries cannot say that a
 * content is compressed. `data` is not kept.
 */
export function sealContent(options: {
  id: ContentId;
  data: Uint8Array;
  sealer: Sealer;
  codec?: Codec | undefined;
}): SealedContent {
  const { id, data, sealer, codec } = options;
  const compressed = codec === undefined ? undefined : compressContent(data, codec);
  return {
    id,
    sealed: sealer.seal(compressed ?? data, ivOfHash(contentHash(id))),
    originalLength: data.length,
    compressionHeaderId: codec === undefined || compressed === undefined ? 0 : codec.headerId,
  };
}
