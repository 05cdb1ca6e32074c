import type { VarveError } from "../base/errors.ts";
import { type BlobId, parseBlobId } from "../blob/store.ts";

export const FORMAT_BLOB: BlobId = parseBlobId("kopia.repository");
export const BLOB_CONFIG: BlobId = parseBlobId("kopia.blobcfg");

/** The repository format: what `kopia.repository` and `kopia.blobcfg` say (spec §2). All byte arrays are secrets but `uniqueId`. */
export interface RepositoryFormat {
  /** 1, 2 or 3. */
  readonly version: number;
  readonly uniqueId: Uint8Array;
  /** Kopia's name, e.g. `scrypt-65536-8-1`. */
  readonly keyDerivation: string;
  readonly hash: string;
  readonly encryption: string;
  /** `REED-SOLOMON-CRC32` with a percentage of 1..100, or nothing. */
  readonly ecc?: { readonly algorithm: string; readonly overheadPercent: number } | undefined;
  readonly secret: Uint8Array;
  readonly masterKey: Uint8Array;
  /** Derived from the password; only needed for the format blobs themselves and, with version 1, for maintenance. */
  readonly formatKey: Uint8Array;
  /** Bytes. */
  readonly maxPackSize: number;
  /** 1 or 2: what index files and local indexes are written as. */
  readonly indexVersion: number;
  readonly epochs: EpochParameters;
  readonly enablePasswordChange: boolean;
  /** A name Kopia knows; the cut of objects whose policy names none. */
  readonly splitter: string;
  readonly upgradeLock?: UpgradeLock | undefined;
  readonly requiredFeatures: readonly RequiredFeature[];
  /** Object lock for new blobs, from `kopia.blobcfg`. */
  readonly retention?: BlobRetention | undefined;
  /** Why `kopia.blobcfg` could not be read: then there may or may not be a retention. */
  readonly blobConfigDamage?: VarveError | undefined;
  /** `kopia.repository` as it lies in storage, empty until it does: version 1 packs start with it (spec §2.5). */
  readonly rawFormatBlob: Uint8Array;
  /** The JSON that was read: rewrites carry on what varve does not know of it. */
  readonly stored?: StoredJson | undefined;
}

/** A key that was derived before, with what it was derived for; a secret as the password is. A format that was read is one. */
export type DerivedKey = Pick<RepositoryFormat, "formatKey" | "uniqueId" | "keyDerivation">;

/** Spec §2.7. */
export interface BlobRetention {
  readonly mode: "governance" | "compliance" | "locked";
  readonly periodMs: number;
}

/** JSON objects as they were parsed: of `kopia.repository`, of what is encrypted in it, of `kopia.blobcfg`. */
export interface StoredJson {
  readonly outer?: JsonObject | undefined;
  readonly inner?: JsonObject | undefined;
  readonly blobConfig?: JsonObject | undefined;
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** Spec §4.5; durations are milliseconds here, nanoseconds in storage. */
export interface EpochParameters {
  readonly enabled: boolean;
  readonly refreshFrequencyMs: number;
  readonly fullCheckpointFrequency: number;
  readonly cleanupSafetyMarginMs: number;
  readonly minEpochDurationMs: number;
  readonly advanceOnCountThreshold: number;
  readonly advanceOnTotalSizeBytesThreshold: number;
  readonly deleteParallelism: number;
}

export interface UpgradeLock {
  readonly ownerId: string;
  readonly creationTimeNs: bigint;
  readonly advanceNoticeMs: number;
  readonly ioDrainTimeoutMs: number;
  readonly maxPermittedClockDriftMs: number;
  readonly message: string;
}

export interface RequiredFeature {
  readonly feature: string;
  readonly warnOnly: boolean;
  readonly message: string;
}
