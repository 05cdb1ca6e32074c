/** The entry `@varve/core/blob`: what it takes to use, wrap or write a blob store. */
export { onAbort } from "../base/abort.ts";
export type { CallOptions, Environment, LogEvent } from "../base/environment.ts";
export { systemEnvironment } from "../base/environment.ts";
export type { ErrorCode } from "../base/errors.ts";
export { VarveError, isVarveError } from "../base/errors.ts";
export { parseTimeNs } from "../base/time.ts";
export type { Bucket } from "./bucket.ts";
export type { AdaptOptions } from "./adaptive-store.ts";
export { adaptiveStore } from "./adaptive-store.ts";
export { checkFolder, splitName } from "./bucket.ts";
export type { CollectorOptions } from "./collector.ts";
export { Collector } from "./collector.ts";
export type { UploadPart } from "./in-parts.ts";
export { inParts } from "./in-parts.ts";
export type { FileSystemBucketOptions } from "./filesystem-bucket.ts";
export { openFileSystemBucket } from "./filesystem-bucket.ts";
export type { FileSystemStoreOptions } from "./filesystem-store.ts";
export { openFileSystemStore } from "./filesystem-store.ts";
export type { LimitedStore, StoreLimits } from "./limit-store.ts";
export { limitStore } from "./limit-store.ts";
export type { Meter, RequestKind, Usage } from "./meter.ts";
export { meteredStore } from "./meter.ts";
export { createMemoryStore } from "./memory-store.ts";
export { resolveRange } from "./range.ts";
export { readOnlyStore } from "./read-only-store.ts";
export type { RetryOptions } from "./retry-store.ts";
export { retryStore, withRetries } from "./retry-store.ts";
export type {
  BlobId,
  BlobInfo,
  BlobStore,
  GetOptions,
  PutOptions,
  Retention,
  StoreFeature,
} from "./store.ts";
export { parseBlobId } from "./store.ts";
