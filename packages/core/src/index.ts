/**
 * The public API of varve: open a blob store, create or open a repository in it, and call the verbs.
 * Everything named here is a promise; adding a name is a decision.
 */

// What every call shares.
export type { CallOptions, Environment, LogEvent } from "./base/environment.ts";
export { systemEnvironment } from "./base/environment.ts";
export type { ErrorCode } from "./base/errors.ts";
export { errorMessage, isVarveError, VarveError } from "./base/errors.ts";
export { formatTimeNs, parseTimeNs } from "./base/time.ts";

// What is kept on this machine between runs.
export type { BlobCache, CacheRange, CacheSource } from "./blob/blob-cache.ts";
export type { CacheFolder, CacheFolderOptions } from "./blob/directory-cache.ts";
export { openCacheFolder } from "./blob/directory-cache.ts";

// Where blobs lie; more for writers of stores in `@varve/core/blob`.
export type { FileSystemStoreOptions } from "./blob/filesystem-store.ts";
export { openFileSystemStore } from "./blob/filesystem-store.ts";
export type { LimitedStore, StoreLimits } from "./blob/limit-store.ts";
export { adaptiveStore } from "./blob/adaptive-store.ts";
export { limitStore } from "./blob/limit-store.ts";
export { createMemoryStore } from "./blob/memory-store.ts";
export type { Meter, RequestKind, Usage } from "./blob/meter.ts";
export { meteredStore } from "./blob/meter.ts";
export { readOnlyStore } from "./blob/read-only-store.ts";
export { retryStore, withRetries } from "./blob/retry-store.ts";
export type { DamagedBlob } from "./blob/damaged-blob.ts";
export type { BlobId, BlobInfo, BlobStore } from "./blob/store.ts";
export { parseBlobId } from "./blob/store.ts";

// The repository.
export type { EpochParameters, RepositoryFormat, RequiredFeature } from "./format/format.ts";
export type { CreateFormatOptions, ParameterChanges } from "./format/format-blob.ts";
export { readRepositoryFormat } from "./format/read-format.ts";
export type { ContentStats, ContentStore } from "./content/content-store.ts";
export type { ContentId } from "./index/content-id.ts";
export { parseContentId } from "./index/content-id.ts";
export type { ContentInfo } from "./index/content-info.ts";
export type { ManifestId, ManifestInfo, ManifestStore, Labels } from "./manifest/manifest-store.ts";
export { parseManifestId } from "./manifest/manifest-store.ts";
export type { ObjectId } from "./object/object-id.ts";
export { parseObjectId } from "./object/object-id.ts";
export type { ObjectReader, ObjectStore } from "./object/object-store.ts";
export { changePassword, setParameters } from "./repository/change-format.ts";
export type { IndexBlobInfo } from "./repository/inspect-blobs.ts";
export { listIndexBlobs, readIndexBlob, readSealedBlob } from "./repository/inspect-blobs.ts";
export type { OpenRepositoryOptions } from "./repository/open-repository.ts";
export { openRepository } from "./repository/open-repository.ts";
export type { RepositoryDamage } from "./repository/damage.ts";
export type { ClientIdentity, Repository } from "./repository/repository.ts";
export type { BlobTotals } from "./blob/delete-blobs.ts";
export type { SyncOptions, SyncReport } from "./repository/sync-blobs.ts";
export { syncBlobs } from "./repository/sync-blobs.ts";

// Snapshots and what is in them.
export type { DiffCounts, Difference, TreeChange } from "./snapshot/diff.ts";
export { DiffTally, diffTrees } from "./snapshot/diff.ts";
export type { DirectoryEntry, DirectorySummary, EntryMeta } from "./snapshot/entry.ts";
export { entryToJson } from "./snapshot/entry-json.ts";
export { findEntry, readDirectory, walkTree } from "./snapshot/read-directory.ts";
export type { Selection } from "./snapshot/select-snapshot.ts";
export { selectSnapshot } from "./snapshot/select-snapshot.ts";
export { snapshotToJson } from "./snapshot/snapshot-json.ts";
export type { Snapshot, SnapshotSource, SnapshotStats } from "./snapshot/snapshot-manifest.ts";
export type { SavedSnapshot, SnapshotFilter, SnapshotList } from "./snapshot/snapshots.ts";
export {
  deleteSnapshot,
  formatSource,
  listSnapshots,
  listSources,
  loadSnapshot,
  parseSource,
  pinSnapshot,
  replaceSnapshot,
} from "./snapshot/snapshots.ts";

// Policies.
export type { CreateRepositoryWithPolicyOptions as CreateRepositoryOptions } from "./policy/create-repository-with-policy.ts";
export {
  createRepositoryWithPolicy as createRepository,
  DEFAULT_SPLITTER,
} from "./policy/create-repository-with-policy.ts";
export { DEFAULT_POLICY, kopiaGlobalPolicyPayload } from "./policy/default-policy.ts";
export {
  checkPolicyNames,
  policyMember,
  unknownPolicyMembers,
  withPolicyMember,
} from "./policy/edit-policy.ts";
export type { EffectivePolicy, PolicyOrigin } from "./policy/merge.ts";
export {
  deletePolicy,
  effectivePolicy,
  getPolicy,
  listPolicies,
  setPolicy,
} from "./policy/policies.ts";
export type { ActionCommand, Policy } from "./policy/policy.ts";
export { policyFromJson, policyToJson } from "./policy/policy-json.ts";
export type { PolicyTarget } from "./policy/policy-target.ts";
export { formatTarget, GLOBAL_TARGET, parseTarget } from "./policy/policy-target.ts";
export type { PolicyTree } from "./policy/policy-tree.ts";
export { loadPolicyTree } from "./policy/policy-tree.ts";
export { applyRetention, retentionReasons } from "./policy/retention.ts";

// What is backed up.
export { localSource } from "./source/local-source.ts";
export { nameOfPlaceholder, readPlaceholder } from "./source/placeholder.ts";
export { memorySource } from "./source/memory-source.ts";
export type { SourceEntry } from "./source/source-entry.ts";
export { streamSource } from "./source/stream-source.ts";

// The verbs.
export type { CopyOptions, CopyProgress, CopyReport } from "./copy/copy-snapshots.ts";
export { copySnapshots } from "./copy/copy-snapshots.ts";
export type {
  FixChange,
  FixCounts,
  FixedSnapshot,
  FixOptions,
  FixReport,
  InvalidDirectoryHandling,
  InvalidFileHandling,
} from "./fix/fix-options.ts";
export { fixSnapshots } from "./fix/fix.ts";
export type { RecoverFormatOptions, RecoverFormatReport } from "./repair/recover-format.ts";
export { recoverFormat } from "./repair/recover-format.ts";
export type {
  RecoverIndexCounts,
  RecoverIndexOptions,
  RecoverIndexReport,
} from "./repair/recover-index.ts";
export { recoverIndex } from "./repair/recover-index.ts";
export type {
  RepairContentsCounts,
  RepairContentsOptions,
  RepairContentsReport,
} from "./repair/repair-contents.ts";
export { repairContents } from "./repair/repair-contents.ts";
export type { LocalTargetOptions } from "./restore/local-target.ts";
export { localTarget } from "./restore/local-target.ts";
export type { RestoreCounts, RestoreReport } from "./restore/report.ts";
export type { RestoreOptions } from "./restore/restore.ts";
export { restore } from "./restore/restore.ts";
export { tarTarget } from "./restore/tar-target.ts";
export type { RestoreTarget } from "./restore/target.ts";
export { zipTarget } from "./restore/zip-target.ts";
export type { ActionKind, ActionPair, ActionRunner } from "./upload/actions.ts";
export type { CreateSnapshotOptions } from "./upload/create-snapshot.ts";
export { createSnapshot } from "./upload/create-snapshot.ts";
export type { EstimateCounts, SizeClass, SnapshotEstimate } from "./upload/estimate.ts";
export { estimateSnapshot, SIZE_CLASSES } from "./upload/estimate.ts";
export { upload } from "./upload/upload.ts";
export type {
  UploadError,
  UploadOptions,
  UploadProgress,
  UploadReport,
} from "./upload/upload-options.ts";
export type { Damage } from "./verify/damage.ts";
export type { VerifyCounts, VerifyOptions, VerifyReport } from "./verify/verify.ts";
export { verify } from "./verify/verify.ts";
export type { ContentCounts, VerifyContentsReport } from "./verify/verify-contents.ts";
export { verifyContents } from "./verify/verify-contents.ts";
export type { ReceiptFolder, VerificationReport } from "./verify/local-receipts.ts";
export {
  createReceiptKey,
  readReceiptKey,
  reportVerification,
  verifyWithReceipt,
} from "./verify/local-receipts.ts";
export type { Receipt, ReceiptChain, ReceiptSigner } from "./verify/receipts.ts";
export type { Coverage, DamagedPack, RollingOptions, RollingReport } from "./verify/rolling.ts";
export type { DamagedRoot } from "./verify/roots.ts";

// The algorithms by name, for benchmarks and for choosing at creation.
export type { Codec, Codecs } from "./compression/codec.ts";
export { openCodecs } from "./compression/registry.ts";
export {
  ENCRYPTION_NAMES,
  HASH_NAMES,
  KEY_DERIVATION_NAMES,
  openCrypto,
} from "./crypto/registry.ts";
export { createEcc, ECC_NAME } from "./ecc/create-ecc.ts";
export {
  createSplitter,
  DEFAULT_KOPIA_SPLITTER,
  isKopiaSplitter,
  KOPIA_SPLITTER_NAMES,
  SPLITTER_NAMES,
} from "./splitter/registry.ts";

// Maintenance.
export type {
  CycleParameters,
  LogRetention,
  MaintenanceParameters,
  StoredMaintenance,
} from "./repository/maintenance-parameters.ts";
export {
  defaultMaintenance,
  getMaintenance,
  setMaintenance,
} from "./repository/maintenance-parameters.ts";
export type { MaintenanceStatus } from "./maintenance/status.ts";
export { maintenanceStatus } from "./maintenance/status.ts";
export { maintain } from "./maintenance/local-maintain.ts";
export type { MaintenanceOptions, MaintenanceReport } from "./maintenance/run.ts";
export type { TaskReport } from "./maintenance/task-log.ts";
export type { PlanOptions } from "./maintenance/plan.ts";
export { planMaintenance } from "./maintenance/plan.ts";
export type {
  MaintenancePlan,
  PlanFigures,
  PlanStep,
  PlanTiming,
} from "./maintenance/plan-file.ts";
export { parseMaintenancePlan } from "./maintenance/plan-file.ts";
export type { PlanLimits, Prices } from "./maintenance/prices.ts";
export { parsePrices, S3_PRICES } from "./maintenance/prices.ts";
export type { FreedSpace } from "./maintenance/what-if.ts";
export { predictFreedSpace } from "./maintenance/what-if.ts";
export type { Safety } from "./maintenance/safety.ts";
export type { MaintenanceSchedule, TaskName, TaskRun } from "./maintenance/schedule.ts";
