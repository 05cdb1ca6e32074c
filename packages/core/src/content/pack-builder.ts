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
import { type ContentIndex, createContentIndex } from "../index/content-index.ts";
import { encodeTable } from "../index/index-writer.ts";
import { encodePackTail } from "./pack-tail.ts";
import { numbersAt, type SealedBatch } from "./sealed-batch.ts";

/** `p` packs hold contents without a prefix (file data), `q` packs the others (spec §3.5). */
export type PackKind = "p" | "q";

export function packKindOf(id: ContentId): PackKind {
  return contentPrefix(id) === "" ? "p" : "q";
}

/** A pack that is complete and ready to be stored. */
export interface FinishedPack {
  readonly id: BlobId;
  readonly parts: readonly Uint8Array[];
  /** Its entries, as an index file. */
  readonly index: Uint8Array;
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
  readonly #preamble: readonly Uint8Array[];
  readonly #batches: { readonly start: number; readonly batch: SealedBatch }[] = [];
  readonly #entries: ContentIndex = createContentIndex();
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
    this.#preamble = [...recoveryCopy, environment.randomBytes(PREAMBLE_RANDOM_BYTES)];
    this.#length = totalLength(this.#preamble);
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Keeps the batch. The result are the entries that become true once the pack is stored. */
  add(
    batch: SealedBatch,
    options: { timestampOf: (id: ContentId) => number; deleted?: boolean },
  ): ContentInfo[] {
    const start = this.#length;
    const entries = batch.ids.map((id, position) => {
      const { sealedLength, originalLength, compressionHeaderId } = numbersAt(batch, position);
      assert(originalLength <= MAX_CONTENT_LENGTH, "a content is too long");
      assert(sealedLength <= MAX_CONTENT_LENGTH, "a sealed content is too long");
      assert(this.#length <= MAX_PACK_OFFSET, "a pack is too long");
      const entry: ContentInfo = {
        id,
        packBlobId: this.id,
        packOffset: this.#length,
        packedLength: sealedLength,
        originalLength,
        timestampSeconds: options.timestampOf(id),
        deleted: options.deleted ?? false,
        formatVersion: this.#format.version,
        compressionHeaderId,
      };
      this.#length += sealedLength;
      this.#entries.addEntry(entry);
      return entry;
    });
    assert(this.#length - start === batch.bytes.length, "a batch is as long as its contents");
    this.#batches.push({ start, batch });
    return entries;
  }

  /** The bytes of a content that was added. */
  sealedAt({ packOffset, packedLength }: ContentInfo): Uint8Array {
    const found = this.#batches.findLast(({ start }) => start <= packOffset);
    assert(found !== undefined, "an entry of this pack lies in one of its batches");
    const offset = packOffset - found.start;
    return found.batch.bytes.subarray(offset, offset + packedLength);
  }

  /** The pack is stored: whoever lent the bytes of batches may have them back. */
  release(): void {
    for (const { batch } of this.#batches) {
      batch.release?.();
    }
  }

  /** The whole blob: contents, padding, encrypted local index, postamble. The builder must not be used after it. */
  finish(sealer: Sealer): FinishedPack {
    const padding = LOCAL_INDEX_ALIGNMENT - (this.#length % LOCAL_INDEX_ALIGNMENT); // a full block when aligned already
    const index = encodeTable(this.#entries, {
      version: this.#format.indexVersion === 1 ? 1 : 2,
    });
    const localIndex = new Uint8Array(index.length + LOCAL_INDEX_RANDOM_BYTES);
    localIndex.set(index);
    localIndex.set(this.#environment.randomBytes(LOCAL_INDEX_RANDOM_BYTES), index.length);
    const tail = encodePackTail(localIndex, { offset: this.#length + padding, sealer });
    return {
      id: this.id,
      parts: [
        ...this.#preamble,
        ...this.#batches.map(({ batch }) => batch.bytes),
        this.#environment.randomBytes(padding),
        ...tail,
      ],
      index,
    };
  }
}
