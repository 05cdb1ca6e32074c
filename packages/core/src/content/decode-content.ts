import { equalBytes } from "../base/bytes.ts";
import { errorMessage, isVarveError, VarveError } from "../base/errors.ts";
import type { Codecs } from "../compression/codec.ts";
import { decompressContent } from "../compression/content-compression.ts";
import type { OpenOptions } from "../crypto/crypto.ts";
import { ivOfHash, type Sealer } from "../format/sealer.ts";
import { contentHash } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";

/** What contents are opened with, on any thread. */
export interface DecodeTools {
  readonly sealer: Sealer;
  readonly codecs: Codecs;
}

/**
 * The plain bytes of a content, with every check there is (spec §3.3, §3.4). Throws `corrupt` or `format-unsupported`, naming the content and its
 * pack.
 */
export function decodeContent(
  info: ContentInfo,
  packed: Uint8Array,
  options: DecodeTools & OpenOptions,
): Uint8Array {
  try {
    return decode(info, packed, options);
  } catch (cause) {
    const code = isVarveError(cause, "format-unsupported") ? "format-unsupported" : "corrupt";
    const message = `content ${info.id} in pack ${info.packBlobId}: ${errorMessage(cause)}`;
    throw new VarveError(code, message, { cause });
  }
}

function decode(
  info: ContentInfo,
  packed: Uint8Array,
  { sealer, codecs, ...options }: DecodeTools & OpenOptions,
): Uint8Array {
  const hash = contentHash(info.id);
  if (hash.length !== sealer.hashSize) {
    throw new VarveError("corrupt", `its hash has ${hash.length} bytes`);
  }
  if ((info.encryptionKeyId ?? 0) !== 0) {
    throw new VarveError("format-unsupported", `encryption key ${info.encryptionKeyId}`);
  }
  if (packed.length !== info.packedLength) {
    throw new VarveError("corrupt", `got ${packed.length} bytes of ${info.packedLength}`);
  }
  const stored = sealer.open(packed, ivOfHash(hash), options);
  const headerId = info.compressionHeaderId;
  const maxSize = info.originalLength;
  const data = headerId === 0 ? stored : decompressContent(stored, { headerId, codecs, maxSize });
  if (data.length !== info.originalLength) {
    throw new VarveError("corrupt", `${data.length} bytes instead of ${info.originalLength}`);
  }
  if (!equalBytes(sealer.hash(data), hash)) {
    throw new VarveError("corrupt", "its bytes do not match its id");
  }
  return data;
}
