import type { Environment } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import { encodeJson, JsonRecord, parseJson } from "../base/json.ts";
import { NONCE_SIZE } from "../crypto/aead.ts";
import { deriveFormatKeys } from "../crypto/derived-keys.ts";
import type { Crypto } from "../crypto/registry.ts";
import type { BlobRetention, JsonObject, RepositoryFormat } from "./format.ts";
import { count, nanoseconds } from "./format-json.ts";
import { isJsonObject, mergeJson } from "./merge-json.ts";

/** `kopia.blobcfg`: object lock settings, encrypted with the key of the format blob (spec §2.7). */

const WHAT = "blob configuration";
const MODES: Readonly<Record<string, BlobRetention["mode"]>> = {
  GOVERNANCE: "governance",
  COMPLIANCE: "compliance",
  Locked: "locked",
};
const NS_PER_MS = 1_000_000;

export type FormatKeyParts = Pick<RepositoryFormat, "formatKey" | "uniqueId">;

/** The blob for `format`, under a new nonce. */
export function encodeBlobConfig(
  format: FormatKeyParts & Pick<RepositoryFormat, "retention" | "stored">,
  deps: { readonly crypto: Crypto; readonly environment: Environment },
): Uint8Array {
  const { retention, stored } = format;
  const json = mergeJson(stored?.blobConfig, {
    retentionMode: Object.keys(MODES).find((name) => MODES[name] === retention?.mode),
    retentionPeriod: retention && nanoseconds(retention.periodMs),
  });
  return sealWithFormatKey(encodeJson(json), format, deps);
}

/** Throws `corrupt` when the blob was not sealed with this key or is damaged, `format-unsupported` for an unknown mode. */
export function decodeBlobConfig(
  blob: Uint8Array,
  keys: FormatKeyParts,
  crypto: Crypto,
): { retention: BlobRetention | undefined; json: JsonObject } {
  const json = parseJson(openWithFormatKey(blob, keys, crypto), WHAT);
  const record = new JsonRecord(json, WHAT);
  const name = record.string("retentionMode") ?? "";
  const periodMs = count(record, "retentionPeriod") / NS_PER_MS;
  const mode = MODES[name];
  const isOn = name !== "" && periodMs > 0;
  if (isOn && mode === undefined) {
    throw new VarveError(
      "format-unsupported",
      `this repository needs retention mode ${JSON.stringify(name.slice(0, 100))}`,
    );
  }
  return {
    retention: isOn && mode !== undefined ? { mode, periodMs } : undefined,
    json: isJsonObject(json) ? json : {},
  };
}

/** `nonce || ciphertext || tag` with the keys of spec §2.3. */
export function sealWithFormatKey(
  plain: Uint8Array,
  keys: FormatKeyParts,
  deps: { readonly crypto: Crypto; readonly environment: Environment },
): Uint8Array {
  const { crypto, environment } = deps;
  const nonce = environment.randomBytes(NONCE_SIZE);
  return crypto.sealAesGcm({ ...deriveFormatKeys(crypto, keys), nonce, plain });
}

/** Undoes {@link sealWithFormatKey}. Throws `corrupt`. */
export function openWithFormatKey(
  sealed: Uint8Array,
  keys: FormatKeyParts,
  crypto: Crypto,
): Uint8Array {
  return crypto.openAesGcm({ ...deriveFormatKeys(crypto, keys), sealed });
}
