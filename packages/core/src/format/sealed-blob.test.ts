import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/crypto.json" with { type: "json" };
import { fromHex, toHex, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { parseBlobId } from "../blob/store.ts";
import { openCrypto } from "../crypto/registry.ts";
import { openBlob, sealBlob } from "./sealed-blob.ts";
import { createSealer, type Sealer } from "./sealer.ts";

const crypto = await openCrypto();

function sealerFor(hash: string): Sealer {
  const { secretHex, masterKeyHex } = vectors.otherDerivedKeys;
  return createSealer(
    {
      hash,
      encryption: "AES256-GCM-HMAC-SHA256",
      secret: fromHex(secretHex),
      masterKey: fromHex(masterKeyHex),
    },
    { crypto, randomBytes: (size) => new Uint8Array(size) },
  );
}

const sealer = sealerFor("BLAKE2B-256-128");
const plain = utf8("index");

test("an index blob has the name that Kopia gives it, and its iv is in the name", () => {
  const { blobID, ivHex, plaintextHex } = vectors.indexBlob;
  const { id, bytes } = sealBlob({
    prefix: "xn0_",
    suffix: "s0123456789abcdef147-c1",
    plain: fromHex(plaintextHex),
    sealer,
  });
  expect(id).toBe(blobID);
  expect(toHex(sealer.open(bytes, fromHex(ivHex)))).toBe(plaintextHex);
  expect(toHex(openBlob(id, bytes, sealer))).toBe(plaintextHex);
});

describe.each(["BLAKE2S-128", "HMAC-SHA224", "BLAKE3-256"])("%s", (hash) => {
  test.each([
    ["n", undefined],
    ["m", ""],
    ["s", "s0123456789abcdef147"],
    ["xn12_", "s0123456789abcdef147-c1"],
    ["xr0_7_", "s0123456789abcdef-c2"],
    ["_log_20261122163354_ab12_1700000000_1700000001_1_", undefined],
  ])("a blob with prefix %s and suffix %s opens", (prefix, suffix) => {
    const sealer = sealerFor(hash);
    const { id, bytes } = sealBlob({ prefix, suffix, plain, sealer });
    expect(id.startsWith(prefix)).toBe(true);
    expect(toHex(openBlob(id, bytes, sealer))).toBe(toHex(plain));
  });

  test("the hash before the iv is checked too", () => {
    const sealer = sealerFor(hash);
    const { id, bytes } = sealBlob({ prefix: "n", plain, sealer });
    const digit = id[1] === "0" ? "1" : "0";
    const renamed = parseBlobId(`n${digit}${id.slice(2)}`);
    expect(() => openBlob(renamed, bytes, sealer)).toThrow(
      expect.objectContaining({ code: "corrupt" }),
    );
  });
});

test("a name with only the iv opens: the hash need not be there", () => {
  const long = sealerFor("BLAKE3-256");
  const { id, bytes } = sealBlob({ prefix: "n", plain, sealer: long });
  expect(toHex(openBlob(parseBlobId(`n${id.slice(-32)}`), bytes, long))).toBe(toHex(plain));
});

test.each([
  "n",
  "kopia.repository",
  "xe5",
  "n0123456789abcdef0123456789abcde",
  "n-00112233445566778899aabbccddeeff",
  "n00112233445566778899aabbccddeeff_",
  "n00112233445566778899AABBCCDDEEFF",
  "n00112233445566778899aabbccddeeff",
  "n00000000000000000000000000000000-repository_unreadable_by_this_kopia_version_upgrade_required",
])("%s with these bytes is corrupt", (text) => {
  const { bytes } = sealBlob({ prefix: "n", plain, sealer });
  const id = parseBlobId(text);
  expect(() => openBlob(id, bytes, sealer)).toThrow(
    expect.objectContaining({ code: "corrupt", message: expect.stringContaining(text) }),
  );
});

test("arbitrary bytes and names are corrupt", () => {
  const run = fc.property(
    fc.stringMatching(/^[a-z0-9_-]{1,80}$/),
    fc.uint8Array({ maxLength: 200 }),
    (text, bytes) => {
      try {
        openBlob(parseBlobId(text), bytes, sealer);
        return false;
      } catch (error) {
        return isVarveError(error, "corrupt");
      }
    },
  );
  expect(() => fc.assert(run, { seed: 1, numRuns: 300 })).not.toThrow();
});

test("a prefix with a dash or a name too long is invalid", () => {
  for (const prefix of ["a-b", "x".repeat(250), "sp ace"]) {
    expect(() => sealBlob({ prefix, plain, sealer })).toThrow(
      expect.objectContaining({ code: "invalid-argument" }),
    );
  }
});
