import { concatBytes } from "../base/bytes.ts";
import type { ContentId } from "../index/content-id.ts";
import type { SealedContent } from "./content-store.ts";

/**
 * Sealed contents of one pack kind, one after the other in one array: thousands of small ones cross threads, lie in a
 * pack and are written as one thing. As objects of their own they cost 20 µs each to send.
 */
export interface SealedBatch {
  readonly ids: readonly ContentId[];
  /** For each content its sealed length, original length and compression header id. */
  readonly numbers: Uint32Array;
  /** The sealed bytes. */
  readonly bytes: Uint8Array;
  /** Called once when the bytes are stored and nobody will look at them again; left out when nobody waits for that. */
  readonly release?: (() => void) | undefined;
}

const NUMBERS_PER_CONTENT = 3;

/** The numbers of one content of a batch. */
export function numbersAt(
  { numbers }: Pick<SealedBatch, "numbers">,
  position: number,
): { sealedLength: number; originalLength: number; compressionHeaderId: number } {
  const at = position * NUMBERS_PER_CONTENT;
  return {
    sealedLength: numbers[at] as number, // a batch has numbers for each of its contents
    originalLength: numbers[at + 1] as number,
    compressionHeaderId: numbers[at + 2] as number,
  };
}

export function batchOf(contents: readonly SealedContent[]): SealedBatch {
  const numbers = contents.flatMap(({ sealed, originalLength, compressionHeaderId }) => [
    sealed.length,
    originalLength,
    compressionHeaderId,
  ]);
  return {
    ids: contents.map(({ id }) => id),
    numbers: Uint32Array.from(numbers),
    bytes: concatBytes(contents.map(({ sealed }) => sealed)),
  };
}

/** The contents of a batch; their bytes are views. */
export function contentsOf(batch: SealedBatch): SealedContent[] {
  let end = 0;
  return batch.ids.map((id, position) => {
    const { sealedLength, ...lengths } = numbersAt(batch, position);
    end += sealedLength;
    return { id, sealed: batch.bytes.subarray(end - sealedLength, end), ...lengths };
  });
}

/** Fills a batch that holds at most `maxContents`, whose sealed bytes fit into `target`. */
export class BatchBuilder {
  readonly #target: Uint8Array;
  readonly #numbers: Uint32Array;
  readonly #ids: ContentId[] = [];
  #length = 0;

  constructor(options: { target: Uint8Array; maxContents: number }) {
    this.#target = options.target;
    this.#numbers = new Uint32Array(options.maxContents * NUMBERS_PER_CONTENT);
  }

  /** Where the next content of at most `length` sealed bytes is to be written. */
  room(length: number): Uint8Array {
    return this.#target.subarray(this.#length, this.#length + length);
  }

  /** What was written to the last `room` is a content. */
  add(content: Omit<SealedContent, "sealed">, sealedLength: number): void {
    const at = this.#ids.push(content.id) - 1;
    this.#numbers[at * NUMBERS_PER_CONTENT] = sealedLength;
    this.#numbers[at * NUMBERS_PER_CONTENT + 1] = content.originalLength;
    this.#numbers[at * NUMBERS_PER_CONTENT + 2] = content.compressionHeaderId;
    this.#length += sealedLength;
  }

  finish(): SealedBatch {
    const bytes = this.#target.subarray(0, this.#length);
    return { ids: this.#ids, numbers: this.#numbers, bytes };
  }
}
