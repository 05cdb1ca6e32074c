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
import {
  cutDigest,
  HASH_NAMES,
  type HashRecipe,
  type HmacFamily,
  recipeOf,
  recipeWithKey,
} from "./kopia-hash.ts";

export interface WasmProviderOptions {
  /** Says whether a hasher is right. */
  readonly oracle: CryptoProvider;
  /** Names of hashes to make ready; left out means all eleven. */
  readonly hashes?: readonly string[] | undefined;
}

/**
 * Hashes in WebAssembly (hash-wasm), no ciphers. One instance an algorithm serves every hasher: a
 * hasher is the saved state "key has gone in", loaded before each message. Instances take BLAKE2 keys of 32
 * bytes, the length Kopia makes; for other lengths the answer is `undefined`, as for an unknown name.
 */
export async function openWasmProvider({
  oracle,
  hashes = HASH_NAMES,
}: WasmProviderOptions): Promise<CryptoProvider> {
  const digests = new Map<string, (key: Uint8Array) => Digest | undefined>();
  for (const name of hashes) {
    const recipe = recipeOf(name);
    const instance = recipe && instanceName(recipe);
    if (recipe !== undefined && instance !== undefined && !digests.has(instance)) {
      digests.set(instance, await openInstance(recipe));
    }
  }

  function createDigest(recipe: HashRecipe, key: Uint8Array): Digest | undefined {
    return digests.get(instanceName(recipe))?.(key);
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

/** BLAKE2s takes its digest length as a parameter, so each length is an instance. */
function instanceName({ family, digestSize }: HashRecipe): string {
  return `${family} ${digestSize}`;
}

async function openInstance(recipe: HashRecipe): Promise<(key: Uint8Array) => Digest | undefined> {
  const { family, digestSize } = recipe;
  if (family === "blake2b" || family === "blake2s" || family === "blake3") {
    const create = { blake2b: createBLAKE2b, blake2s: createBLAKE2s, blake3: createBLAKE3 }[family];
    const instance = await openKeyed((key) => create(digestSize * 8, key));
    return (key) => keyedDigest(instance, key);
  }
  const hash = await HMAC_HASHES[family]();
  return (key) => hmacDigest(hash, { key, blockSize: BLOCK_SIZE[family] });
}

const HMAC_HASHES: Readonly<Record<HmacFamily, () => Promise<IHasher>>> = {
  sha224: createSHA224,
  sha256: createSHA256,
  "sha3-224": () => createSHA3(224),
  "sha3-256": () => createSHA3(256),
};

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
