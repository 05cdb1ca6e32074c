import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes, utf8 } from "../base/bytes.ts";
import { bytesOfName, compareNames, nameOfBytes } from "./entry-name.ts";

describe("nameOfBytes", () => {
  // Texts as stock Kopia stored these names.
  test.each([
    [[0x61, 0xff], "a\ufffd"],
    [[0x65, 0x32, 0xe2, 0x82], "e2\ufffd\ufffd"],
    [[0x65, 0x64, 0xed, 0xa0, 0x80], "ed\ufffd\ufffd\ufffd"],
    [[0x66, 0x34, 0xf4, 0x90, 0x80, 0x80], "f4\ufffd\ufffd\ufffd\ufffd"],
    [[0x63, 0x30, 0xc0, 0xaf], "c0\ufffd\ufffd"],
    [[0xf0, 0x9f, 0x98, 0x80, 0xff], "\u{1f600}\ufffd"],
  ])("%j is %j", (bytes, name) => {
    const raw = Uint8Array.from(bytes);
    expect(nameOfBytes(raw)).toEqual({ name, nameBytes: raw });
    expect(bytesOfName(nameOfBytes(raw))).toEqual(raw);
  });

  test("valid text stays as it is, U+FFFD and a byte order mark included", () => {
    for (const name of ["a", "é", "\ufffd", "\ufeffx", "\u{1f600}"]) {
      expect(nameOfBytes(utf8(name))).toEqual({ name });
    }
  });
});

test("compareNames orders as the UTF-8 bytes do", () => {
  const text = fc.string({
    unit: fc.constantFrom("a", "é", "\ud7ff", "\ue000", "\uffff", "\u{10000}", "\u{10ffff}"),
  });
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareNames(a, b))).toBe(Math.sign(compareBytes(utf8(a), utf8(b))));
    }),
    { seed: 1, numRuns: 2000 },
  );
});
