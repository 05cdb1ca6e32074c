import { createCipheriv } from "node:crypto";
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import { createFastCdcSplitter, GEAR } from "./fastcdc.ts";
import { openScanKernel } from "./scan-kernel.ts";

const KIB = 1024;
const LENGTH = 3 * 1024 * KIB + 5;

const random = new Uint8Array(
  createCipheriv("aes-256-ctr", new Uint8Array(32), new Uint8Array(16)).update(
    new Uint8Array(LENGTH),
  ),
);
const STREAMS: readonly (readonly [string, Uint8Array])[] = [
  ["random bytes", random],
  ["zeros", new Uint8Array(LENGTH)],
  ["bytes of 255", new Uint8Array(LENGTH).fill(255)],
  ["a short period", new Uint8Array(LENGTH).map((_, index) => index % 7)],
  ["random bytes between zeros", random.map((byte, index) => (index & 0x8000 ? byte : 0))],
];

type GetChunks = (bytes: Uint8Array, min: number, average: number, max: number) => Uint32Array;
const kernel = openScanKernel(GEAR);
const reference: { get_chunks: GetChunks } = createRequire(import.meta.url)("fastcdc-wasm");

describe.each(STREAMS)("%s", (_, stream) => {
  test.each([64 * KIB, 128 * KIB, 1024 * KIB])("are cut for %i as by fastcdc 1.0.5", (average) => {
    for (const length of [
      0,
      1,
      average / 2,
      average / 2 + 1,
      2 * average,
      2 * average + 9,
      LENGTH,
    ]) {
      const bytes = stream.slice(0, length);
      const ends = createFastCdcSplitter("", average, kernel).cuts(bytes, true);
      const expected =
        length === 0 ? [] : reference.get_chunks(bytes, average / 2, average, 2 * average);
      expect([...ends]).toEqual([...expected].slice(1));
    }
  });

  test("are cut the same without WebAssembly", () => {
    const inJavaScript = createFastCdcSplitter("", 128 * KIB, undefined).cuts(stream, true);
    expect(inJavaScript).toEqual(createFastCdcSplitter("", 128 * KIB, kernel).cuts(stream, true));
  });
});
