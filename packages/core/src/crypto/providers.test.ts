import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import vectors from "../../test/golden/vectors/crypto.json" with { type: "json" };
import { fromHex, toHex, utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import type { AeadName, CryptoProvider } from "./crypto.ts";
import { HASH_NAMES } from "./kopia-hash.ts";
import { openNativeProvider } from "./native-provider.ts";
import { createNobleProvider } from "./noble-provider.ts";
import { createNodeProvider } from "./node-provider.ts";
import { openWasmProvider } from "./wasm-provider.ts";

const noble = createNobleProvider();
const AEAD_NAMES: readonly AeadName[] = ["aes-256-gcm", "chacha20-poly1305"];
let providers: CryptoProvider[] = [];

beforeAll(async () => {
  const wasm = await openWasmProvider({ oracle: noble });
  const native = await openNativeProvider();
  if (native === undefined) {
    throw new Error("the optional package @napi-rs/blake-hash is needed to test its provider");
  }
  const nativeAndSmall = await openNativeProvider({ small: wasm });
  providers = [native, createNodeProvider(), wasm, noble];
  providers.push(nativeAndSmall ?? native);
});

function bytesOf(length: number, seed = 7): Uint8Array {
  // A view inside a larger buffer: providers must honour the offset.
  const bytes = new Uint8Array(length + 3).subarray(3);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[index] = state >>> 16;
  }
  return bytes;
}

function sorted(names: Iterable<string> | undefined): string[] {
  return [...(names ?? [])].sort();
}

/** Hex digest by every provider that knows the name, in the order of `providers`. */
function digests(name: string, secret: Uint8Array, data: Uint8Array): string[] {
  return providers
    .map((provider) => provider.hasher(name, secret))
    .filter((hasher) => hasher !== undefined)
    .map((hasher) => toHex(hasher.hash(data)));
}

describe("hashes", () => {
  test("every provider gives the known answers for every name it knows", () => {
    const known = new Map(providers.map(({ name }) => [name, new Set<string>()]));
    for (const { secretHex, dataUtf8, hashes } of vectors.contentHashes.vectors) {
      for (const [name, expected] of Object.entries(hashes)) {
        for (const provider of providers) {
          const hasher = provider.hasher(name, fromHex(secretHex));
          if (hasher !== undefined) {
            known.get(provider.name)?.add(name);
            const digest = toHex(hasher.hash(utf8(dataUtf8)));
            expect([provider.name, name, digest]).toEqual([provider.name, name, expected]);
            expect(hasher.size * 2).toBe(expected.length);
          }
        }
      }
    }
    const blakes = HASH_NAMES.filter((name) => name.startsWith("BLAKE"));
    const hmacs = HASH_NAMES.filter((name) => name.startsWith("HMAC"));
    expect(sorted(known.get("native"))).toEqual(sorted(blakes));
    expect(sorted(known.get("node"))).toEqual(sorted(hmacs));
    expect(sorted(known.get("wasm"))).toEqual(sorted(HASH_NAMES));
    expect(sorted(known.get("noble"))).toEqual(sorted(HASH_NAMES));
  });

  test.each(HASH_NAMES)("%s: all providers agree at block edges, and at 4 MiB", (name) => {
    const secret = bytesOf(32, 3);
    for (const length of [
      0,
      1,
      63,
      64,
      65,
      127,
      128,
      129,
      135,
      136,
      144,
      1025,
      8191,
      8192,
      4 << 20,
    ]) {
      const all = digests(name, secret, bytesOf(length));
      expect(all.length).toBeGreaterThanOrEqual(3);
      expect(new Set(all).size, `${length} bytes`).toBe(1);
    }
  });

  test("all providers agree on random secrets and data", () => {
    const run = fc.property(
      fc.constantFrom(...HASH_NAMES),
      fc.uint8Array({ maxLength: 32 }),
      fc.uint8Array({ maxLength: 3000 }),
      (name, secret, data) => new Set(digests(name, secret, data)).size === 1,
    );
    expect(() => fc.assert(run, { seed: 1, numRuns: 300 })).not.toThrow();
  });

  test("HMACs take secrets longer than a block", () => {
    for (const name of HASH_NAMES.filter((name) => name.startsWith("HMAC"))) {
      expect(new Set(digests(name, bytesOf(200), bytesOf(10))).size).toBe(1);
    }
  });

  test("a digest does not depend on what other hashers did before, nor share memory with them", () => {
    for (const provider of providers) {
      for (const name of HASH_NAMES) {
        const one = provider.hasher(name, bytesOf(32, 1));
        const two = provider.hasher(name, bytesOf(32, 2));
        const first = one?.hash(bytesOf(100)) ?? new Uint8Array(0);
        const before = toHex(first);
        two?.hash(bytesOf(5000));
        expect(toHex(first)).toBe(before);
        expect(toHex(one?.hash(bytesOf(100)) ?? first)).toBe(before);
      }
    }
  });

  test("changing the secret array afterwards changes nothing", () => {
    for (const provider of providers) {
      for (const name of HASH_NAMES) {
        const secret = bytesOf(32);
        const hasher = provider.hasher(name, secret);
        const before = hasher?.hash(secret.slice());
        const copy = secret.slice();
        secret.fill(0);
        expect(hasher?.hash(copy)).toEqual(before);
      }
    }
  });

  test.each([
    ["BLAKE2B-256-128", 65],
    ["BLAKE2B-256", 65],
    ["BLAKE2S-128", 33],
    ["BLAKE2S-256", 33],
  ])("%s refuses a secret of %i bytes", (name, length) => {
    const asked = providers.filter((provider) => provider.name !== "node");
    for (const provider of asked) {
      let thrown: unknown;
      try {
        provider.hasher(name, new Uint8Array(length));
      } catch (error) {
        thrown = error;
      }
      expect(isVarveError(thrown, "format-unsupported")).toBe(true);
    }
  });

  test("names of object members are not hash names", () => {
    for (const provider of providers) {
      expect(provider.hasher("constructor", bytesOf(32))).toBeUndefined();
      expect(provider.keyDerivation("constructor")).toBeUndefined();
    }
  });
});

describe("ciphers", () => {
  const node = createNodeProvider();
  const pairs = [node, noble].flatMap((sealer) =>
    [node, noble].flatMap((opener) => AEAD_NAMES.map((name) => ({ sealer, opener, name }))),
  );

  test.each(pairs)(
    "$opener.name opens what $sealer.name sealed with $name",
    ({ sealer, opener, name }) => {
      const run = fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.uint8Array({ minLength: 1, maxLength: 32 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (plain, aad, key) => {
          const before = toHex(plain);
          const nonce = bytesOf(12);
          const sealed = sealer.aead(name)?.seal({ key, nonce, aad, plain }) ?? plain;
          const opened = opener.aead(name)?.open({ key, aad, sealed });
          expect(sealed.length).toBe(plain.length + 28);
          expect(toHex(sealed.subarray(0, 12))).toBe(toHex(nonce));
          expect(toHex(opened ?? sealed)).toBe(before);
        },
      );
      expect(() => fc.assert(run, { seed: 1, numRuns: 50 })).not.toThrow();
    },
  );

  test("a change of any byte, a wrong key, other additional data or a missing end is corrupt", () => {
    for (const provider of [node, noble]) {
      for (const name of AEAD_NAMES) {
        const aead = provider.aead(name);
        const key = bytesOf(32);
        const aad = bytesOf(16);
        const sealed = aead?.seal({ key, nonce: bytesOf(12), aad, plain: bytesOf(20) });
        const codeOf = (
          options: Partial<{ key: Uint8Array; aad: Uint8Array; sealed: Uint8Array }>,
        ) => {
          try {
            aead?.open({ key, aad, sealed: sealed ?? key, ...options });
            return "opened";
          } catch (error) {
            const text = error instanceof Error ? error.message : "";
            return isVarveError(error, "corrupt") && !text.includes(toHex(key)) ? "corrupt" : error;
          }
        };
        expect(codeOf({})).toBe("opened");
        for (let index = 0; index < (sealed?.length ?? 0); index++) {
          expect(
            codeOf({ sealed: sealed?.map((byte, at) => (at === index ? byte ^ 1 : byte)) ?? key }),
          ).toBe("corrupt");
          expect(codeOf({ sealed: sealed?.subarray(0, index) ?? key })).toBe("corrupt");
        }
        expect(codeOf({ key: bytesOf(32, 8) })).toBe("corrupt");
        expect(codeOf({ aad: bytesOf(17) })).toBe("corrupt");
      }
    }
  });
});

describe("key derivation", () => {
  const { password, uniqueIDHex, algorithms } = vectors.formatKeyDerivation;

  test.each(Object.entries(algorithms))(
    "%s: node and noble give the known answer",
    async (name, expected) => {
      for (const provider of [createNodeProvider(), noble]) {
        const key = await provider.keyDerivation(name)?.(password, fromHex(uniqueIDHex));
        expect(toHex(key ?? new Uint8Array(0))).toBe(expected.formatKeyHex);
      }
    },
  );
});
