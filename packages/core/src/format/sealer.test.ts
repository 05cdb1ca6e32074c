import { describe, expect, test } from "vitest";
import { toHex } from "../base/bytes.ts";
import { ENCRYPTION_NAMES, HASH_NAMES, openCrypto } from "../crypto/registry.ts";
import { createSealer, ivOfHash } from "./sealer.ts";

const crypto = await openCrypto();
const options = { crypto, randomBytes: (size: number) => new Uint8Array(size).fill(9) };
const secrets = { secret: new Uint8Array(32).fill(1), masterKey: new Uint8Array(32).fill(2) };
const REED_SOLOMON = { algorithm: "REED-SOLOMON-CRC32", overheadPercent: 2 };
const plain = new Uint8Array(5000).map((_, index) => index);

describe.each(HASH_NAMES)("%s", (hash) => {
  test.each(ENCRYPTION_NAMES)(
    "with %s: what is sealed opens, with and without error correction",
    (encryption) => {
      for (const ecc of [undefined, REED_SOLOMON]) {
        const sealer = createSealer({ hash, encryption, ecc, ...secrets }, options);
        const digest = sealer.hash(plain);
        expect(digest.length).toBe(sealer.hashSize);
        for (const iv of [ivOfHash(digest), digest]) {
          const sealed = sealer.seal(plain, iv);
          expect(sealed.length).toBe(sealer.sealedLength(plain.length));
          expect(toHex(sealer.open(sealed, iv))).toBe(toHex(plain));
        }
      }
    },
  );
});

describe("error correction", () => {
  const names = { hash: "BLAKE2B-256-128", encryption: "AES256-GCM-HMAC-SHA256" };
  const iv = new Uint8Array(16);

  test("goes around the cipher, so a damaged byte is repaired, and without it is corrupt", () => {
    for (const [ecc, repaired] of [
      [REED_SOLOMON, true],
      [undefined, false],
    ] as const) {
      const sealer = createSealer({ ...names, ecc, ...secrets }, options);
      const sealed = sealer.seal(plain, iv);
      sealed[1000] = (sealed[1000] ?? 0) ^ 1;
      if (repaired) {
        expect(toHex(sealer.open(sealed, iv))).toBe(toHex(plain));
      } else {
        expect(() => sealer.open(sealed, iv)).toThrow(expect.objectContaining({ code: "corrupt" }));
      }
    }
  });

  test("of 0 percent is none", () => {
    const ecc = { ...REED_SOLOMON, overheadPercent: 0 };
    expect(createSealer({ ...names, ecc, ...secrets }, options).sealedLength(100)).toBe(128);
  });

  test.each([
    { algorithm: "PARITY", overheadPercent: 2 },
    { ...REED_SOLOMON, overheadPercent: 101 },
  ])("$algorithm of $overheadPercent percent is format-unsupported", (ecc) => {
    expect(() => createSealer({ ...names, ecc, ...secrets }, options)).toThrow(
      expect.objectContaining({ code: "format-unsupported" }),
    );
  });
});
