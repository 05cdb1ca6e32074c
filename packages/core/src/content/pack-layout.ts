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
import { type BatchLayout, numbersAt } from "./sealed-batch.ts";

/** `p` packs hold contents without a prefix (file data), `q` packs the others (spec §3.5). */
export type PackKind = "p" | "q";

export function packKindOf(id: ContentId): PackKind {
  return contentPrefix(id) === "" ? "p" : "q";
}

/** What a pack has beside its contents, which lie between `head` and `tail`. */
export interface PackFrame {
  readonly head: readonly Uint8Array[];
  readonly tail: readonly Uint8Array[];
  /** Its entries, as an index file. */
  readonly index: Uint8Array;
}

export interface PackOptions {
  readonly kind: PackKind;
  readonly sessionId: string;
  readonly format: RepositoryFormat;
  readonly crypto: Crypto;
  readonly environment: Environment;
}

export interface EntryOptions {
  readonly timestampOf: (id: ContentId) => number;
  readonly deleted?: boolean | undefined;
}

const PREAMBLE_RANDOM_BYTES = 32;
const LOCAL_INDEX_RANDOM_BYTES = 32;
const LOCAL_INDEX_ALIGNMENT = 4096;
// Index version 2 has 28 bits for both lengths and 30 for the offset (spec §4.4).
const MAX_CONTENT_LENGTH = 2 ** 28 - 1;
const MAX_PACK_OFFSET = 2 ** 30 - 1;

/** What lies where in an open pack (spec §3.6), and what stands around it. The bytes of contents are somebody else's. */
export class PackLayout {
  readonly id: BlobId;
  readonly #format: RepositoryFormat;
  readonly #environment: Environment;
  readonly #preamble: readonly Uint8Array[];
  readonly #entries: ContentIndex = createContentIndex();
  #length: number;

  constructor(options: PackOptions) {
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

  /** Gives a batch the next place. The result are the entries that become true once the pack is stored. */
  add(batch: BatchLayout, options: EntryOptions): ContentInfo[] {
    return batch.ids.map((id, position) => {
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
  }

  /** Padding, encrypted local index and postamble come behind the contents. Nothing may be added after it. */
  finish(sealer: Sealer): PackFrame {
    const padding = LOCAL_INDEX_ALIGNMENT - (this.#length % LOCAL_INDEX_ALIGNMENT); // a full block when aligned already
    const index = encodeTable(this.#entries, {
      version: this.#format.indexVersion === 1 ? 1 : 2,
    });
    const localIndex = new Uint8Array(index.length + LOCAL_INDEX_RANDOM_BYTES);
    localIndex.set(index);
    localIndex.set(this.#environment.randomBytes(LOCAL_INDEX_RANDOM_BYTES), index.length);
    const tail = encodePackTail(localIndex, { offset: this.#length + padding, sealer });
    return {
      head: this.#preamble,
      tail: [this.#environment.randomBytes(padding), ...tail],
      index,
    };
  }
}
