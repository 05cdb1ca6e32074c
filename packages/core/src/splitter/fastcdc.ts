import { createRequire } from "node:module";
import type { Splitter } from "./splitter.ts";

/** The one function of fastcdc-wasm: offsets of chunk boundaries, from 0 to the length of `bytes`, which it writes to. */
type GetChunks = (bytes: Uint8Array, min: number, average: number, max: number) => Uint32Array;

/**
 * Bytes scanned by one call of the library, unless twice the largest chunk is more. What starts in the last `maxSize`
 * of a slice is scanned again, so for the small splitters a longer slice wastes less.
 */
const SLICE_BYTES = 8 * 1024 * 1024;

/**
 * FastCDC through fastcdc-wasm, a Node-only package (it reads its .wasm file when loaded). Not one of Kopia's
 * splitters: a policy may name it, the format blob must not. Chunks have half to twice `averageSize`.
 */
export function createFastCdcSplitter(name: string, averageSize: number): Splitter {
  const getChunks = loadGetChunks();
  const minSize = averageSize / 2;
  const maxSize = averageSize * 2;
  const sliceSize = Math.max(SLICE_BYTES, 2 * maxSize);
  let scratch = new Uint8Array(0);
  // The library writes into the array it is given, so it gets a copy; the slice bounds its memory, which never shrinks.
  const chunkEnds = (bytes: Uint8Array): Uint32Array => {
    if (scratch.length < bytes.length) {
      scratch = new Uint8Array(bytes.length);
    }
    const copy = scratch.subarray(0, bytes.length);
    copy.set(bytes);
    return getChunks(copy, minSize, averageSize, maxSize).subarray(1);
  };
  return {
    name,
    maxSize,
    cuts(window, atEnd) {
      const ends: number[] = [];
      let start = 0;
      // A cut is final when its chunk could have grown to the maximum inside the slice.
      while (window.length - start >= maxSize) {
        const sliceStart = start;
        const slice = window.subarray(sliceStart, sliceStart + sliceSize);
        for (const end of chunkEnds(slice)) {
          if (start - sliceStart + maxSize > slice.length) {
            break;
          }
          start = sliceStart + end;
          ends.push(start);
        }
      }
      if (atEnd && start < window.length) {
        const tail = window.subarray(start);
        // Most files are smaller than a chunk: they never reach the library.
        const tailEnds = tail.length <= minSize ? [tail.length] : chunkEnds(tail);
        for (const end of tailEnds) {
          ends.push(start + end);
        }
      }
      return Uint32Array.from(ends);
    },
  };
}

function loadGetChunks(): GetChunks {
  const library: { get_chunks: GetChunks } = createRequire(import.meta.url)("fastcdc-wasm");
  return library.get_chunks;
}
