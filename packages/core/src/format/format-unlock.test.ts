import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toBase64, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { encodeJson, parseJson } from "../base/json.ts";
import { type Crypto, openCrypto } from "../crypto/registry.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { encodeBlobConfig, sealWithFormatKey } from "./blob-config.ts";
import type { JsonObject, RepositoryFormat } from "./format.ts";
import {
  createFormat,
  encodeFormatBlob,
  unlockFormat,
  withParameters,
  withPassword,
} from "./format-blob.ts";

const crypto = await openCrypto();
/** The real thing with a key derivation that takes no time: what it derives is not what these tests are about. */
const quickCrypto: Crypto = {
  ...crypto,
  deriveKey: async (_name, password) => crypto.hmacSha256(utf8("quick"), utf8(password)),
};
const quickDeps = { crypto: quickCrypto, environment: seededEnvironment({ seed: 8 }) };
const password = "correct";

/** The blob of a format whose two JSON halves were edited. */
async function editedBlob(
  edit: { inner?: JsonObject; outer?: JsonObject; envelope?: unknown } = {},
): Promise<Uint8Array> {
  const format = await createFormat({ password }, quickDeps);
  const blob = encodeFormatBlob(format, quickDeps);
  const unlocked = await unlockFormat(blob, { password, crypto: quickCrypto });
  const inner = unlocked.stored?.inner?.["format"] as JsonObject; // just written
  const envelope = edit.envelope ?? { format: { ...inner, ...edit.inner }, beside: [1] };
  const sealed = sealWithFormatKey(encodeJson(envelope), format, quickDeps);
  const outer = parseJson(blob, "blob") as JsonObject; // just written
  return encodeJson({ ...outer, encryptedBlockFormat: toBase64(sealed), ...edit.outer });
}

async function unlockEncoded(format: RepositoryFormat): Promise<RepositoryFormat> {
  const blob = encodeFormatBlob(format, quickDeps);
  return await unlockFormat(blob, { password, crypto: quickCrypto });
}

async function unlockEdited(edit: Parameters<typeof editedBlob>[0]): Promise<RepositoryFormat> {
  return await unlockFormat(await editedBlob(edit), { password, crypto: quickCrypto });
}

function feature(name: string, ifNotUnderstood?: JsonObject): readonly JsonObject[] {
  return [{ feature: name, ifNotUnderstood }];
}

describe("unlocking", () => {
  test.each<[string, JsonObject]>([
    ["version 4", { version: 4 }],
    ["version 0", { version: 0 }],
    ["index version 3", { indexVersion: 3 }],
    ["MD5", { hash: "MD5" }],
    ["ROT13", { encryption: "ROT13" }],
    ["PARITY", { ecc: "PARITY", eccOverheadPercent: 1 }],
    ["101 percent", { ecc: "REED-SOLOMON-CRC32", eccOverheadPercent: 101 }],
    ["FASTCDC-4M", { splitter: "FASTCDC-4M" }],
    ["time-travel", { requiredFeatures: feature("time-travel", { message: "upgrade" }) }],
    ["time-travel", { requiredFeatures: feature("time-travel") }],
    ["secret", { hash: "BLAKE2S-128", secret: toBase64(new Uint8Array(33)) }],
  ])("needs what is not known: %s", async (named, inner) => {
    await expect(unlockEdited({ inner })).rejects.toMatchObject({
      code: "format-unsupported",
      message: expect.stringContaining(named),
    });
  });

  test.each<[string, JsonObject, Partial<RepositoryFormat>]>([
    ["no splitter", { splitter: undefined }, { splitter: "FIXED" }],
    ["no pack size", { maxPackSize: 0 }, { maxPackSize: 20_971_520 }],
    ["a small pack size", { maxPackSize: 100 }, { maxPackSize: 100 }],
    ["no index version", { indexVersion: undefined }, { indexVersion: 1 }],
    ["an unknown ecc of 0 percent", { ecc: "PARITY" }, { ecc: undefined }],
    ["a feature that only warns", { requiredFeatures: feature("x", { warn: true }) }, {}],
    ["a known feature", { requiredFeatures: feature("index-v1") }, {}],
    ["keys in another case", { Version: 2, version: undefined }, { version: 2 }],
    ["no epochs at all", { epochParameters: null }, {}],
  ])("takes %s as Kopia does", async (_what, inner, expected) => {
    expect(await unlockEdited({ inner })).toMatchObject(expected);
  });

  test.each<[string, Parameters<typeof editedBlob>[0]]>([
    ["no format", { envelope: {} }],
    ["a list", { envelope: [] }],
    ["no hash", { inner: { hash: undefined } }],
    ["a version that is text", { inner: { version: "3" } }],
    ["a negative pack size", { inner: { maxPackSize: -1 } }],
    ["a secret that is not base64", { inner: { secret: "*" } }],
    ["no secret", { inner: { secret: "" } }],
    ["a short uniqueID", { outer: { uniqueID: toBase64(new Uint8Array(15)) } }],
    ["no uniqueID", { outer: { uniqueID: null } }],
    ["nothing encrypted", { outer: { encryptedBlockFormat: "" } }],
  ])("finds %s corrupt", async (_what, edit) => {
    await expect(unlockEdited(edit)).rejects.toMatchObject({ code: "corrupt" });
  });

  test("names another outer encryption or key derivation", async () => {
    for (const outer of [{ encryption: "NONE" }, { keyAlgo: "md5" }]) {
      await expect(unlockEdited({ outer })).rejects.toMatchObject({ code: "format-unsupported" });
    }
  });

  test("opens beside a configuration under another key, but does not write it as if it were off", async () => {
    const format = await createFormat({ password }, quickDeps);
    const other = await withPassword(format, "other", quickCrypto);
    const blobConfig = encodeBlobConfig(other, quickDeps);
    const blob = encodeFormatBlob(format, quickDeps);
    const opened = await unlockFormat(blob, { password, crypto: quickCrypto, blobConfig });
    expect(opened).toMatchObject({ retention: undefined, blobConfigDamage: { code: "corrupt" } });
    await expect(withPassword(opened, "new", quickCrypto)).rejects.toMatchObject({
      code: "corrupt",
    });
    expect(() => withParameters(opened, { indexVersion: 1 })).toThrow(/damaged/);
    expect(withParameters(opened, { retention: null }).blobConfigDamage).toBeUndefined();
  });

  test("does not take an unknown retention mode", async () => {
    const format = await createFormat({ password }, quickDeps);
    const blob = encodeFormatBlob(format, quickDeps);
    const unlock = (blobConfig: Uint8Array) =>
      unlockFormat(blob, { password, crypto: quickCrypto, blobConfig });
    const json = encodeJson({ retentionMode: "EVER", retentionPeriod: 1e15 });
    await expect(unlock(sealWithFormatKey(json, format, quickDeps))).rejects.toMatchObject({
      code: "format-unsupported",
    });
  });
});

test("what varve does not know of survives a rewrite, at every depth", async () => {
  const upgradeLock = {
    ownerID: "o",
    creationTime: "2030-01-01T00:00:00.123456789Z",
    ioDrainTimeout: 1,
    statusPollInterval: 5,
  };
  const requiredFeatures = [
    { feature: "index-v2", ifNotUnderstood: { url: "u", upgradeToVersion: "9" }, more: 1 },
  ];
  const unlocked = await unlockEdited({
    outer: { buildVersion: "9.9", novel: { deep: [null] } },
    inner: {
      novel: "n",
      upgradeLock,
      requiredFeatures,
      epochParameters: { Enabled: true, New: 3 },
    },
  });
  const again = await unlockEncoded(withParameters(unlocked, { maxPackSizeBytes: 11 * 2 ** 20 }));
  expect(again.stored?.outer).toMatchObject({ buildVersion: "9.9", novel: { deep: [null] } });
  expect(again.stored?.inner).toMatchObject({
    beside: [1],
    format: {
      novel: "n",
      upgradeLock,
      requiredFeatures,
      epochParameters: { Enabled: true, New: 3, DeleteParallelism: 4 },
      maxPackSize: 11 * 2 ** 20,
    },
  });
  expect(again.maxPackSize).toBe(11 * 2 ** 20);
});

test("what a rewrite takes out stays out", async () => {
  const unlocked = await unlockEdited({
    inner: {
      requiredFeatures: feature("index-v2"),
      upgradeLock: { ownerID: "o", creationTime: "2030-01-01T00:00:00Z" },
    },
  });
  expect(unlocked).toMatchObject({
    requiredFeatures: [{ feature: "index-v2" }],
    upgradeLock: { ownerId: "o" },
  });
  const changed = withParameters(unlocked, { requiredFeatures: [] });
  const again = await unlockEncoded({ ...changed, upgradeLock: undefined });
  expect(again.requiredFeatures).toEqual([]);
  expect(again.upgradeLock).toBeUndefined();
  expect(again.stored?.inner).toHaveProperty("beside");
});

async function isHandled(running: Promise<unknown>): Promise<boolean> {
  return await running.then(
    () => true,
    (error: unknown) => isVarveError(error),
  );
}

describe("hostile bytes", () => {
  test("as the format blob give a format or an error with a code", async () => {
    const valid = await editedBlob();
    const mutated = fc
      .tuple(fc.nat({ max: valid.length - 1 }), fc.nat({ max: 255 }), fc.nat({ max: 40 }))
      .map(([at, byte, cut]) => {
        const bytes = valid.slice(0, valid.length - (cut > 30 ? cut : 0));
        bytes[at % bytes.length] = byte;
        return bytes;
      });
    const any = fc.oneof(fc.uint8Array(), fc.json().map(utf8), mutated);
    await fc.assert(
      fc.asyncProperty(any, async (bytes) => {
        expect(await isHandled(unlockFormat(bytes, { password, crypto: quickCrypto }))).toBe(true);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test("as the encrypted JSON give a format that can be written again, or an error with a code", async () => {
    const names = ["version", "hash", "secret", "maxPackSize", "indexVersion", "splitter", "ecc"];
    const objects = ["epochParameters", "upgradeLock", "requiredFeatures", "__proto__"];
    const edits = fc.dictionary(fc.constantFrom(...names, ...objects), fc.jsonValue());
    await fc.assert(
      fc.asyncProperty(edits, async (inner) => {
        const rewritten = unlockEdited({ inner }).then((format) => unlockEncoded(format));
        expect(await isHandled(rewritten)).toBe(true);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test("as the configuration give a retention or an error with a code", async () => {
    const format = await createFormat({ password }, quickDeps);
    const blob = encodeFormatBlob(format, quickDeps);
    const json = fc.oneof(
      fc.json(),
      fc
        .record({ retentionMode: fc.jsonValue(), retentionPeriod: fc.jsonValue() })
        .map((value) => JSON.stringify(value)),
    );
    await fc.assert(
      fc.asyncProperty(json, fc.boolean(), async (text, isSealed) => {
        const plain = utf8(text);
        const blobConfig = isSealed ? sealWithFormatKey(plain, format, quickDeps) : plain;
        const unlocking = unlockFormat(blob, { password, crypto: quickCrypto, blobConfig });
        expect(await isHandled(unlocking)).toBe(true);
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});

describe("a key that was derived before", () => {
  /** Counts derivations. */
  function counting(): { crypto: Crypto; count: () => number } {
    let count = 0;
    const deriveKey: Crypto["deriveKey"] = (...call) => {
      count++;
      return quickCrypto.deriveKey(...call);
    };
    return { crypto: { ...quickCrypto, deriveKey }, count: () => count };
  }

  test("is used instead of the password", async () => {
    const format = await createFormat({ password }, quickDeps);
    const blob = encodeFormatBlob(format, quickDeps);
    const { crypto, count } = counting();
    const unlocked = await unlockFormat(blob, { password, known: format, crypto });
    expect(toBase64(unlocked.masterKey)).toBe(toBase64(format.masterKey));
    expect(count()).toBe(0);
  });

  test.each<[string, Partial<RepositoryFormat>]>([
    ["that is of another password", { formatKey: new Uint8Array(32) }],
    ["that is of another repository", { uniqueId: new Uint8Array(32) }],
    ["that is of another derivation", { keyDerivation: "pbkdf2-sha256-600000" }],
    ["that is no key", { formatKey: new Uint8Array(0) }],
  ])("%s is not", async (_name, changed) => {
    const format = await createFormat({ password }, quickDeps);
    const blob = encodeFormatBlob(format, quickDeps);
    const { crypto, count } = counting();
    const known = { ...format, ...changed };
    const unlocked = await unlockFormat(blob, { password, known, crypto });
    expect(toBase64(unlocked.formatKey)).toBe(toBase64(format.formatKey));
    expect(count()).toBe(1);
    await expect(unlockFormat(blob, { password: "wrong", known, crypto })).rejects.toMatchObject({
      code: "wrong-password",
    });
  });
});
