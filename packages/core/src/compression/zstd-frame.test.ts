import { expect, test } from "vitest";
import { concatBytes, fromHex } from "../base/bytes.ts";
import { openZstd } from "./zstd.ts";
import { readZstdFrame } from "./zstd-frame.ts";

const MAGIC = "28b52ffd";
const corrupt = expect.objectContaining({ code: "corrupt" });

/** Bytes of hex in groups. */
function bytes(hex: string): Uint8Array {
  return fromHex(hex.replaceAll(" ", ""));
}

function read(hex: string): ReturnType<typeof readZstdFrame> {
  return readZstdFrame(bytes(MAGIC + hex));
}

test("a frame's bound is what its blocks could hold at most", () => {
  // No content size, window of 1 KiB; 2 stored bytes, then 5 times one byte.
  expect(read("0000 100000 6162 2b0000 63")).toEqual({
    contentSize: undefined,
    bound: 7,
    windowSize: 1024,
  });
  // One segment of 2 bytes.
  expect(read("2002 110000 6162")).toEqual({ contentSize: 2, bound: 2, windowSize: 2 });
});

test("a million blocks of four bytes are a bound of 128 GiB, found without decoding", async () => {
  const block = bytes("020010 63"); // 128 KiB of one byte
  const blocks = Array.from({ length: 999_999 }, () => block);
  const bomb = concatBytes([fromHex(`${MAGIC}0068`), ...blocks, fromHex("03001063")]);
  expect(readZstdFrame(bomb).bound).toBe(1_000_000 * 131_072);
  for (const choice of [undefined, "wasm"] as const) {
    const zstd = await openZstd(choice);
    expect(() => zstd.decompress(bomb, 1_000_000)).toThrow(corrupt);
  }
});

test("sizes and windows that no content needs are corrupt before anything is allocated", async () => {
  const huge = bytes(`${MAGIC}e0ffffffffffffff00 110000 6162`);
  expect(() => readZstdFrame(huge)).toThrow(corrupt);
  expect(() => read("00a8 110000 6162")).toThrow(corrupt); // window of 2 GiB
  const zstd = await openZstd("wasm");
  expect(() => zstd.decompress(bytes(`${MAGIC}a000000001` + "ff".repeat(8)), 100)).toThrow(corrupt);
});

test.each([
  ["another magic", "28b52ffe2002 110000 6162"],
  ["a dictionary", `${MAGIC}210502 110000 6162`],
  ["a reserved bit", `${MAGIC}2802 110000 6162`],
  ["a reserved block type", `${MAGIC}2002 170000 6162`],
  ["no last block", `${MAGIC}2002 100000 6162`],
  ["a block beyond the end", `${MAGIC}2002 190000 6162`],
  ["bytes after the frame", `${MAGIC}2002 110000 616200`],
  ["a missing checksum", `${MAGIC}2402 110000 6162`],
  ["a declared size beyond its blocks", `${MAGIC}2003 110000 6162`],
])("%s is corrupt", (_, hex) => {
  expect(() => readZstdFrame(bytes(hex))).toThrow(corrupt);
});

test("our frames stay within a window of 8 MiB at every level", async () => {
  const data = new Uint8Array(9 * 1024 * 1024).map((_, index) => (index * index) >>> 13);
  for (const choice of [undefined, "wasm"] as const) {
    const zstd = await openZstd(choice);
    for (const level of [1, 3, 7, 11]) {
      const { windowSize } = readZstdFrame(zstd.compress(data, level));
      expect(windowSize).toBeLessThanOrEqual(8 * 1024 * 1024);
    }
  }
});
