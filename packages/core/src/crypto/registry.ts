import { concatBytes, utf8 } from "../base/bytes.ts";
import { assert, VarveError } from "../base/errors.ts";
import { AEAD_OVERHEAD, NONCE_SIZE } from "./aead.ts";
import type {
  Aead,
  AeadName,
  Cipher,
  CryptoProvider,
  Hasher,
  KeyDerivation,
  RandomBytes,
} from "./crypto.ts";
import { HASH_NAMES } from "./kopia-hash.ts";
import { createShortHmac, MAX_SHORT_MESSAGE } from "./short-hmac.ts";

export { HASH_NAMES } from "./kopia-hash.ts";

/**
 * Picks hash, cipher and key derivation by the names that a format blob carries (spec §2.2, §3.2, §3.3), each from
 * the first provider that knows it. What is rule rather than primitive, such as the key of each content, is here
 * and the same for all providers.
 */
export interface Crypto {
  /** Names of the providers in the order they are asked. */
  readonly providers: readonly string[];
  /** By one of {@link HASH_NAMES}. Throws `format-unsupported` for others and for secrets that the hash cannot take. */
  hasher(name: string, secret: Uint8Array): Hasher;
  /** By one of {@link ENCRYPTION_NAMES}. Throws `format-unsupported` for others. */
  cipher(name: string, options: { masterKey: Uint8Array; randomBytes: RandomBytes }): Cipher;
  /** 32 bytes, by one of {@link KEY_DERIVATION_NAMES}. Rejects with `format-unsupported` for others. */
  deriveKey(name: string, password: string, salt: Uint8Array): Promise<Uint8Array>;
  /** Who provides an algorithm (a hash: for a secret of 32 bytes). Throws `format-unsupported` for unknown names. */
  providerOf(kind: AlgorithmKind, name: string): string;
  /** 32 bytes. */
  hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array;
  /** RFC 5869 with SHA-256; `length` at most 8160 bytes. */
  hkdfSha256(options: {
    ikm: Uint8Array;
    salt: Uint8Array;
    info: Uint8Array;
    length: number;
  }): Uint8Array;
  /** `nonce(12) || ciphertext || tag(16)` under exactly this key: the format blobs and the maintenance schedule. */
  sealAesGcm(options: {
    key: Uint8Array;
    nonce: Uint8Array;
    aad: Uint8Array;
    plain: Uint8Array;
  }): Uint8Array;
  /** Undoes `sealAesGcm`. Throws `corrupt`. */
  openAesGcm(options: { key: Uint8Array; aad: Uint8Array; sealed: Uint8Array }): Uint8Array;
}

export type AlgorithmKind = "hash" | "encryption" | "key-derivation";

// spec §3.3
const AEAD_OF_ENCRYPTION: ReadonlyMap<string, AeadName> = new Map<string, AeadName>([
  ["AES256-GCM-HMAC-SHA256", "aes-256-gcm"],
  ["CHACHA20-POLY1305-HMAC-SHA256", "chacha20-poly1305"],
]);

/** The two content ciphers that Kopia registers. */
export const ENCRYPTION_NAMES: readonly string[] = [...AEAD_OF_ENCRYPTION.keys()];
/** The two ways from password to key that Kopia registers; the first is its default. */
export const KEY_DERIVATION_NAMES: readonly string[] = ["scrypt-65536-8-1", "pbkdf2-sha256-600000"];

export interface OpenCryptoOptions {
  /** Left out: native, node, WASM, noble, as far as they exist here. */
  readonly providers?: readonly CryptoProvider[] | undefined;
  /**
   * Which hashes will be used much; left out means all. Every name can be used whatever this says; what is not named may be
   * slower, and opening takes 20 ms instead of 150.
   */
  readonly hashes?: readonly string[] | undefined;
}

/** Opens the providers and puts them behind one door. */
export async function openCrypto(options: OpenCryptoOptions = {}): Promise<Crypto> {
  return createCrypto(options.providers ?? (await automaticProviders(options.hashes)));
}

/** {@link openCrypto} for those who begin by deriving a key: what hashes data is loaded meanwhile. */
export async function openKeyCrypto(): Promise<Crypto> {
  const node = await openNode();
  if (node === undefined) {
    return await openCrypto({ hashes: [] });
  }
  const first = createCrypto([node]);
  let all = first;
  return {
    ...first,
    hasher: (name, secret) => all.hasher(name, secret),
    deriveKey: async (name, password, salt) => {
      const key = first.deriveKey(name, password, salt);
      key.catch(() => {}); // whoever waits below is told
      all = await openCrypto({ hashes: [] });
      return await key;
    },
  };
}

async function automaticProviders(
  hashes: readonly string[] | undefined,
): Promise<readonly CryptoProvider[]> {
  // The first two do not exist in a browser build, and WASM may be forbidden: noble is always there.
  const node = await openNode();
  const large = await openNative(undefined);
  const unknown = namesUnknownTo([large, node]);
  const wasmHashes = (hashes ?? HASH_NAMES).filter(isFasterInWasm);
  const needed = unknown.length > 0 || hashes === undefined ? HASH_NAMES : wasmHashes;
  const oracle = large ?? (needed.length > 0 ? await openNoble() : undefined);
  const wasm =
    oracle === undefined || needed.length === 0
      ? undefined // not even loaded, which takes 50 ms
      : await ifPresent(async () =>
          (await import("./wasm-provider.ts")).openWasmProvider({ oracle, hashes: needed }),
        );
  const native = wasm === undefined ? large : await openNative(wasm);
  const isCovered = namesUnknownTo([native, node, wasm]).length === 0;
  const noble = isCovered && hashes !== undefined ? undefined : await openNoble();
  return [native, node, wasm, noble].filter((provider) => provider !== undefined);
}

/** Native code takes longer than WASM to begin a short BLAKE2 message; see the native provider. */
function isFasterInWasm(hash: string): boolean {
  return hash.startsWith("BLAKE2");
}

function namesUnknownTo(providers: readonly (CryptoProvider | undefined)[]): readonly string[] {
  const kinds: readonly AlgorithmKind[] = ["hash", "encryption", "key-derivation"];
  return kinds.flatMap((kind) =>
    NAMES[kind].filter((name) =>
      providers.every((provider) => provider === undefined || !lookup(kind, name)(provider)),
    ),
  );
}

async function openNode(): Promise<CryptoProvider | undefined> {
  return ifPresent(async () => (await import("./node-provider.ts")).createNodeProvider());
}

async function openNative(small: CryptoProvider | undefined): Promise<CryptoProvider | undefined> {
  return ifPresent(async () =>
    (await import("./native-provider.ts")).openNativeProvider({ small }),
  );
}

async function openNoble(): Promise<CryptoProvider> {
  return (await import("./noble-provider.ts")).createNobleProvider();
}

async function ifPresent<T>(open: () => Promise<T>): Promise<T | undefined> {
  try {
    return await open();
  } catch {
    return undefined; // not for this platform; `Crypto.providers` tells
  }
}

function createCrypto(providers: readonly CryptoProvider[]): Crypto {
  const hasher = (name: string, secret: Uint8Array): Hasher =>
    pick(providers, { kind: "hash", name }, (provider) => provider.hasher(name, secret)).found;
  const hmacSha256 = (key: Uint8Array, data: Uint8Array): Uint8Array =>
    hasher("HMAC-SHA256", key).hash(data);
  const hkdfSha256: Crypto["hkdfSha256"] = (options) => hkdf(hmacSha256, options);
  const aesGcm = (): Aead =>
    pick(providers, { kind: "encryption", name: "AES256-GCM-HMAC-SHA256" }, (provider) =>
      provider.aead("aes-256-gcm"),
    ).found;
  return {
    providers: providers.map((provider) => provider.name),
    hasher,
    cipher(name, { masterKey, randomBytes }) {
      const { found: aead } = pick(providers, { kind: "encryption", name }, aeadLookup(name));
      // spec §2.2: the word is the salt, there is no info
      const secret = hkdfSha256({
        ikm: masterKey,
        salt: utf8("encryption"),
        info: new Uint8Array(0),
        length: 32,
      });
      const shortKey = createShortHmac(secret);
      const longKey = hasher("HMAC-SHA256", secret);
      const keyOf = (iv: Uint8Array): Uint8Array =>
        iv.length <= MAX_SHORT_MESSAGE ? shortKey(iv) : longKey.hash(iv);
      return createCipher(aead, { keyOf, randomBytes });
    },
    async deriveKey(name, password, salt) {
      const { found: derive } = pick(providers, { kind: "key-derivation", name }, (provider) =>
        provider.keyDerivation(name),
      );
      return derive(password, salt);
    },
    providerOf: (kind, name) => pick(providers, { kind, name }, lookup(kind, name)).provider,
    hmacSha256,
    hkdfSha256,
    sealAesGcm: (options) => aesGcm().seal(options),
    openAesGcm: (options) => aesGcm().open(options),
  };
}

/** Spec §3.3: every iv has a key of its own, one HMAC away, and is authenticated as well. */
function createCipher(
  aead: Aead,
  options: { keyOf: (iv: Uint8Array) => Uint8Array; randomBytes: RandomBytes },
): Cipher {
  const { keyOf, randomBytes } = options;
  return {
    overhead: AEAD_OVERHEAD,
    seal: (plain, iv) =>
      aead.seal({ key: keyOf(iv), nonce: randomBytes(NONCE_SIZE), aad: iv, plain }),
    sealInto(target, plain, iv) {
      aead.seal({ key: keyOf(iv), nonce: randomBytes(NONCE_SIZE), aad: iv, plain, target });
    },
    open: (sealed, iv, options) =>
      aead.open({ key: keyOf(iv), aad: iv, sealed, inPlace: options?.inPlace }),
  };
}

/** RFC 5869. */
function hkdf(
  hmac: (key: Uint8Array, data: Uint8Array) => Uint8Array,
  options: { ikm: Uint8Array; salt: Uint8Array; info: Uint8Array; length: number },
): Uint8Array {
  const { ikm, salt, info, length } = options;
  assert(length <= 255 * 32, "HKDF-SHA256 gives at most 8160 bytes");
  const pseudorandomKey = hmac(salt, ikm);
  const blocks: Uint8Array[] = [];
  let block: Uint8Array = new Uint8Array(0);
  for (let counter = 1; blocks.length * 32 < length; counter++) {
    block = hmac(pseudorandomKey, concatBytes([block, info, Uint8Array.of(counter)]));
    blocks.push(block);
  }
  return concatBytes(blocks).slice(0, length);
}

type Lookup<T> = (provider: CryptoProvider) => T | undefined;

function pick<T>(
  providers: readonly CryptoProvider[],
  algorithm: { kind: AlgorithmKind; name: string },
  lookup: Lookup<T>,
): { found: T; provider: string } {
  for (const provider of providers) {
    const found = lookup(provider);
    if (found !== undefined) {
      return { found, provider: provider.name };
    }
  }
  const { kind, name } = algorithm;
  throw new VarveError(
    "format-unsupported",
    `no ${kind} algorithm ${JSON.stringify(name.slice(0, 100))}: known are ${NAMES[kind].join(", ")}`,
  );
}

const NAMES: Readonly<Record<AlgorithmKind, readonly string[]>> = {
  hash: HASH_NAMES,
  encryption: ENCRYPTION_NAMES,
  "key-derivation": KEY_DERIVATION_NAMES,
};

function lookup(kind: AlgorithmKind, name: string): Lookup<Hasher | Aead | KeyDerivation> {
  if (kind === "hash") {
    return (provider) => provider.hasher(name, new Uint8Array(32));
  }
  return kind === "encryption" ? aeadLookup(name) : (provider) => provider.keyDerivation(name);
}

function aeadLookup(name: string): Lookup<Aead> {
  const aead = AEAD_OF_ENCRYPTION.get(name);
  return (provider) => (aead === undefined ? undefined : provider.aead(aead));
}
