import { VarveError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import { blake3 } from "@noble/hashes/blake3.js";

/** What a hash name of the format blob means (spec §3.2); every provider builds its hashers from this. */
export interface HashRecipe {
  readonly family: "blake2b" | "blake2s" | "blake3" | HmacFamily;
  /** Digest length that the construction is run with, bytes: a parameter of BLAKE2, so not to be replaced by cutting. */
  readonly digestSize: number;
  /** How much of the digest is kept, bytes. */
  readonly size: number;
}

/** HMAC over the hash of this name. */
export type HmacFamily = "sha224" | "sha256" | "sha3-224" | "sha3-256";

const RECIPES: ReadonlyMap<string, HashRecipe> = new Map<string, HashRecipe>([
  ["BLAKE2B-256-128", { family: "blake2b", digestSize: 32, size: 16 }],
  ["BLAKE2B-256", { family: "blake2b", digestSize: 32, size: 32 }],
  ["BLAKE2S-128", { family: "blake2s", digestSize: 16, size: 16 }],
  ["BLAKE2S-256", { family: "blake2s", digestSize: 32, size: 32 }],
  ["BLAKE3-256", { family: "blake3", digestSize: 32, size: 32 }],
  ["BLAKE3-256-128", { family: "blake3", digestSize: 32, size: 16 }],
  ["HMAC-SHA256", { family: "sha256", digestSize: 32, size: 32 }],
  ["HMAC-SHA256-128", { family: "sha256", digestSize: 32, size: 16 }],
  ["HMAC-SHA224", { family: "sha224", digestSize: 28, size: 28 }],
  ["HMAC-SHA3-224", { family: "sha3-224", digestSize: 28, size: 28 }],
  ["HMAC-SHA3-256", { family: "sha3-256", digestSize: 32, size: 32 }],
]);

/** The eleven names that Kopia registers. */
export const HASH_NAMES: readonly string[] = [...RECIPES.keys()];

const MAX_KEY_SIZE = { blake2b: 64, blake2s: 32 } as const;
const BLAKE3_KEY_SIZE = 32;
const BLAKE3_CONTEXT = "kopia blake3 derived key v1";

/** What `name` stands for; `undefined` for an unknown name. */
export function recipeOf(name: string): HashRecipe | undefined {
  return RECIPES.get(name);
}

/** The recipe of `name` with the key that it takes, a copy; `undefined` for an unknown name. Throws `format-unsupported` when BLAKE2 cannot take so long a secret. */
export function recipeWithKey(
  name: string,
  secret: Uint8Array,
): { recipe: HashRecipe; key: Uint8Array } | undefined {
  const recipe = RECIPES.get(name);
  return recipe && { recipe, key: keyOf(name, recipe, secret) };
}

/** The first `size` bytes of a digest. */
export function cutDigest(digest: Uint8Array, size: number): Uint8Array {
  return digest.length === size ? digest : digest.slice(0, size);
}

function keyOf(name: string, { family }: HashRecipe, secret: Uint8Array): Uint8Array {
  if (family === "blake3") {
    // spec §3.2: a long secret is cut, a short one is key material
    return secret.length >= BLAKE3_KEY_SIZE
      ? secret.slice(0, BLAKE3_KEY_SIZE)
      : blake3(secret, { context: utf8(BLAKE3_CONTEXT), dkLen: BLAKE3_KEY_SIZE });
  }
  const limit = family === "blake2b" || family === "blake2s" ? MAX_KEY_SIZE[family] : Infinity;
  if (secret.length > limit) {
    throw new VarveError(
      "format-unsupported",
      `hash ${name}: secret of ${secret.length} bytes, at most ${limit} are possible`,
    );
  }
  return secret.slice();
}
