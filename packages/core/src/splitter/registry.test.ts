import { createCipheriv, createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/splitters.json" with { type: "json" };
import { equalBytes, toHex } from "../base/bytes.ts";
import { assert } from "../base/errors.ts";
import { buzhash } from "./buzhash.ts";
import { rabinKarp } from "./rabin-karp.ts";
import {
  createSplitter,
  DEFAULT_KOPIA_SPLITTER,
  isKopiaSplitter,
  KOPIA_SPLITTER_NAMES,
  SPLITTER_NAMES,
} from "./registry.ts";
import type { Splitter } from "./splitter.ts";

const MIB = 1024 * 1024;
const stream = keystream(64 * MIB);

/** The stream of the vectors: the AES-256-CTR keystream from a zero counter block. */
function keystream(length: number): Uint8Array {
  const key = createHash("sha256").update("kopia-spec-kat").digest();
  return new Uint8Array(
    createCipheriv("aes-256-ctr", key, new Uint8Array(16)).update(new Uint8Array(length)),
  );
}

function splitterOf(name: string): Splitter {
  const splitter = createSplitter(name);
  assert(splitter !== undefined, `no splitter ${name}`);
  return splitter;
}

function chunkLengths(ends: readonly number[] | Uint32Array): number[] {
  return Array.from(ends, (end, index) => end - (ends[index - 1] ?? 0));
}

/** Cuts `data` as a reader does: windows of at least the largest chunk, the tail kept for the next. */
function cutInWindows(splitter: Splitter, data: Uint8Array, nextSize: () => number): number[] {
  const ends: number[] = [];
  let start = 0;
  while (start < data.length) {
    const size = Math.max(splitter.maxSize, nextSize());
    const window = data.subarray(start, start + size);
    const atEnd = start + window.length === data.length;
    const cuts = splitter.cuts(window, atEnd);
    expect(cuts.length).toBeGreaterThan(0);
    for (const end of cuts) {
      ends.push(start + end);
    }
    start = ends.at(-1) ?? data.length;
  }
  return ends;
}

test("the stream of the vectors is the one the reference was given", () => {
  expect(toHex(stream.subarray(0, 32))).toBe(vectors.streamFirst32Hex);
});

describe("known answers", () => {
  for (const { splitter, length, chunkLengths: expected } of vectors.vectors) {
    test(`${splitter} cuts ${length} bytes where Kopia does`, () => {
      const cuts = splitterOf(splitter).cuts(stream.subarray(0, length), true);
      expect(chunkLengths(cuts)).toEqual(expected);
    });
  }

  for (const { splitter, length, chunkLengths: expected } of vectors.fastcdc) {
    test(`${splitter} cuts ${length} bytes where it always did`, () => {
      const cuts = splitterOf(splitter).cuts(stream.subarray(0, length), true);
      expect(chunkLengths(cuts)).toEqual(expected);
    });
  }

  test.each(Object.entries(vectors.windowHashes.buzhash32))(
    "BUZHASH at byte %s is %s",
    (at, expected) => {
      expect(buzhash(stream, Number(at) + 1) >>> 0).toBe(Number(expected));
    },
  );

  test.each(Object.entries(vectors.windowHashes.rabinkarp64))(
    "RABINKARP at byte %s is %s",
    (at, expected) => {
      const { low, high } = rabinKarp(stream, Number(at) + 1);
      expect((BigInt(high) << 32n) | BigInt(low >>> 0)).toBe(BigInt(expected));
    },
  );
});

describe("names", () => {
  test("every listed name makes a splitter of that name, and no other name does", () => {
    expect(SPLITTER_NAMES).toHaveLength(30);
    for (const name of SPLITTER_NAMES) {
      expect(splitterOf(name).name).toBe(name);
    }
    for (const name of ["", "FIXED-3M", "DYNAMIC-4M", "FIXED-4M-BUZHASH", "FASTCDC", "fixed-4m"]) {
      expect(createSplitter(name)).toBeUndefined();
    }
  });

  test("Kopia's names leave FastCDC out and hold the default", () => {
    expect(KOPIA_SPLITTER_NAMES).toHaveLength(23);
    expect(isKopiaSplitter(DEFAULT_KOPIA_SPLITTER)).toBe(true);
    expect(isKopiaSplitter("FASTCDC-4M")).toBe(false);
  });

  test("the legacy names cut like what they stand for", () => {
    const data = stream.subarray(0, 20 * MIB);
    expect(splitterOf("DYNAMIC").cuts(data, true)).toEqual(
      splitterOf("DYNAMIC-4M-BUZHASH").cuts(data, true),
    );
    expect(splitterOf("FIXED").cuts(data, true)).toEqual(splitterOf("FIXED-4M").cuts(data, true));
  });
});

const SMALL_NAMES = SPLITTER_NAMES.filter((name) => /128K|256K/.test(name));
const ruled = new Uint8Array(3 * MIB).map((_, index) => (index % 4096 < 64 ? 45 : index % 251));
const STREAMS: readonly (readonly [string, Uint8Array])[] = [
  ["random", stream.subarray(0, 3 * MIB)],
  ["zeros", new Uint8Array(3 * MIB)],
  ["64-byte rules", ruled],
];

describe.each(SMALL_NAMES)("%s", (name) => {
  const splitter = splitterOf(name);

  test.each(STREAMS)("cuts of %s do not depend on the windows", (_, data) => {
    const whole = Array.from(splitter.cuts(data, true));
    const sizes = fc.infiniteStream(fc.integer({ min: 1, max: 2 * MIB }));
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 200_000 }), (windowSizes, shorter) => {
        const length = data.length - shorter;
        const nextSize = (): number => windowSizes.next().value as number; // infinite
        const got = cutInWindows(splitter, data.subarray(0, length), nextSize);
        const agreed = whole.filter((end) => end + splitter.maxSize <= length);
        expect(got.slice(0, agreed.length)).toEqual(agreed);
        expect(got).toEqual(Array.from(splitter.cuts(data.subarray(0, length), true)));
      }),
      { seed: 1, numRuns: 4 },
    );
  });

  test.each(STREAMS)("chunks of %s keep the bounds and cover the data", (_, data) => {
    const lengths = chunkLengths(splitter.cuts(data, true));
    const minSize = name.startsWith("FIXED") ? splitter.maxSize : splitter.maxSize / 4;
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(data.length);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(splitter.maxSize);
    expect(Math.min(...lengths.slice(0, -1))).toBeGreaterThanOrEqual(minSize);
  });

  test("an empty window has no cut, a short one only its end", () => {
    expect(splitter.cuts(new Uint8Array(0), true)).toEqual(new Uint32Array(0));
    expect(splitter.cuts(new Uint8Array(0), false)).toEqual(new Uint32Array(0));
    expect(splitter.cuts(stream.subarray(0, 1000), true)).toEqual(Uint32Array.of(1000));
    expect(splitter.cuts(stream.subarray(0, 1000), false)).toEqual(new Uint32Array(0));
  });

  test("the window is left as it was", () => {
    const window = stream.slice(0, MIB);
    splitter.cuts(window, true);
    expect(equalBytes(window, stream.subarray(0, MIB))).toBe(true);
  });
});

test.each(SPLITTER_NAMES)("%s cuts a window as long as its largest chunk", (name) => {
  const splitter = splitterOf(name);
  for (const data of [stream, new Uint8Array(splitter.maxSize)]) {
    const ends = splitter.cuts(data.subarray(0, splitter.maxSize), false);
    expect(ends.length).toBeGreaterThan(0);
  }
});

test("64 equal bytes hash to a cut: runs are cut at the minimum, as in Kopia", () => {
  const ends = splitterOf("DYNAMIC-128K-BUZHASH").cuts(new Uint8Array(200_000), true);
  expect(Array.from(ends)).toEqual([65536, 131072, 196608, 200_000]);
});

test("FastCDC finds the old cuts again behind an insertion", () => {
  const splitter = splitterOf("FASTCDC-128K");
  const before = splitter.cuts(stream.subarray(0, 8 * MIB), true);
  const shifted = new Uint8Array(8 * MIB + 1000);
  shifted.set(stream.subarray(0, 8 * MIB), 1000);
  const after = new Set(splitter.cuts(shifted, true));
  const kept = before.filter((end) => after.has(end + 1000));
  expect(kept.length).toBeGreaterThan(before.length * 0.9);
});

test("FastCDC cuts 20 MiB in one window as in many: its slices do not show", () => {
  const data = stream.subarray(0, 20 * MIB);
  const splitter = splitterOf("FASTCDC-1M");
  expect(cutInWindows(splitter, data, () => 3 * MIB)).toEqual(
    Array.from(splitter.cuts(data, true)),
  );
});
