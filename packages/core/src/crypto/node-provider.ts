import {
  type CipherChaCha20Poly1305,
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createHmac,
  type DecipherChaCha20Poly1305,
  type DecipherGCM,
  pbkdf2,
  scrypt,
} from "node:crypto";
import type { Buffer } from "node:buffer";
import { promisify } from "node:util";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { utf8 } from "../base/bytes.ts";
import {
  AEAD_OVERHEAD,
  KEY_SIZE,
  NONCE_SIZE,
  notAuthentic,
  sealedParts,
  TAG_SIZE,
} from "./aead.ts";
import type { Aead, AeadName, CryptoProvider, KeyDerivation } from "./crypto.ts";
import { cutDigest, recipeWithKey } from "./kopia-hash.ts";

/** OpenSSL by way of `node:crypto`: HMACs, both ciphers, both key derivations. It has no keyed BLAKE. */
export function createNodeProvider(): CryptoProvider {
  return {
    name: "node",
    hasher(name, secret) {
      const found = name.startsWith("HMAC-") ? recipeWithKey(name, secret) : undefined;
      if (found === undefined) {
        return undefined;
      }
      const { key, recipe } = found;
      return {
        size: recipe.size,
        hash: (data) =>
          cutDigest(plainView(createHmac(recipe.family, key).update(data).digest()), recipe.size),
      };
    },
    aead: (name) => AEADS[name],
    keyDerivation: (name) => KEY_DERIVATIONS.get(name),
  };
}

/** The same bytes without Buffer's own `slice` and friends. */
function plainView(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

const TAG_OPTION = { authTagLength: TAG_SIZE } as const;

const AEADS: Readonly<Record<AeadName, Aead>> = {
  "aes-256-gcm": createAead({
    // A tag has 16 bytes unless told otherwise, and to look at options takes as long as to make the cipher.
    cipher: (key, nonce) => createCipheriv("aes-256-gcm", key, nonce),
    decipher: (key, nonce) => createDecipheriv("aes-256-gcm", key, nonce, TAG_OPTION),
  }),
  "chacha20-poly1305": createAead({
    cipher: (key, nonce) => createCipheriv("chacha20-poly1305", key, nonce, TAG_OPTION),
    decipher: (key, nonce) => createDecipheriv("chacha20-poly1305", key, nonce, TAG_OPTION),
  }),
};

/** What node:crypto gives is a fresh array; of this length it stays in the processor's cache until it is copied. */
const PIECE_BYTES = 32 * 1024;

const WORD_BYTES = 8;

/** A port whose other end is closed: what is sent there is freed. */
const nowhere = ((): MessagePort => {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  return port1;
})();

/** Frees memory at once, so that malloc gives the same pages again; 30 MB of pieces lie about in each thread before V8 collects them. */
function discard({ buffer, byteLength }: Uint8Array): void {
  // For a short one, that is as much work as encrypting it.
  if (
    byteLength === PIECE_BYTES &&
    buffer instanceof ArrayBuffer &&
    buffer.byteLength === PIECE_BYTES
  ) {
    const gone = [buffer];
    nowhere.postMessage(undefined, gone);
  }
}

function createAead(open: {
  cipher(key: Uint8Array, nonce: Uint8Array): CipherGCM | CipherChaCha20Poly1305;
  decipher(key: Uint8Array, nonce: Uint8Array): DecipherGCM | DecipherChaCha20Poly1305;
}): Aead {
  return {
    seal({ key, nonce, aad, plain, target = new Uint8Array(plain.length + AEAD_OVERHEAD) }) {
      const cipher = open.cipher(key, nonce);
      cipher.setAAD(aad, { plaintextLength: plain.length });
      target.set(nonce);
      updateInto(target.subarray(NONCE_SIZE), cipher, plain);
      cipher.final();
      target.set(cipher.getAuthTag(), NONCE_SIZE + plain.length);
      return target;
    },
    open({ key, aad, sealed, inPlace = false }) {
      const { nonce, body, tag } = sealedParts(sealed);
      const decipher = open.decipher(key, nonce);
      decipher.setAAD(aad, { plaintextLength: body.length });
      decipher.setAuthTag(tag);
      const plain = inPlace ? updateInto(body, decipher, body) : decipher.update(body);
      try {
        decipher.final();
      } catch (cause) {
        throw notAuthentic(sealed, cause);
      }
      return plainView(plain);
    },
  };
}

/**
 * What the cipher makes of `from`, at the beginning of `target`, which may be `from` itself. node:crypto cannot write into memory of ours, so it is
 * copied once: in pieces that stay in the cache and cost no fresh page.
 */
function updateInto(
  target: Uint8Array,
  cipher: { update(data: Uint8Array): Uint8Array },
  from: Uint8Array,
): Uint8Array {
  let end = firstPieceBytes(target);
  for (let start = 0; start < from.length; start = end, end += PIECE_BYTES) {
    const piece = cipher.update(from.subarray(start, end));
    target.set(piece, start);
    discard(piece);
  }
  return target;
}

/** V8 copies to shared memory by words only where they are aligned, else byte by byte: up to the next word. */
function firstPieceBytes({ buffer, byteOffset }: Uint8Array): number {
  return buffer instanceof ArrayBuffer ? PIECE_BYTES : WORD_BYTES - (byteOffset % WORD_BYTES);
}

const SCRYPT_COST = { N: 65_536, r: 8, p: 1 } as const;
// scrypt needs 128·N·r bytes and a little, above Node's default limit of 32 MiB.
const SCRYPT_MEMORY_BYTES = 128 * SCRYPT_COST.N * SCRYPT_COST.r + 1024 * 1024;

const scryptAsync = promisify<Uint8Array, Uint8Array, number, object, Buffer>(scrypt);
const pbkdf2Async = promisify(pbkdf2);

// spec §2.2
const KEY_DERIVATIONS: ReadonlyMap<string, KeyDerivation> = new Map<string, KeyDerivation>([
  [
    "scrypt-65536-8-1",
    async (password, salt) =>
      plainView(
        await scryptAsync(utf8(password), salt, KEY_SIZE, {
          ...SCRYPT_COST,
          maxmem: SCRYPT_MEMORY_BYTES,
        }),
      ),
  ],
  [
    "pbkdf2-sha256-600000",
    async (password, salt) =>
      plainView(await pbkdf2Async(utf8(password), salt, 600_000, KEY_SIZE, "sha256")),
  ],
]);
