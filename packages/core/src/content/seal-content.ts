import type { Codec } from "../compression/codec.ts";
import { type CompressOptions, compressContent } from "../compression/content-compression.ts";
import { ivOfHash, type Sealer } from "../format/sealer.ts";
import { type ContentId, contentHash } from "../index/content-id.ts";
import { type BatchLayout, layoutOf, numbersAt, type SealedBatch } from "./sealed-batch.ts";

/** A content that is neither compressed nor sealed yet. */
export interface PlainContent {
  /** The prefix and hash of `data`. */
  readonly id: ContentId;
  readonly data: Uint8Array;
  /** Left out in a repository of index version 1, whose entries cannot say that a content is compressed. */
  readonly codec?: Codec | undefined;
}

/** Contents as they will be sealed: the layout of their batch is known. */
export interface CompressedBatch extends BatchLayout {
  /** For each content what is to be sealed, compressed when that is shorter (spec §3.4). */
  readonly stored: readonly Uint8Array[];
}

/** Any thread may do it. What is not compressed is not copied. */
export function compressContents(
  contents: readonly PlainContent[],
  { sealer, ...options }: { sealer: Sealer } & CompressOptions,
): CompressedBatch {
  const all = contents.map(({ id, data, codec }) => {
    const compressed = codec === undefined ? undefined : compressContent(data, codec, options);
    const stored = compressed ?? data;
    return {
      id,
      stored,
      sealedLength: sealer.sealedLength(stored.length),
      originalLength: data.length,
      compressionHeaderId: compressed === undefined ? 0 : (codec?.headerId ?? 0),
    };
  });
  return { ...layoutOf(all), stored: all.map(({ stored }) => stored) };
}

/**
 * Makes contents ready for a pack (spec §3.3, §3.4): compressed when that is shorter, encrypted, error-corrected.
 * Any thread may do it. `data` is not kept, and not changed but `inPlace`; the bytes of the result lie in `target`,
 * which has room for all of them uncompressed.
 */
export function sealContents(
  contents: readonly PlainContent[],
  { target, ...options }: { sealer: Sealer; target: Uint8Array } & CompressOptions,
): SealedBatch {
  const { sealer } = options;
  const batch = compressContents(contents, options);
  let length = 0;
  for (const content of contentsToSeal(batch)) {
    length += sealInto(target.subarray(length), content, sealer);
  }
  return { ids: batch.ids, numbers: batch.numbers, bytes: target.subarray(0, length) };
}

/** Memory that contents are sealed in which are written at once: as long as the longest of them. */
export class SealBuffer {
  #bytes = new Uint8Array(SEAL_BUFFER_BYTES);

  /** At least so many bytes; what was there before is gone. */
  atLeast(length: number): Uint8Array {
    if (this.#bytes.length < length) {
      this.#bytes = new Uint8Array(length);
    }
    return this.#bytes;
  }
}

const SEAL_BUFFER_BYTES = 1024 * 1024;

/** The sealed bytes of a batch, one piece after the other; each is gone when the next one comes. */
export function* sealedPieces(
  batch: CompressedBatch,
  options: { readonly sealer: Sealer; readonly buffer: SealBuffer },
): Generator<Uint8Array, void, undefined> {
  const { sealer, buffer } = options;
  let piece = buffer.atLeast(0);
  let filled = 0;
  for (const content of contentsToSeal(batch)) {
    const { sealedLength } = content;
    if (filled > 0 && filled + sealedLength > piece.length) {
      yield piece.subarray(0, filled);
      filled = 0;
    }
    piece = filled === 0 ? buffer.atLeast(sealedLength) : piece;
    filled += sealInto(piece.subarray(filled), content, sealer);
  }
  if (filled > 0) {
    yield piece.subarray(0, filled);
  }
}

interface ContentToSeal {
  readonly id: ContentId;
  readonly stored: Uint8Array;
  readonly sealedLength: number;
}

function* contentsToSeal({ ids, numbers, stored }: CompressedBatch): Generator<ContentToSeal> {
  for (const [position, id] of ids.entries()) {
    const bytes = stored[position] as Uint8Array; // one for each id
    yield { id, stored: bytes, sealedLength: numbersAt({ numbers }, position).sealedLength };
  }
}

/** Fills the start of `target`; gives how much of it. */
function sealInto(
  target: Uint8Array,
  { id, stored, sealedLength }: ContentToSeal,
  sealer: Sealer,
): number {
  sealer.sealInto(target.subarray(0, sealedLength), stored, ivOfHash(contentHash(id)));
  return sealedLength;
}

/** The bytes that {@link sealContents} needs at most. */
export function roomFor(contents: readonly PlainContent[], sealer: Sealer): number {
  return contents.reduce((sum, { data }) => sum + sealer.sealedLength(data.length), 0);
}
