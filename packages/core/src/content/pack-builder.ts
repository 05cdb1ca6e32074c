import { toHex, totalLength } from "../base/bytes.ts";
import type { Environment } from "../base/environment.ts";
import { assert } from "../base/errors.ts";
import { type BlobId, parseBlobId } from "../blob/store.ts";
import type { Crypto } from "../crypto/registry.ts";
import type { RepositoryFormat } from "../format/format.ts";
import { recoveryCopyPrefix } from "../format/recovery-copy.ts";
import type { Sealer } from "../format/sealer.ts";
import { type ContentId, contentPrefix } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { encodeIndex } from "../index/index-writer.ts";
import type { SealedContent } from "./content-store.ts";
import { encodePackTail } from "./pack-tail.ts";

/** `p` packs hold contents without a prefix (file data), `q` packs the others (spec §3.5). */
export type PackKind = "p" | "q";

export function packKindOf(id: ContentId): PackKind {
  return contentPrefix(id) === "" ? "p" : "q";
}

/** A pack that is complete and ready to be stored. */
export interface FinishedPack {
  readonly id: BlobId;
  readonly parts: readonly Uint8Array[];
  readonly entries: readonly ContentInfo[];
}

const PREAMBLE_RANDOM_BYTES = 32;
const LOCAL_INDEX_RANDOM_BYTES = 32;
const LOCAL_INDEX_ALIGNMENT = 4096;
// Index version 2 has 28 bits for both lengths and 30 for the offset (spec §4.4).
const MAX_CONTENT_LENGTH = 2 ** 28 - 1;
const MAX_PACK_OFFSET = 2 ** 30 - 1;

/**
 * An open pack (spec §3.6). It keeps the sealed bytes it is given and never copies them; what it hands out at the
 * end are the parts of one blob.
 */
export class PackBuilder {
  readonly id: BlobId;
  readonly #format: RepositoryFormat;
  readonly #environment: Environment;
  readonly #parts: Uint8Array[];
  readonly #entries: ContentInfo[] = [];
  #length: number;

  constructor(options: {
    kind: PackKind;
    sessionId: string;
    format: RepositoryFormat;
    crypto: Crypto;
    environment: Environment;
  }) {
    const { format, environment } = options;
    this.id = parseBlobId(
      `${options.kind}${toHex(environment.randomBytes(16))}-${options.sessionId}`,
    );
    this.#format = format;
    this.#environment = environment;
    // spec §2.5: only repositories whose password cannot change carry a copy of the format blob in every pack.
    const recoveryCopy = format.enablePasswordChange
      ? []
      : [recoveryCopyPrefix(format.rawFormatBlob, options.crypto)];
    this.#parts = [...recoveryCopy, environment.randomBytes(PREAMBLE_RANDOM_BYTES)];
    this.#length = totalLength(this.#parts);
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Keeps `content.sealed`. The result is the entry that becomes true once the pack is stored. */
  add(
    content: SealedContent,
    options: { timestampSeconds: number; deleted?: boolean },
  ): ContentInfo {
    assert(content.originalLength <= MAX_CONTENT_LENGTH, "a content is too long");
    assert(content.sealed.length <= MAX_CONTENT_LENGTH, "a sealed content is too long");
    assert(this.#length <= MAX_PACK_OFFSET, "a pack is too long");
    const entry: ContentInfo = {
      id: content.id,
      packBlobId: this.id,
      packOffset: this.#length,
      packedLength: content.sealed.length,
      originalLength: content.originalLength,
      timestampSeconds: options.timestampSeconds,
      deleted: options.deleted ?? false,
      formatVersion: this.#format.version,
      compressionHeaderId: content.compressionHeaderId,
    };
    this.#parts.push(content.sealed);
    this.#length += content.sealed.length;
    this.#entries.push(entry);
    return entry;
  }

  /** The whole blob: contents, padding, encrypted local index, postamble. The builder must not be used after it. */
  finish(sealer: Sealer): FinishedPack {
    const padding = LOCAL_INDEX_ALIGNMENT - (this.#length % LOCAL_INDEX_ALIGNMENT); // a full block when aligned already
    const index = encodeIndex(this.#entries, {
      version: this.#format.indexVersion === 1 ? 1 : 2,
    });
    const localIndex = new Uint8Array(index.length + LOCAL_INDEX_RANDOM_BYTES);
    localIndex.set(index);
    localIndex.set(this.#environment.randomBytes(LOCAL_INDEX_RANDOM_BYTES), index.length);
    const tail = encodePackTail(localIndex, { offset: this.#length + padding, sealer });
    return {
      id: this.id,
      parts: [...this.#parts, this.#environment.randomBytes(padding), ...tail],
      entries: this.#entries,
    };
  }
}
