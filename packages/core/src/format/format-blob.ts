import { concatBytes, equalBytes, fromBase64, toBase64, utf8 } from "../base/bytes.ts";
import type { Environment } from "../base/environment.ts";
import { isVarveError, VarveError } from "../base/errors.ts";
import { encodeJson, JsonRecord, parseJson } from "../base/json.ts";
import { AEAD_OVERHEAD } from "../crypto/aead.ts";
import { type Crypto, KEY_DERIVATION_NAMES } from "../crypto/registry.ts";
import { DEFAULT_KOPIA_SPLITTER } from "../splitter/registry.ts";
import { decodeBlobConfig, openWithFormatKey, sealWithFormatKey } from "./blob-config.ts";
import type { DerivedKey, EpochParameters, RepositoryFormat, RequiredFeature } from "./format.ts";
import {
  DEFAULT_EPOCHS,
  DEFAULT_MAX_PACK_SIZE,
  innerFormatJson,
  NO_EPOCHS,
  parseInnerFormat,
} from "./format-json.ts";
import { checkReadable, checkWritable } from "./format-rules.ts";
import { isJsonObject, mergeJson } from "./merge-json.ts";

/**
 * The format blob `kopia.repository` (spec §2): a JSON document that says how to make a key of the password, and
 * holds, encrypted with it, the keys and parameters of the repository. Pure functions on bytes; `format-store.ts`
 * reads and writes them.
 */

export interface FormatDeps {
  readonly crypto: Crypto;
  readonly environment: Environment;
}

export interface CreateFormatOptions {
  /** Not empty. */
  readonly password: string;
  /** Default `BLAKE3-256-128`. */
  readonly hash?: string | undefined;
  /** Default `AES256-GCM-HMAC-SHA256`. */
  readonly encryption?: string | undefined;
  /** A name Kopia knows, default `DYNAMIC-4M-BUZHASH`. */
  readonly splitter?: string | undefined;
  /** Default none; not with version 1. */
  readonly ecc?: RepositoryFormat["ecc"];
  /** 1, 2 or 3 (the default). */
  readonly version?: number | undefined;
  /** 10 to 120 MiB, default 20. */
  readonly maxPackSizeBytes?: number | undefined;
  /** Default `scrypt-65536-8-1`. */
  readonly keyDerivation?: string | undefined;
  readonly epochs?: Partial<EpochParameters> | undefined;
  readonly retention?: RepositoryFormat["retention"];
}

/** A new format with new keys, not stored yet. Throws `invalid-argument` for what Kopia would refuse or fail with. */
export async function createFormat(
  options: CreateFormatOptions,
  deps: FormatDeps,
): Promise<RepositoryFormat> {
  const { version = 3, ecc, retention } = options;
  const isLegacy = version === 1;
  const random = (size: number): Uint8Array => deps.environment.randomBytes(size);
  const format = {
    version,
    uniqueId: random(32),
    keyDerivation: options.keyDerivation ?? "scrypt-65536-8-1",
    hash: options.hash ?? "BLAKE3-256-128",
    encryption: options.encryption ?? "AES256-GCM-HMAC-SHA256",
    ecc,
    secret: random(32),
    masterKey: random(32),
    maxPackSize: options.maxPackSizeBytes ?? DEFAULT_MAX_PACK_SIZE,
    // spec §2.4: what follows from the version at creation, and from then on stands for itself
    indexVersion: isLegacy ? 1 : 2,
    epochs: { ...(isLegacy ? NO_EPOCHS : DEFAULT_EPOCHS), ...options.epochs },
    enablePasswordChange: !isLegacy,
    splitter: options.splitter ?? DEFAULT_KOPIA_SPLITTER,
    requiredFeatures: [],
    retention,
    rawFormatBlob: new Uint8Array(0),
  };
  checkWritable(format);
  checkNewPassword(options.password);
  return { ...format, formatKey: await deriveFormatKey(format, options.password, deps.crypto) };
}

/** The blob `kopia.repository` for `format`, under a new nonce. */
export function encodeFormatBlob(format: RepositoryFormat, deps: FormatDeps): Uint8Array {
  const { outer, inner } = format.stored ?? {};
  const plain = encodeJson(innerFormatJson(format, inner));
  const json = mergeJson(outer ?? NEW_OUTER, {
    uniqueID: toBase64(format.uniqueId),
    keyAlgo: format.keyDerivation,
    encryption: OUTER_ENCRYPTION,
    encryptedBlockFormat: toBase64(sealWithFormatKey(plain, format, deps)),
  });
  return concatBytes([encodeJson(json, { indent: 2 }), utf8("\n")]);
}

const OUTER_ENCRYPTION = "AES256_GCM";
const MIN_UNIQUE_ID_SIZE = 16;
const NEW_OUTER = { tool: "varve", buildVersion: "", buildInfo: "" };
const WHAT = "kopia.repository";

export interface UnlockOptions {
  readonly password: string;
  /** Of this password: used as long as it is of this repository and opens the blob, else another is derived. */
  readonly known?: DerivedKey | undefined;
  readonly crypto: Crypto;
  /** Called once a key is being derived, elsewhere than in this thread. */
  readonly onDeriving?: (() => void) | undefined;
}

/**
 * Parses and decrypts `kopia.repository` and, if there is one, `kopia.blobcfg`; damage of the latter is told in the result.
 * Throws `corrupt` for bytes that are no such thing, `wrong-password`, and `format-unsupported` naming the version, algorithm or feature that is not known.
 */
export async function unlockFormat(
  formatBlob: Uint8Array,
  options: UnlockOptions & { readonly blobConfig?: Uint8Array | undefined },
): Promise<RepositoryFormat> {
  const { crypto, blobConfig } = options;
  const outer = parseOuter(formatBlob);
  const { formatKey, plain } =
    openWithKnownKey(outer, options) ?? (await openWithPassword(outer, options));
  const keys = { formatKey, uniqueId: outer.uniqueId };
  const innerJson = parseJson(plain, WHAT);
  const inner = parseInnerFormat(innerJson);
  checkReadable(inner, crypto);
  const config = blobConfig && openBlobConfig(blobConfig, keys, crypto);
  return {
    ...inner,
    ...keys,
    keyDerivation: outer.keyDerivation,
    retention: config?.retention,
    blobConfigDamage: config?.damage,
    rawFormatBlob: formatBlob.slice(),
    stored: {
      outer: outer.json,
      inner: isJsonObject(innerJson) ? innerJson : undefined,
      blobConfig: config?.json,
    },
  };
}

/** The same repository under another password. Throws `corrupt` while `kopia.blobcfg` is damaged, and `unsupported` where packs hold copies of the format blob (version 1). */
export async function withPassword(
  format: RepositoryFormat,
  newPassword: string,
  crypto: Crypto,
): Promise<RepositoryFormat> {
  if (!format.enablePasswordChange) {
    throw new VarveError("unsupported", "the password of this repository cannot be changed");
  }
  requireBlobConfig(format);
  checkNewPassword(newPassword);
  return { ...format, formatKey: await deriveFormatKey(format, newPassword, crypto) };
}

export interface ParameterChanges {
  readonly maxPackSizeBytes?: number | undefined;
  readonly indexVersion?: number | undefined;
  readonly epochs?: Partial<EpochParameters> | undefined;
  /** `null` turns it off. */
  readonly retention?: RepositoryFormat["retention"] | null;
  readonly requiredFeatures?: readonly RequiredFeature[] | undefined;
}

/** The same repository with other parameters for what is written from now on. Throws `invalid-argument` as {@link createFormat} does, and `corrupt` while `kopia.blobcfg` is damaged unless `retention` is among the changes. */
export function withParameters(
  format: RepositoryFormat,
  changes: ParameterChanges,
): RepositoryFormat {
  const { retention } = changes;
  if (retention === undefined) {
    requireBlobConfig(format);
  }
  const changed = {
    ...format,
    blobConfigDamage: undefined,
    maxPackSize: changes.maxPackSizeBytes ?? format.maxPackSize,
    indexVersion: changes.indexVersion ?? format.indexVersion,
    epochs: { ...format.epochs, ...changes.epochs },
    retention: retention === undefined ? format.retention : (retention ?? undefined),
    requiredFeatures: changes.requiredFeatures ?? format.requiredFeatures,
  };
  checkWritable(changed);
  return changed;
}

interface OuterFormat {
  readonly uniqueId: Uint8Array;
  readonly keyDerivation: string;
  readonly sealed: Uint8Array;
  readonly json: Readonly<Record<string, unknown>>;
}

/** Spec §2.1. */
function parseOuter(formatBlob: Uint8Array): OuterFormat {
  const json = parseJson(formatBlob, WHAT);
  const record = new JsonRecord(json, WHAT);
  const uniqueId = fromBase64(record.requireString("uniqueID"));
  const keyDerivation = record.requireString("keyAlgo");
  const encryption = record.requireString("encryption");
  const sealed = fromBase64(record.requireString("encryptedBlockFormat"));
  if (uniqueId.length < MIN_UNIQUE_ID_SIZE || sealed.length < AEAD_OVERHEAD) {
    throw new VarveError("corrupt", `${WHAT}: uniqueID or encryptedBlockFormat is too short`);
  }
  const isKnown = encryption === OUTER_ENCRYPTION && KEY_DERIVATION_NAMES.includes(keyDerivation);
  if (!isKnown) {
    const names = JSON.stringify([encryption.slice(0, 100), keyDerivation.slice(0, 100)]);
    throw new VarveError("format-unsupported", `${WHAT}: encryption and key derivation ${names}`);
  }
  return { uniqueId, keyDerivation, sealed, json: isJsonObject(json) ? json : {} };
}

interface OpenedInner {
  readonly formatKey: Uint8Array;
  readonly plain: Uint8Array;
}

/** `undefined` when the key is of another repository or derivation, and when the password was changed elsewhere. */
function openWithKnownKey(
  { sealed, uniqueId, keyDerivation }: OuterFormat,
  { known, crypto }: UnlockOptions,
): OpenedInner | undefined {
  if (known?.keyDerivation !== keyDerivation || !equalBytes(known.uniqueId, uniqueId)) {
    return undefined;
  }
  const { formatKey } = known;
  try {
    return { formatKey, plain: openWithFormatKey(sealed, { formatKey, uniqueId }, crypto) };
  } catch (error) {
    if (isVarveError(error, "corrupt")) {
      return undefined;
    }
    throw error;
  }
}

async function openWithPassword(
  outer: OuterFormat,
  { password, crypto, onDeriving }: UnlockOptions,
): Promise<OpenedInner> {
  const deriving = deriveFormatKey(outer, password, crypto);
  onDeriving?.();
  const formatKey = await deriving;
  const { sealed, uniqueId } = outer;
  try {
    return { formatKey, plain: openWithFormatKey(sealed, { formatKey, uniqueId }, crypto) };
  } catch (cause) {
    if (!isVarveError(cause, "corrupt")) {
      throw cause;
    }
    throw new VarveError(
      "wrong-password",
      "the password does not open this repository (or kopia.repository is damaged, and can be repaired)",
      { cause },
    );
  }
}

function openBlobConfig(
  blobConfig: Uint8Array,
  keys: { formatKey: Uint8Array; uniqueId: Uint8Array },
  crypto: Crypto,
): Partial<ReturnType<typeof decodeBlobConfig>> & { readonly damage?: VarveError } {
  try {
    return decodeBlobConfig(blobConfig, keys, crypto);
  } catch (cause) {
    if (!isVarveError(cause, "corrupt")) {
      throw cause;
    }
    const damage = new VarveError(
      "corrupt",
      "kopia.blobcfg does not open with the key that opens kopia.repository: it is damaged, or a change of password was cut short; set the retention mode anew",
      { cause },
    );
    return { damage };
  }
}

/** What cannot be read must not be written as if it were off. */
function requireBlobConfig({ blobConfigDamage }: RepositoryFormat): void {
  if (blobConfigDamage !== undefined) {
    throw blobConfigDamage;
  }
}

function checkNewPassword(password: string): void {
  if (password === "") {
    throw new VarveError("invalid-argument", "a repository needs a password that is not empty");
  }
}

async function deriveFormatKey(
  format: { readonly keyDerivation: string; readonly uniqueId: Uint8Array },
  password: string,
  crypto: Crypto,
): Promise<Uint8Array> {
  return await crypto.deriveKey(format.keyDerivation, password, format.uniqueId);
}
