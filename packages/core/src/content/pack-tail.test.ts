import * as fc from "fast-check";
import { expect, test } from "vitest";
import { concatBytes, fromHex, toHex } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createSealer, type Sealer } from "../format/sealer.ts";
import { encodePackTail, openLocalIndex, parsePackTail } from "./pack-tail.ts";

const randomBytes = (size: number): Uint8Array => new Uint8Array(size).fill(7);
const sealer = createSealer(
  {
    hash: "BLAKE2B-256-128",
    encryption: "AES256-GCM-HMAC-SHA256",
    secret: new Uint8Array(32).fill(1),
    masterKey: new Uint8Array(32).fill(2),
    ecc: undefined,
  },
  { crypto: await openCrypto(), randomBytes },
);

test("the postamble is the one of the specification's example", () => {
  const fixed: Sealer = {
    ...sealer,
    hash: () => fromHex("000102030405060708090a0b0c0d0e0f"),
    seal: () => new Uint8Array(643),
  };
  const [, postamble] = encodePackTail(new Uint8Array(0), { offset: 18_628_608, sealer: fixed });
  expect(toHex(postamble ?? new Uint8Array(0))).toBe(
    "0110000102030405060708090a0b0c0d0e0f8080f10883056872a24a1c",
  );
});

test("the local index is found and opened from the end of a pack", () => {
  const index = Uint8Array.from({ length: 300 }, (_, position) => position % 251);
  const pack = concatBytes([
    new Uint8Array(8192),
    ...encodePackTail(index, { offset: 8192, sealer }),
  ]);
  const position = parsePackTail(pack.subarray(-256), { packLength: pack.length });
  const sealed = pack.subarray(position.offset, position.offset + position.length);
  expect(openLocalIndex(sealed, { position, sealer })).toEqual(index);
});

test("a damaged end gives a local index inside of the pack or an error with a code", () => {
  const index = new Uint8Array(100);
  const pack = concatBytes([
    new Uint8Array(4096),
    ...encodePackTail(index, { offset: 4096, sealer }),
  ]);
  fc.assert(
    fc.property(fc.nat(pack.length - 1), fc.nat(255), fc.nat(pack.length), (at, byte, cut) => {
      const damaged = pack.slice(0, cut);
      damaged[at] = byte;
      try {
        const { offset, length } = parsePackTail(damaged, { packLength: damaged.length });
        expect(offset + length).toBeLessThanOrEqual(damaged.length);
      } catch (error) {
        expect(isVarveError(error, "corrupt")).toBe(true);
      }
    }),
    { seed: 1, numRuns: 2000 },
  );
});

test("arbitrary bytes are no postamble and no reason to crash", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(() => parsePackTail(bytes, { packLength: bytes.length })).toThrow("pack postamble");
    }),
    { seed: 1, numRuns: 2000 },
  );
});
