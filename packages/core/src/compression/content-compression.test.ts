import { describe, expect, test } from "vitest";
import { concatBytes, equalBytes, utf8 } from "../base/bytes.ts";
import { compressContent, decompressContent } from "./content-compression.ts";
import { openCodecs } from "./registry.ts";

const codecs = await openCodecs();
const MIB = 1024 * 1024;
const random = noise(4 * MIB);

/** Deterministic bytes that do not compress: xorshift32. */
function noise(length: number): Uint8Array {
  let state = 2463534242;
  return new Uint8Array(length).map(() => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 12;
  });
}

function withZeros(start: number, length: number): Uint8Array {
  return random.slice().fill(0, start, start + length);
}

const text = utf8("the quick brown fox jumps over the lazy dog, ".repeat(40));

describe.each(["zstd-fastest", "zstd", "s2-default", "gzip-best-speed", "deflate-default"])(
  "%s",
  (name) => {
    const codec = codecs.byName(name);

    test("content is the header id and the stream, and comes back", () => {
      const stored = compressContent(text, codec);
      expect(stored?.subarray(0, 4)).toEqual(
        Uint8Array.of(0, 0, codec.headerId >>> 8, codec.headerId & 255),
      );
      const options = { headerId: codec.headerId, codecs, maxSize: text.length };
      expect(decompressContent(stored ?? text, options)).toEqual(text);
    });

    test("content that does not get shorter is not compressed", () => {
      expect(compressContent(new Uint8Array(0), codec)).toBeUndefined();
      expect(compressContent(utf8("abcdefgh"), codec)).toBeUndefined();
      expect(compressContent(random.subarray(0, 60_000), codec)).toBeUndefined();
      expect(compressContent(random, codec)).toBeUndefined();
    });

    test("in place, the content's own memory is used, and only when it gets shorter", () => {
      const data = text.slice();
      const stored = compressContent(data, codec, { inPlace: true });
      expect(stored?.buffer).toBe(data.buffer);
      expect(stored).toEqual(compressContent(text, codec));
      const noisy = random.slice(0, 60_000);
      expect(compressContent(noisy, codec, { inPlace: true })).toBeUndefined();
      expect(equalBytes(noisy, random.subarray(0, 60_000))).toBe(true);
    });

    test.each([
      ["the first half", withZeros(0, 2 * MIB)],
      ["the second half", withZeros(2 * MIB, 2 * MIB)],
      ["an eighth in the middle", withZeros(1_800_001, MIB / 2)],
      ["a sixteenth at the end", withZeros(3_932_160, MIB / 4)],
      ["every second kilobyte", random.map((byte, index) => ((index >>> 10) & 1 ? 0 : byte))],
      ["half of 65 KiB", withZeros(0, 32 * 1024).subarray(0, 65 * 1024)],
    ])("random data with zeros in %s is compressed", (_, data) => {
      const stored = compressContent(data, codec) ?? data;
      expect(stored.length).toBeLessThan(data.length * 0.97);
      const options = { headerId: codec.headerId, codecs, maxSize: data.length };
      expect(equalBytes(decompressContent(stored, options), data)).toBe(true);
    });
  },
);

test("the result is strictly shorter or none: one byte decides", () => {
  const codec = { ...codecs.byName("zstd"), compress: (data: Uint8Array) => data.slice(5) };
  expect(compressContent(new Uint8Array(100), codec)).toHaveLength(99);
  const longer = { ...codec, compress: (data: Uint8Array) => data.slice(4) };
  expect(compressContent(new Uint8Array(100), longer)).toBeUndefined();
  const filling = (size: number) => (data: Uint8Array, target?: Uint8Array) =>
    size > (target?.length ?? 0) ? data.slice(0, size) : (target ?? data).fill(7, 0, size);
  const kept = new Uint8Array(100);
  const exact = { ...codec, compress: filling(96) };
  expect(compressContent(kept, exact, { inPlace: true })).toBeUndefined();
  expect(kept).toEqual(new Uint8Array(100));
  const shorter = { ...codec, compress: filling(95) };
  expect(compressContent(kept, shorter, { inPlace: true })).toHaveLength(99);
});

test("another header id, none, or an unknown one is refused", () => {
  const stored = compressContent(text, codecs.byName("zstd")) ?? text;
  const options = { headerId: 0x1101, codecs, maxSize: text.length };
  const corrupt = expect.objectContaining({ code: "corrupt" });
  expect(() => decompressContent(stored, options)).toThrow(corrupt);
  expect(() => decompressContent(stored.subarray(0, 3), options)).toThrow(corrupt);
  expect(() => decompressContent(stored, { ...options, headerId: 0x1100, maxSize: 10 })).toThrow(
    corrupt,
  );
  const unknown = concatBytes([Uint8Array.of(0, 0, 0x16, 0), text]);
  expect(() => decompressContent(unknown, { ...options, headerId: 0x1600 })).toThrow(
    expect.objectContaining({ code: "format-unsupported" }),
  );
});
