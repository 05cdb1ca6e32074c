import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/format.json" with { type: "json" };
import { fromBase64, fromHex, fromUtf8, toBase64, toHex, utf8 } from "../base/bytes.ts";
import { encodeJson } from "../base/json.ts";
import { deriveFormatKeys } from "../crypto/derived-keys.ts";
import { type Crypto, openCrypto } from "../crypto/registry.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { encodeBlobConfig, sealWithFormatKey } from "./blob-config.ts";
import type { RepositoryFormat } from "./format.ts";
import {
  type CreateFormatOptions,
  createFormat,
  encodeFormatBlob,
  unlockFormat,
  withParameters,
  withPassword,
} from "./format-blob.ts";

const crypto = await openCrypto();
const environment = seededEnvironment({ seed: 7 });
const deps = { crypto, environment };
/** The real thing with a key derivation that takes no time: what it derives is not what these tests are about. */
const quickCrypto: Crypto = {
  ...crypto,
  deriveKey: async (_name, password) => crypto.hmacSha256(utf8("quick"), utf8(password)),
};
const quickDeps = { crypto: quickCrypto, environment };
const password = "correct";

const GOLDEN = {
  "v3-default": { password: "small 1", version: 3, hash: "BLAKE2B-256-128" },
  "v3-blake3-chacha-zstd": {
    password: "small 2",
    hash: "BLAKE3-256-128",
    encryption: "CHACHA20-POLY1305-HMAC-SHA256",
    splitter: "FIXED-128K",
  },
  "v1-hmac-pgzip": {
    password: "small 3",
    version: 1,
    hash: "HMAC-SHA256-128",
    indexVersion: 1,
    enablePasswordChange: false,
    epochs: expect.objectContaining({ enabled: false }),
  },
  "v2-blake2b256-s2": { password: "small 4", version: 2, hash: "BLAKE2B-256", indexVersion: 2 },
  "v3-ecc-deflate": {
    password: "small 5",
    hash: "HMAC-SHA3-256",
    ecc: { algorithm: "REED-SOLOMON-CRC32", overheadPercent: 2 },
  },
  "v3-pbkdf2-history": { password: "small 6", keyDerivation: "pbkdf2-sha256-600000" },
};

function goldenBlob(repository: string, blob: string): Uint8Array {
  const path = `../../test/golden/fixtures/${repository}/${blob}.f`;
  return new Uint8Array(readFileSync(new URL(path, import.meta.url)));
}

describe("Kopia's own repositories", () => {
  test.each(Object.entries(GOLDEN))("%s is unlocked", async (name, golden) => {
    const { password, ...expected } = golden;
    const formatBlob = goldenBlob(name, "kopia.repository");
    const blobConfig = goldenBlob(name, "kopia.blobcfg");
    const format = await unlockFormat(formatBlob, { password, crypto, blobConfig });
    expect(format).toMatchObject(expected);
    expect(format.rawFormatBlob).toEqual(formatBlob);
    expect(format.retention).toBeUndefined();
    expect([format.secret.length, format.masterKey.length]).toEqual([32, 32]);
  });

  test.each(["v3-default", "v3-pbkdf2-history"])("%s refuses another password", async (name) => {
    const unlocking = unlockFormat(goldenBlob(name, "kopia.repository"), { password, crypto });
    await expect(unlocking).rejects.toMatchObject({ code: "wrong-password" });
  });

  test("are encoded again with the same JSON", async () => {
    const { password, blobsBase64 } = vectors.goldenRepository;
    const blob = fromBase64(blobsBase64["kopia.repository"]);
    const blobConfig = fromBase64(blobsBase64["kopia.blobcfg"]);
    const format = await unlockFormat(blob, { password, crypto, blobConfig });
    const again = encodeFormatBlob(format, deps);
    const seal = /"encryptedBlockFormat": ".*"/;
    expect(fromUtf8(again).replace(seal, "")).toBe(fromUtf8(blob).replace(seal, ""));
    const unlocked = await unlockFormat(again, { password, crypto });
    expect(fromUtf8(encodeJson(unlocked.stored?.inner))).toBe(
      fromUtf8(encodeJson(format.stored?.inner)),
    );
  });
});

test.each(Object.entries(vectors.formatKeyDerivation.algorithms))(
  "%s gives Kopia's keys",
  async (keyDerivation, expected) => {
    const { password, uniqueIDHex } = vectors.formatKeyDerivation;
    const uniqueId = fromHex(uniqueIDHex);
    const formatKey = await crypto.deriveKey(keyDerivation, password, uniqueId);
    expect(toHex(formatKey)).toBe(expected.formatKeyHex);
    const { key, aad } = deriveFormatKeys(crypto, { formatKey, uniqueId });
    expect([toHex(key), toHex(aad)]).toEqual([expected.aesKeyHex, expected.aadHex]);
    const { nonceHex, plaintext, encryptedBlockFormatBase64 } = expected.example;
    const fixed = { ...environment, randomBytes: () => fromHex(nonceHex) };
    const sealed = sealWithFormatKey(
      utf8(plaintext),
      { formatKey, uniqueId },
      {
        crypto,
        environment: fixed,
      },
    );
    expect(toBase64(sealed)).toBe(encryptedBlockFormatBase64);
  },
);

async function roundTrip(format: RepositoryFormat, with_: Crypto): Promise<RepositoryFormat> {
  return await unlockFormat(encodeFormatBlob(format, { crypto: with_, environment }), {
    password,
    crypto: with_,
    blobConfig: encodeBlobConfig(format, { crypto: with_, environment }),
  });
}

/** What a format says, without the memory of how it was stored. */
function said(format: RepositoryFormat): Partial<RepositoryFormat> {
  const { rawFormatBlob: _raw, stored: _stored, ...rest } = format;
  return rest;
}

function ecc(overheadPercent: number): NonNullable<RepositoryFormat["ecc"]> {
  return { algorithm: "REED-SOLOMON-CRC32", overheadPercent };
}

describe("a new format", () => {
  test.each([
    { version: 1, keyDerivation: "scrypt-65536-8-1" },
    { version: 2, keyDerivation: "pbkdf2-sha256-600000" },
    { version: 3, keyDerivation: "scrypt-65536-8-1" },
  ])("of $version with $keyDerivation is unlocked as it was made", async (options) => {
    const format = await createFormat({ password, ...options }, deps);
    expect(said(await roundTrip(format, crypto))).toEqual(said(format));
    const isLegacy = options.version === 1;
    expect(format).toMatchObject({
      indexVersion: isLegacy ? 1 : 2,
      enablePasswordChange: !isLegacy,
      epochs: { enabled: !isLegacy },
    });
  });

  test("has the defaults of varve and keys of its own", async () => {
    const one = await createFormat({ password }, quickDeps);
    const two = await createFormat({ password }, quickDeps);
    expect(one).toMatchObject({
      version: 3,
      hash: "BLAKE3-256-128",
      encryption: "AES256-GCM-HMAC-SHA256",
      splitter: "DYNAMIC-4M-BUZHASH",
      keyDerivation: "scrypt-65536-8-1",
      maxPackSize: 20_971_520,
      ecc: undefined,
    });
    for (const key of ["uniqueId", "secret", "masterKey"] as const) {
      expect(one[key]).toHaveLength(32);
      expect(one[key]).not.toEqual(two[key]);
    }
  });

  test("keeps ecc and retention", async () => {
    const options = {
      ecc: ecc(100),
      retention: { mode: "compliance", periodMs: 86_400_000 },
    } as const;
    const format = await createFormat({ password, ...options }, quickDeps);
    expect(await roundTrip(format, quickCrypto)).toMatchObject(options);
  });

  test("has a configuration of {} without retention, as Kopia writes it", async () => {
    const format = await createFormat({ password }, quickDeps);
    expect((await roundTrip(format, quickCrypto)).stored?.blobConfig).toEqual({});
  });

  const retention = { mode: "governance", periodMs: 86_399_999 } as const;
  test.each<[string, Partial<CreateFormatOptions>]>([
    ["an empty password", { password: "" }],
    ["an unknown version", { version: 4 }],
    ["version 0", { version: 0 }],
    ["an unknown hash", { hash: "MD5" }],
    ["an unknown encryption", { encryption: "ROT13" }],
    ["an unknown key derivation", { keyDerivation: "none" }],
    ["a splitter that Kopia does not know", { splitter: "FASTCDC-4M" }],
    ["a pack size below 10 MiB", { maxPackSizeBytes: 10 * 2 ** 20 - 1 }],
    ["a pack size above 120 MiB", { maxPackSizeBytes: 120 * 2 ** 20 + 1 }],
    ["ecc with version 1", { version: 1, ecc: ecc(5) }],
    ["ecc of 0 percent", { ecc: ecc(0) }],
    ["ecc of 101 percent", { ecc: ecc(101) }],
    ["an unknown ecc", { ecc: { algorithm: "PARITY", overheadPercent: 5 } }],
    ["a retention of less than a day", { retention }],
    ["epochs that advance on 9 blobs", { epochs: { advanceOnCountThreshold: 9 } }],
    ["epochs that advance on little", { epochs: { advanceOnTotalSizeBytesThreshold: 1_048_575 } }],
    ["epochs of 9 minutes", { epochs: { minEpochDurationMs: 540_000, refreshFrequencyMs: 1000 } }],
    ["a refresh that is too slow", { epochs: { refreshFrequencyMs: 8 * 3_600_000 + 1 } }],
    ["a margin below 3 refreshes", { epochs: { cleanupSafetyMarginMs: 3_599_999 } }],
    ["no full checkpoints", { epochs: { fullCheckpointFrequency: 0 } }],
  ])("with %s is refused", async (_what, options) => {
    const creating = createFormat({ password, ...options }, quickDeps);
    await expect(creating).rejects.toMatchObject({ code: "invalid-argument" });
  });
});

describe("a change", () => {
  test("of the password keeps everything but the key", async () => {
    const format = await createFormat({ password: "old" }, quickDeps);
    const changed = await withPassword(format, password, quickCrypto);
    expect(said(await roundTrip(changed, quickCrypto))).toEqual({
      ...said(format),
      formatKey: changed.formatKey,
    });
    expect(changed.formatKey).not.toEqual(format.formatKey);
    const blob = encodeFormatBlob(changed, quickDeps);
    await expect(
      unlockFormat(blob, { password: "old", crypto: quickCrypto }),
    ).rejects.toMatchObject({
      code: "wrong-password",
    });
  });

  test("of the password is refused for version 1 and for an empty one", async () => {
    const legacy = await createFormat({ password, version: 1 }, quickDeps);
    await expect(withPassword(legacy, "new", quickCrypto)).rejects.toMatchObject({
      code: "unsupported",
    });
    const format = await createFormat({ password }, quickDeps);
    await expect(withPassword(format, "", quickCrypto)).rejects.toMatchObject({
      code: "invalid-argument",
    });
  });

  test("of parameters changes those and nothing else", async () => {
    const format = await createFormat({ password }, quickDeps);
    const retention = { mode: "locked", periodMs: 30 * 86_400_000 } as const;
    const feature = { feature: "index-v2", warnOnly: true, message: "" };
    const changed = withParameters(format, {
      maxPackSizeBytes: 10 * 2 ** 20,
      epochs: { advanceOnCountThreshold: 50, minEpochDurationMs: 7_200_000.000_001 },
      retention,
      requiredFeatures: [feature],
    });
    expect(said(await roundTrip(changed, quickCrypto))).toEqual({
      ...said(format),
      maxPackSize: 10 * 2 ** 20,
      epochs: {
        ...format.epochs,
        advanceOnCountThreshold: 50,
        minEpochDurationMs: 7_200_000.000_001,
      },
      retention,
      requiredFeatures: [feature],
    });
    expect(withParameters(changed, { retention: null }).retention).toBeUndefined();
    expect(withParameters(changed, {})).toEqual(changed);
  });

  test("that Kopia would refuse is refused", async () => {
    const format = await createFormat({ password, ecc: ecc(1) }, quickDeps);
    expect(() => withParameters(format, { indexVersion: 1 })).toThrow(/ecc needs index version 2/);
    expect(() => withParameters(format, { maxPackSizeBytes: 1 })).toThrow(/pack size/);
  });
});
