import fc from "fast-check";
import { expect, test } from "vitest";
import type { BlobId } from "../blob/store.ts";
import { type ContentId, parseContentId } from "./content-id.ts";
import { createContentIndex } from "./content-index.ts";
import type { ContentInfo } from "./content-info.ts";
import type { ScratchFile } from "./slabs.ts";

/** Counts what comes back from it; bytes that were never written are refused. */
class MemoryScratch implements ScratchFile {
  reads = 0;
  readonly #bytes = new Map<number, Uint8Array>();

  read(position: number, target: Uint8Array): void {
    const bytes = this.#bytes.get(position);
    if (bytes?.length !== target.length) {
      throw new Error(`nothing was written at ${position}`);
    }
    target.set(bytes);
    this.reads += 1;
  }

  write(position: number, bytes: Uint8Array): void {
    this.#bytes.set(position, bytes.slice());
  }

  [Symbol.dispose](): void {
    this.#bytes.clear();
  }
}

function idOf(number: number): ContentId {
  // Spread over the table as hashes are.
  const head = (Math.imul(number + 1, 0x9e3779b1) >>> 0).toString(16).padStart(8, "0");
  return parseContentId(head + number.toString(16).padStart(24, "0"));
}

function entry(number: number, options: { time: number; deleted?: boolean }): ContentInfo {
  return {
    id: idOf(number),
    packBlobId: `p${number % 50}` as BlobId, // parseBlobId would take it
    packOffset: number,
    packedLength: 100 + (number % 900),
    originalLength: 72,
    timestampSeconds: options.time,
    deleted: options.deleted ?? false,
    formatVersion: 2,
    compressionHeaderId: 0,
  };
}

const MAX_BYTES = 220_000;

test("an index that is larger than its bound answers as one in memory does", () => {
  const operation = fc.record({
    number: fc.nat(12_000),
    time: fc.nat(5),
    deleted: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), (changes) => {
      const scratch = new MemoryScratch();
      const bounded = createContentIndex({ maxBytes: MAX_BYTES, scratch });
      const free = createContentIndex();
      for (const index of [bounded, free]) {
        for (let number = 0; number < 8000; number++) {
          index.addEntry(entry(number, { time: 3 }));
        }
        for (const { number, time, deleted } of changes) {
          index.addEntry(entry(number, { time, deleted }));
        }
        index.setWatermark(2);
      }
      expect(bounded.memoryBytes).toBeLessThanOrEqual(MAX_BYTES);
      expect(free.memoryBytes).toBeGreaterThan(1.5 * MAX_BYTES);
      for (let number = 0; number < 12_500; number += 7) {
        expect(bounded.get(idOf(number))).toEqual(free.get(idOf(number)));
      }
      for (const { number } of changes) {
        expect(bounded.get(idOf(number))).toEqual(free.get(idOf(number)));
        expect(bounded.isLive(idOf(number))).toBe(free.isLive(idOf(number)));
      }
      expect([...bounded.entries({ deleted: true })]).toEqual([...free.entries({ deleted: true })]);
      expect(scratch.reads).toBeGreaterThan(0);
    }),
    { seed: 1, numRuns: 4 },
  );
});

test("an index whose table alone is over the bound is refused", () => {
  const index = createContentIndex({ maxBytes: 20_000, scratch: new MemoryScratch() });
  const addMany = (): void => {
    for (let number = 0; number < 10_000; number++) {
      index.addEntry(entry(number, { time: 1 }));
    }
  };
  expect(addMany).toThrow(expect.objectContaining({ code: "invalid-argument" }));
});
