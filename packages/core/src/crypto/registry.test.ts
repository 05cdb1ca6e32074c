import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/crypto.json" with { type: "json" };
import { fromBase64, fromHex, toBase64, toHex, utf8 } from "../base/bytes.ts";
import { deriveFormatKeys, deriveMaintenanceKeys } from "./derived-keys.ts";
import { createNobleProvider } from "./noble-provider.ts";
import { ENCRYPTION_NAMES, HASH_NAMES, KEY_DERIVATION_NAMES, openCrypto } from "./registry.ts";

const automatic = await openCrypto();
const portable = await openCrypto({ providers: [createNobleProvider()] });
const cryptos = [
  ["automatic providers", automatic],
  ["noble alone", portable],
] as const;

test("the fastest provider that knows a name is taken", () => {
  expect(automatic.providers).toEqual(["native", "node", "wasm", "noble"]);
  for (const name of HASH_NAMES) {
    expect(automatic.providerOf("hash", name)).toBe(name.startsWith("BLAKE") ? "native" : "node");
  }
  for (const name of ENCRYPTION_NAMES) {
    expect(automatic.providerOf("encryption", name)).toBe("node");
  }
  for (const name of KEY_DERIVATION_NAMES) {
    expect(automatic.providerOf("key-derivation", name)).toBe("node");
    expect(portable.providerOf("key-derivation", name)).toBe("noble");
  }
});

test("the names are Kopia's", () => {
  expect([...HASH_NAMES].sort()).toEqual(
    Object.keys(vectors.contentHashes.vectors[0]?.hashes ?? {}).sort(),
  );
  expect([...KEY_DERIVATION_NAMES].sort()).toEqual(
    Object.keys(vectors.formatKeyDerivation.algorithms).sort(),
  );
});

describe("unknown names are format-unsupported, and the message says what is known", () => {
  const secret = new Uint8Array(32);
  const cases: [string, () => unknown, string][] = [
    ["hash", () => automatic.hasher("MD5", secret), "BLAKE2B-256-128"],
    [
      "encryption",
      () => automatic.cipher("NONE", { masterKey: secret, randomBytes: () => secret }),
      "AES256-GCM-HMAC-SHA256",
    ],
    ["provider of a hash", () => automatic.providerOf("hash", "MD5"), "HMAC-SHA256"],
    ["provider of a cipher", () => automatic.providerOf("encryption", "__proto__"), "CHACHA20"],
  ];
  test.each(cases)("%s", (_, call, known) => {
    expect(call).toThrow(
      expect.objectContaining({
        code: "format-unsupported",
        message: expect.stringContaining(known),
      }),
    );
  });

  test("key derivation", async () => {
    await expect(automatic.deriveKey("md5", "password", secret)).rejects.toMatchObject({
      code: "format-unsupported",
      message: expect.stringContaining("scrypt-65536-8-1"),
    });
  });
});

test("a name is known but not to the providers that were given", async () => {
  const none = await openCrypto({ providers: [] });
  expect(() => none.hmacSha256(new Uint8Array(1), new Uint8Array(1))).toThrow(
    expect.objectContaining({ code: "format-unsupported" }),
  );
});

describe.each(cryptos)("%s", (_, crypto) => {
  test("derives the keys of the format blob and opens its example (spec §2.2, §2.3)", () => {
    const { uniqueIDHex, algorithms } = vectors.formatKeyDerivation;
    for (const expected of Object.values(algorithms)) {
      const { key, aad } = deriveFormatKeys(crypto, {
        formatKey: fromHex(expected.formatKeyHex),
        uniqueId: fromHex(uniqueIDHex),
      });
      expect(toHex(key)).toBe(expected.aesKeyHex);
      expect(toHex(aad)).toBe(expected.aadHex);
      const { nonceHex, plaintext, encryptedBlockFormatBase64 } = expected.example;
      const plain = utf8(plaintext);
      const sealed = crypto.sealAesGcm({ key, nonce: fromHex(nonceHex), aad, plain });
      expect(toBase64(sealed)).toBe(encryptedBlockFormatBase64);
      const opened = crypto.openAesGcm({
        key,
        aad,
        sealed: fromBase64(encryptedBlockFormatBase64),
      });
      expect(toHex(opened)).toBe(toHex(plain));
    }
  });

  test("derives the maintenance key from the master key, or else from the format key", () => {
    const { masterKeyHex, uniqueIDHex, maintenanceKeyHex } = vectors.otherDerivedKeys;
    const known = fromHex(masterKeyHex);
    const other = new Uint8Array(32);
    const uniqueId = fromHex(uniqueIDHex);
    const modern = { enablePasswordChange: true, masterKey: known, formatKey: other, uniqueId };
    const old = { enablePasswordChange: false, masterKey: other, formatKey: known, uniqueId };
    expect(toHex(deriveMaintenanceKeys(crypto, modern).key)).toBe(maintenanceKeyHex);
    expect(toHex(deriveMaintenanceKeys(crypto, old).key)).toBe(maintenanceKeyHex);
    expect(toHex(deriveMaintenanceKeys(crypto, old).aad)).toBe(toHex(utf8("maintenance")));
  });

  test("HKDF gives lengths that are no multiple of the digest", () => {
    const { secretHex, uniqueIDHex, localCacheSecretHex } = vectors.otherDerivedKeys;
    const options = { ikm: fromHex(secretHex), salt: fromHex(uniqueIDHex) };
    const info = utf8("local-cache-integrity");
    expect(toHex(crypto.hkdfSha256({ ...options, info, length: 16 }))).toBe(localCacheSecretHex);
    // RFC 5869, test case 1
    const rfc = crypto.hkdfSha256({
      ikm: new Uint8Array(22).fill(0x0b),
      salt: fromHex("000102030405060708090a0b0c"),
      info: fromHex("f0f1f2f3f4f5f6f7f8f9"),
      length: 42,
    });
    expect(toHex(rfc)).toBe(
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    );
  });

  test.each(ENCRYPTION_NAMES)("%s seals contents as Kopia does (spec §3.3)", (name) => {
    const { masterKeyHex, vectors: cases } = vectors.contentEncryption;
    for (const expected of cases) {
      const nonce = fromHex(expected.nonceHex);
      const cipher = crypto.cipher(name, {
        masterKey: fromHex(masterKeyHex),
        randomBytes: () => nonce,
      });
      const iv = fromHex(expected.ivHex);
      const plain = utf8(expected.dataUtf8);
      const sealed = cipher.seal(plain, iv);
      expect(Object.entries(expected)).toContainEqual([name, toHex(sealed)]);
      expect(toHex(cipher.open(sealed, iv))).toBe(toHex(plain));
      expect(sealed.length).toBe(plain.length + cipher.overhead);
      const empty = cipher.seal(new Uint8Array(0), iv);
      expect(empty.length).toBe(28);
      expect(cipher.open(empty, iv).length).toBe(0);
      const otherIv = iv.map((byte) => byte ^ 1);
      expect(() => cipher.open(sealed, otherIv)).toThrow(
        expect.objectContaining({ code: "corrupt" }),
      );
    }
  });
});
