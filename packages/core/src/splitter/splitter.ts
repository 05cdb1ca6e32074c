/** Cuts a byte stream into chunks. Stateless between calls: where a chunk starts decides where it ends. */
export interface Splitter {
  /** e.g. `DYNAMIC-4M-BUZHASH`, `FIXED-1M`, `FASTCDC-4M`. */
  readonly name: string;
  /** No chunk is longer. */
  readonly maxSize: number;
  /**
   * Ends (exclusive offsets, ascending) of the chunks of `window`, whose first byte starts a chunk. With `atEnd` the
   * last end is `window.length` (none at all for an empty window); without, only ends that no further byte could
   * change are given: at least one when `window.length >= maxSize`, so the caller keeps the tail from the last end on
   * and calls again with more. The cuts of a stream never depend on how it was cut into windows.
   */
  cuts(window: Uint8Array, atEnd: boolean): Uint32Array;
}
