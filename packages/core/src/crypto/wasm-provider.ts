import {
  createBLAKE2b,
  createBLAKE2s,
  createBLAKE3,
  createSHA3,
  createSHA224,
  createSHA256,
  type IHasher,
} from "hash-wasm";
import { equalBytes } from "../base/bytes.ts";
import type { CryptoProvider, Hasher } from "./crypto.ts";
import { cutDigest, type HashRecipe, type HmacFamily, recipeWithKey } from "./kopia-hash.ts";
import { createNobleProvider } from "./noble-provider.ts";

/**
 * All eleven hashes in WebAssembly (hash-wasm), no ciphers. One instance an algorithm serves every hasher: a
 * hasher is the saved state "key has gone in", loaded before each message. Instances take BLAKE2 keys of 32
 * bytes, the length Kopia makes; for other lengths the answer is `undefined`, as for an unknown name.
 */
export async function openWasmProvider(): Promise<CryptoProvider> {
  const [blake2b, blake2s16, blake2s32, blake3, ...hmacHashes] = await Promise.all([
    openKeyed((key) => createBLAKE2b(256, key)),
    openKeyed((key) => createBLAKE2s(128, key)),
    openKeyed((key) => createBLAKE2s(256, key)),
    openKeyed((key) => createBLAKE3(256, key)),
    createSHA224(),
    createSHA256(),
    createSHA3(224),
    createSHA3(256),
  ]);
  const [sha224, sha256, sha3224, sha3256] = hmacHashes;
  const hmacs = { sha224, sha256, "sha3-224": sha3224, "sha3-256": sha3256 };
  const oracle = createNobleProvider();

  function createDigest(recipe: HashRecipe, key: Uint8Array): Digest | undefined {
    switch (recipe.family) {
      case "blake2b":
        return keyedDigest(blake2b, key);
      case "blake2s":
        return keyedDigest(recipe.digestSize === 16 ? blake2s16 : blake2s32, key);
      case "blake3":
        return keyedDigest(blake3, key);
      default:
        return hmacDigest(hmacs[recipe.family], { key, blockSize: BLOCK_SIZE[recipe.family] });
    }
  }

  return {
    name: "wasm",
    hasher(name, secret) {
      const found = recipeWithKey(name, secret);
      const digest = found && createDigest(found.recipe, found.key);
      if (found === undefined || digest === undefined) {
        return undefined;
      }
      const { size } = found.recipe;
      const hasher: Hasher = { size, hash: (data) => cutDigest(digest(data), size) };
      return agreesWith(hasher, oracle.hasher(name, secret)) ? hasher : undefined;
    },
    aead: () => undefined,
    keyDerivation: () => undefined,
  };
}

type Digest = (data: Uint8Array) => Uint8Array;

const BLAKE_KEY_SIZE = 32;

interface KeyedInstance {
  readonly hasher: IHasher;
  /** The array that `init` takes the key from. */
  readonly key: Uint8Array;
}

async function openKeyed(create: (key: Uint8Array) => Promise<IHasher>): Promise<KeyedInstance> {
  const key = new Uint8Array(BLAKE_KEY_SIZE);
  return { hasher: await create(key), key };
}

function keyedDigest(instance: KeyedInstance, key: Uint8Array): Digest | undefined {
  if (key.length !== BLAKE_KEY_SIZE) {
    return undefined;
  }
  instance.key.set(key);
  const { hasher } = instance;
  const start = hasher.init().save();
  instance.key.fill(0);
  return (data) => hasher.load(start).update(data).digest("binary");
}

const BLOCK_SIZE: Readonly<Record<HmacFamily, number>> = {
  sha224: 64,
  sha256: 64,
  "sha3-224": 144,
  "sha3-256": 136,
};

/** HMAC (RFC 2104) with the two padded keys hashed beforehand: hash-wasm's own can only be made asynchronously. */
function hmacDigest(hash: IHasher, options: { key: Uint8Array; blockSize: number }): Digest {
  const { blockSize } = options;
  const key =
    options.key.length > blockSize ? hash.init().update(options.key).digest("binary") : options.key;
  const saved = (pad: number): Uint8Array => {
    const block = new Uint8Array(blockSize);
    block.set(key);
    return hash
      .init()
      .update(block.map((byte) => byte ^ pad))
      .save();
  };
  const inner = saved(0x36);
  const outer = saved(0x5c);
  return (data) => {
    const digest = hash.load(inner).update(data).digest("binary");
    return hash.load(outer).update(digest).digest("binary");
  };
}

/**
 * That `init` reads the key anew is how hash-wasm works, not what it promises, and a wrong hash would make
 * every content unreadable for others: so each hasher proves itself once before it is used.
 */
function agreesWith(hasher: Hasher, oracle: Hasher | undefined): boolean {
  const probe = Uint8Array.of(1, 2, 3);
  return oracle !== undefined && equalBytes(hasher.hash(probe), oracle.hash(probe));
}
