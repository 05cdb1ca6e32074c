import { fromBase64, toBase64 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { JsonRecord } from "../base/json.ts";
import { formatTimeNs, parseTimeNs } from "../base/time.ts";
import type {
  EpochParameters,
  JsonObject,
  RepositoryFormat,
  RequiredFeature,
  UpgradeLock,
} from "./format.ts";
import { isJsonObject, mergeJson } from "./merge-json.ts";

/** The encrypted half of the format blob as JSON (spec §2.4): field by field, no judgement of what they say. */

/** What the encrypted JSON says; the rest of a {@link RepositoryFormat} comes from around it. */
export type InnerFormat = Pick<
  RepositoryFormat,
  | "version"
  | "hash"
  | "encryption"
  | "ecc"
  | "secret"
  | "masterKey"
  | "maxPackSize"
  | "indexVersion"
  | "epochs"
  | "enablePasswordChange"
  | "splitter"
  | "upgradeLock"
  | "requiredFeatures"
>;

/** Spec §4.5. */
export const DEFAULT_EPOCHS: EpochParameters = {
  enabled: true,
  refreshFrequencyMs: 20 * 60_000,
  fullCheckpointFrequency: 7,
  cleanupSafetyMarginMs: 4 * 3_600_000,
  minEpochDurationMs: 24 * 3_600_000,
  advanceOnCountThreshold: 20,
  advanceOnTotalSizeBytesThreshold: 10 * 1024 * 1024,
  deleteParallelism: 4,
};

/** What version 1 stores. */
export const NO_EPOCHS: EpochParameters = {
  enabled: false,
  refreshFrequencyMs: 0,
  fullCheckpointFrequency: 0,
  cleanupSafetyMarginMs: 0,
  minEpochDurationMs: 0,
  advanceOnCountThreshold: 0,
  advanceOnTotalSizeBytesThreshold: 0,
  deleteParallelism: 0,
};

export const DEFAULT_MAX_PACK_SIZE = 20_971_520;
const NS_PER_MS = 1_000_000;

/** Throws `corrupt` for members that are missing or of a wrong type. */
export function parseInnerFormat(json: unknown): InnerFormat {
  const format = new JsonRecord(json, "format blob").requireRecord("format");
  const overheadPercent = format.integer("eccOverheadPercent") ?? 0;
  const algorithm = format.string("ecc") ?? "";
  return {
    version: format.requireInteger("version"),
    hash: format.requireString("hash"),
    encryption: format.requireString("encryption"),
    ecc: algorithm !== "" && overheadPercent > 0 ? { algorithm, overheadPercent } : undefined,
    secret: bytes(format, "secret"),
    masterKey: bytes(format, "masterKey"),
    // Zero means what it meant before the field was there (spec §2.4).
    maxPackSize: count(format, "maxPackSize") || DEFAULT_MAX_PACK_SIZE,
    indexVersion: count(format, "indexVersion") || 1,
    epochs: parseEpochs(format.record("epochParameters")),
    enablePasswordChange: format.boolean("enablePasswordChange") ?? false,
    splitter: format.string("splitter") || "FIXED",
    upgradeLock: parseUpgradeLock(format.record("upgradeLock")),
    requiredFeatures: (format.records("requiredFeatures") ?? []).map(parseRequiredFeature),
  };
}

/** The JSON of `format`, with what else `stored` says. */
export function innerFormatJson(format: InnerFormat, stored: JsonObject | undefined): JsonObject {
  const storedFormat = new JsonRecord(stored ?? {}, "format blob").raw("format");
  const ours = {
    hash: format.hash,
    encryption: format.encryption,
    ecc: format.ecc?.algorithm,
    eccOverheadPercent: format.ecc?.overheadPercent,
    secret: toBase64(format.secret),
    masterKey: toBase64(format.masterKey),
    version: format.version,
    maxPackSize: format.maxPackSize,
    indexVersion: format.indexVersion,
    epochParameters: epochsJson(format.epochs),
    enablePasswordChange: format.enablePasswordChange,
    splitter: format.splitter,
    upgradeLock: format.upgradeLock && upgradeLockJson(format.upgradeLock),
    requiredFeatures: requiredFeaturesJson(format.requiredFeatures, storedFormat),
  };
  return mergeJson(stored, { format: ours });
}

function parseEpochs(record: JsonRecord | undefined): EpochParameters {
  if (record === undefined) {
    return NO_EPOCHS;
  }
  const enabled = record.boolean("Enabled") ?? false;
  const fallback = enabled ? DEFAULT_EPOCHS : NO_EPOCHS;
  const durationMs = (key: string, fallbackMs: number): number =>
    count(record, key) / NS_PER_MS || fallbackMs;
  const number = (key: string, otherwise: number): number => count(record, key) || otherwise;
  return {
    enabled,
    refreshFrequencyMs: durationMs("EpochRefreshFrequency", fallback.refreshFrequencyMs),
    fullCheckpointFrequency: number("FullCheckpointFrequency", fallback.fullCheckpointFrequency),
    cleanupSafetyMarginMs: durationMs("CleanupSafetyMargin", fallback.cleanupSafetyMarginMs),
    minEpochDurationMs: durationMs("MinEpochDuration", fallback.minEpochDurationMs),
    advanceOnCountThreshold: number(
      "EpochAdvanceOnCountThreshold",
      fallback.advanceOnCountThreshold,
    ),
    advanceOnTotalSizeBytesThreshold: number(
      "EpochAdvanceOnTotalSizeBytesThreshold",
      fallback.advanceOnTotalSizeBytesThreshold,
    ),
    deleteParallelism: number("DeleteParallelism", fallback.deleteParallelism),
  };
}

function epochsJson(epochs: EpochParameters): JsonObject {
  return {
    Enabled: epochs.enabled,
    EpochRefreshFrequency: nanoseconds(epochs.refreshFrequencyMs),
    FullCheckpointFrequency: epochs.fullCheckpointFrequency,
    CleanupSafetyMargin: nanoseconds(epochs.cleanupSafetyMarginMs),
    MinEpochDuration: nanoseconds(epochs.minEpochDurationMs),
    EpochAdvanceOnCountThreshold: epochs.advanceOnCountThreshold,
    EpochAdvanceOnTotalSizeBytesThreshold: epochs.advanceOnTotalSizeBytesThreshold,
    DeleteParallelism: epochs.deleteParallelism,
  };
}

function parseUpgradeLock(record: JsonRecord | undefined): UpgradeLock | undefined {
  return (
    record && {
      ownerId: record.string("ownerID") ?? "",
      creationTimeNs: parseTimeNs(record.requireString("creationTime")),
      advanceNoticeMs: count(record, "advanceNoticeDuration") / NS_PER_MS,
      ioDrainTimeoutMs: count(record, "ioDrainTimeout") / NS_PER_MS,
      maxPermittedClockDriftMs: count(record, "maxPermittedClockDrift") / NS_PER_MS,
      message: record.string("message") ?? "",
    }
  );
}

function upgradeLockJson(lock: UpgradeLock): JsonObject {
  return {
    ownerID: lock.ownerId,
    creationTime: formatTimeNs(lock.creationTimeNs),
    advanceNoticeDuration: nanoseconds(lock.advanceNoticeMs),
    ioDrainTimeout: nanoseconds(lock.ioDrainTimeoutMs),
    message: lock.message,
    maxPermittedClockDrift: nanoseconds(lock.maxPermittedClockDriftMs),
  };
}

function parseRequiredFeature(record: JsonRecord): RequiredFeature {
  const ifNotUnderstood = record.record("ifNotUnderstood");
  return {
    feature: record.requireString("feature"),
    warnOnly: ifNotUnderstood?.boolean("warn") ?? false,
    message: ifNotUnderstood?.string("message") ?? "",
  };
}

function requiredFeaturesJson(
  features: readonly RequiredFeature[],
  storedFormat: unknown,
): readonly JsonObject[] | undefined {
  const list: unknown = isJsonObject(storedFormat) ? storedFormat["requiredFeatures"] : undefined;
  const stored = Array.isArray(list) ? list.filter(isJsonObject) : [];
  const json = features.map(({ feature, warnOnly, message }) =>
    mergeJson(
      stored.find((item) => item["feature"] === feature),
      { feature, ifNotUnderstood: { warn: warnOnly, message } },
    ),
  );
  return json.length > 0 ? json : undefined;
}

function bytes(record: JsonRecord, key: string): Uint8Array {
  return fromBase64(record.string(key) ?? "");
}

/** A number that is not negative; 0 when it is missing. */
export function count(record: JsonRecord, key: string): number {
  const value = record.integer(key) ?? 0;
  if (value < 0) {
    throw new VarveError("corrupt", `${record.what}: ${key} is negative`);
  }
  return value;
}

/** Milliseconds carry the sub-millisecond part as a fraction, so that a round trip is exact. */
export function nanoseconds(ms: number): number {
  return Math.round(ms * NS_PER_MS);
}
