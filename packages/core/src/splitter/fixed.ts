import type { Splitter } from "./splitter.ts";

/** Cuts after every `size` bytes (spec §5.4, FIXED). */
export function createFixedSplitter(name: string, size: number): Splitter {
  return {
    name,
    maxSize: size,
    cuts(window, atEnd) {
      const count = atEnd ? Math.ceil(window.length / size) : Math.floor(window.length / size);
      return Uint32Array.from({ length: count }, (_, index) =>
        Math.min((index + 1) * size, window.length),
      );
    },
  };
}
