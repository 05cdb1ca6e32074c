import { concatBytes } from "../base/bytes.ts";

/** A part of an upload; only the last may be shorter than the others, or empty. */
export interface UploadPart {
  readonly bytes: Uint8Array;
  readonly isLast: boolean;
}

/** The same bytes in parts of this size: at least one, and the last one is known as such. Two parts are in memory at most. */
export async function* inParts(
  chunks: AsyncIterable<Uint8Array>,
  sizeBytes: number,
): AsyncGenerator<UploadPart> {
  let pieces: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    let rest = chunk;
    while (size + rest.length > sizeBytes) {
      const head = rest.subarray(0, sizeBytes - size);
      yield { bytes: concatBytes([...pieces, head]), isLast: false };
      pieces = [];
      size = 0;
      rest = rest.subarray(head.length);
    }
    pieces.push(rest);
    size += rest.length;
  }
  yield { bytes: concatBytes(pieces), isLast: true };
}
