import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2b, blake2s } from "@noble/hashes/blake2.js";
import { blake3 } from "@noble/hashes/blake3.js";
import { hmac } from "@noble/hashes/hmac.js";
import { pbkdf2Async } from "@noble/hashes/pbkdf2.js";
import { scryptAsync } from "@noble/hashes/scrypt.js";
import { sha224, sha256 } from "@noble/hashes/sha2.js";
import { sha3_224, sha3_256 } from "@noble/hashes/sha3.js";
import { utf8 } from "../base/bytes.ts";
import { AEAD_OVERHEAD, KEY_SIZE, NONCE_SIZE, notAuthentic, sealedParts } from "./aead.ts";
import type { Aead, AeadName, CryptoProvider, Hasher, KeyDerivation } from "./crypto.ts";
import { cutDigest, type HashRecipe, recipeWithKey } from "./kopia-hash.ts";

/**
 * Everything in plain JavaScript: runs wherever JavaScript runs, and is what the other providers are
 * tested against. Ten to a hundred times slower than they are, so it comes last.
 */
export function createNobleProvider(): CryptoProvider {
  return {
    name: "noble",
    hasher(name, secret) {
      const found = recipeWithKey(name, secret);
      return found && createHasher(found.recipe, found.key);
    },
    aead: (name) => AEADS[name],
    keyDerivation: (name) => KEY_DERIVATIONS.get(name),
  };
}

function createHasher(recipe: HashRecipe, key: Uint8Array): Hasher {
  const digest = digestFunction(recipe, key);
  return { size: recipe.size, hash: (data) => cutDigest(digest(data), recipe.size) };
}

function digestFunction(recipe: HashRecipe, key: Uint8Array): (data: Uint8Array) => Uint8Array {
  switch (recipe.family) {
    case "blake2b":
    case "blake2s": {
      const blake2 = recipe.family === "blake2b" ? blake2b : blake2s;
      // noble refuses an empty key; for BLAKE2 that is the same as none.
      const options = key.length === 0 ? {} : { key };
      return (data) => blake2(data, { ...options, dkLen: recipe.digestSize });
    }
    case "blake3":
      return (data) => blake3(data, { key, dkLen: recipe.digestSize });
    default: {
      const hash = HMAC_HASHES[recipe.family];
      return (data) => hmac(hash, key, data);
    }
  }
}

const HMAC_HASHES = {
  sha224,
  sha256,
  "sha3-224": sha3_224,
  "sha3-256": sha3_256,
} as const;

type NobleCipher = (
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
) => { encrypt(plain: Uint8Array): Uint8Array; decrypt(sealed: Uint8Array): Uint8Array };

const AEADS: Readonly<Record<AeadName, Aead>> = {
  "aes-256-gcm": createAead(gcm),
  "chacha20-poly1305": createAead(chacha20poly1305),
};

function createAead(cipher: NobleCipher): Aead {
  return {
    seal({ key, nonce, aad, plain, target = new Uint8Array(plain.length + AEAD_OVERHEAD) }) {
      target.set(nonce);
      target.set(cipher(key, nonce, aad).encrypt(plain), NONCE_SIZE);
      return target;
    },
    open({ key, aad, sealed }) {
      const opener = cipher(key, sealedParts(sealed).nonce, aad);
      try {
        return opener.decrypt(sealed.subarray(NONCE_SIZE));
      } catch (cause) {
        throw notAuthentic(sealed, cause);
      }
    },
  };
}

// spec §2.2
const KEY_DERIVATIONS: ReadonlyMap<string, KeyDerivation> = new Map<string, KeyDerivation>([
  [
    "scrypt-65536-8-1",
    (password, salt) =>
      scryptAsync(utf8(password), salt, { N: 65_536, r: 8, p: 1, dkLen: KEY_SIZE }),
  ],
  [
    "pbkdf2-sha256-600000",
    (password, salt) => pbkdf2Async(sha256, utf8(password), salt, { c: 600_000, dkLen: KEY_SIZE }),
  ],
]);
