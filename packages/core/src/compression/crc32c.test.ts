import { expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { crc32c, maskedCrc32c } from "./crc32c.ts";

test("the check value and RFC 3720's examples", () => {
  expect(crc32c(utf8("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd794e);
  expect(crc32c(new Uint8Array(0))).toBe(0);
});

test("the mask rotates by 15 bits and adds a constant", () => {
  expect(maskedCrc32c(new Uint8Array(0))).toBe(0xa282ead8);
});
