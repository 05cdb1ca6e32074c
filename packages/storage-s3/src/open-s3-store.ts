import { GetObjectLockConfigurationCommand } from "@aws-sdk/client-s3";
import {
  type BlobStore,
  type CallOptions,
  isVarveError,
  parseBlobId,
  readOnlyStore,
  type StoreFeature,
  systemEnvironment,
  VarveError,
} from "@varve/core/blob";
import { S3Bucket } from "./bucket.ts";
import { createClient } from "./client.ts";
import {
  resolveEndpoint,
  type S3Endpoint,
  type S3StoreOptions,
  type StorageClassRule,
} from "./options.ts";
import { requireVersions, S3PointInTimeStore } from "./point-in-time-store.ts";
import { parseStorageConfig, STORAGE_CONFIG } from "./storage-classes.ts";
import { S3Store } from "./store.ts";

const CONFIG_ID = parseBlobId(STORAGE_CONFIG);
export const DEFAULT_REGION = "us-east-1";

/**
 * Opens a bucket, which must exist: reads `.storageconfig`, which need not, and unless told asks whether the bucket
 * has object lock, both at once; leaves nothing behind. Tries nothing twice: core's `withRetries` does. Throws `invalid-argument` (options that make no sense, wrong
 * region), `access-denied` (wrong key, expired token, missing permission), `storage-failed` (no such bucket, no
 * connection, a clock that is off), `corrupt` (`.storageconfig`) and `unsupported` (a point in time of a bucket that
 * keeps no versions).
 */
export async function openS3Store(options: S3StoreOptions): Promise<BlobStore> {
  if (options.bucket === "") {
    throw new VarveError("invalid-argument", "no bucket");
  }
  const endpoint = resolveEndpoint(options);
  const bucket = openBucket(options, endpoint, options.region ?? DEFAULT_REGION);
  try {
    return await openStore(bucket, options, endpoint);
  } catch (error) {
    await bucket.close();
    const { region = DEFAULT_REGION } = bucket.named;
    if (options.region === undefined && region !== DEFAULT_REGION) {
      return await openS3Store({ ...options, region });
    }
    throw error;
  }
}

/** Without a request. */
export function openBucket(
  options: S3StoreOptions,
  endpoint: S3Endpoint,
  region: string,
): S3Bucket {
  const { bucket: name, prefix = "", timeouts = {}, environment = systemEnvironment() } = options;
  const host = endpoint.url === undefined ? "" : ` at ${new URL(endpoint.url).host}`;
  return new S3Bucket({
    client: createClient(options, { endpoint, region }),
    name,
    prefix,
    label: `s3://${name}/${prefix}${host}`,
    requestMs: timeouts.requestMs ?? 900_000,
    environment,
  });
}

async function openStore(
  bucket: S3Bucket,
  options: S3StoreOptions,
  endpoint: S3Endpoint,
): Promise<BlobStore> {
  const { pointInTimeMs, readOnly = false, signal } = options;
  if (pointInTimeMs !== undefined) {
    await requireVersions(bucket, { signal });
    return new S3PointInTimeStore(bucket, { pointInTimeMs });
  }
  const asksForLock = options.objectLock === undefined && !readOnly;
  const [stored, objectLock] = await Promise.all([
    readStorageConfig(bucket, { signal }),
    asksForLock ? hasObjectLock(bucket, { signal }) : (options.objectLock ?? false) !== false,
  ]);
  const features = new Set<StoreFeature>();
  if (options.putIfAbsent ?? endpoint.isAmazon) {
    features.add("put-if-absent");
  }
  if (objectLock) {
    features.add("object-lock");
  }
  const store = new S3Store(bucket, {
    features,
    mayHaveLock: options.objectLock === "when-needed" ? () => hasObjectLock(bucket, {}) : undefined,
    storageClasses: options.storageClassByPrefix ?? stored,
    serverSideEncryption: options.serverSideEncryption,
    checksum: options.checksum ?? "md5",
    signBodies: !endpoint.isEncrypted,
  });
  return readOnly ? readOnlyStore(store) : store;
}

async function readStorageConfig(
  bucket: S3Bucket,
  { signal }: CallOptions,
): Promise<readonly StorageClassRule[]> {
  try {
    return parseStorageConfig(await bucket.get(CONFIG_ID, { signal }));
  } catch (error) {
    if (isVarveError(error, "blob-not-found")) {
      return [];
    }
    throw error;
  }
}

async function hasObjectLock(bucket: S3Bucket, { signal }: CallOptions): Promise<boolean> {
  const attempt = { what: `open ${bucket.label}`, needs: "s3:GetBucketObjectLockConfiguration" };
  const command = new GetObjectLockConfigurationCommand({ Bucket: bucket.name });
  try {
    const { ObjectLockConfiguration: found } = await bucket.run(attempt, signal, (abortSignal) =>
      bucket.client.send(command, { abortSignal }),
    );
    return found?.ObjectLockEnabled === "Enabled";
  } catch (error) {
    // Who may not ask may still put under retention: where there is no object lock, storage will say so.
    if (isVarveError(error, "access-denied")) {
      return true;
    }
    if (isVarveError(error, "blob-not-found") || isVarveError(error, "unsupported")) {
      return false; // there is no such configuration
    }
    throw error;
  }
}
