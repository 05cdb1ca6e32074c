import { concatBytes } from "../base/bytes.ts";
import type { ContentId } from "../index/content-id.ts";
import type { SealedContent } from "./content-store.ts";

/** What a batch of contents of one pack kind will be, whether its bytes are there yet or not. */
export interface BatchLayout {
  readonly ids: readonly ContentId[];
  /** For each content its sealed length, original length and compression header id. */
  readonly numbers: Uint32Array;
}

/**
 * Sealed contents of one pack kind, one after the other in one array: thousands of small ones cross threads, lie in a
 * pack and are written as one thing. As objects of their own they cost 20 µs each to send.
 */
export interface SealedBatch extends BatchLayout {
  /** The sealed bytes. */
  readonly bytes: Uint8Array;
  /** Called once when the bytes are stored and nobody will look at them again; left out when nobody waits for that. */
  readonly release?: (() => void) | undefined;
}

const NUMBERS_PER_CONTENT = 3;

/** The numbers of one content of a batch. */
export function numbersAt(
  { numbers }: Pick<BatchLayout, "numbers">,
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
  const layout = layoutOf(
    contents.map(({ sealed, ...rest }) => ({ ...rest, sealedLength: sealed.length })),
  );
  return { ...layout, bytes: concatBytes(contents.map(({ sealed }) => sealed)) };
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

/** The layout of a batch, from what {@link numbersAt} tells of each content. */
export function layoutOf(
  contents: readonly (ReturnType<typeof numbersAt> & { readonly id: ContentId })[],
): BatchLayout {
  const numbers = new Uint32Array(contents.length * NUMBERS_PER_CONTENT);
  for (const [position, content] of contents.entries()) {
    const { sealedLength, originalLength, compressionHeaderId } = content;
    const at = position * NUMBERS_PER_CONTENT;
    numbers.set([sealedLength, originalLength, compressionHeaderId], at);
  }
  return { ids: contents.map(({ id }) => id), numbers };
}
