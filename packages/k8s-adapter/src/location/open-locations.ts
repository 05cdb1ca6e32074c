import { SECRETS } from "../kube/core-types.ts";
import { createHash } from "node:crypto";
import { type Environment, VarveError } from "@varve/core";
import {
  type BlobStore,
  type Bucket,
  type CallOptions,
  openFileSystemBucket,
  readOnlyStore,
  retryStore,
  withRetries,
} from "@varve/core/blob";
import { openAzureBucket } from "@varve/storage-azure";
import { openGcsBucket } from "@varve/storage-gcs";
import { openS3Bucket } from "@varve/storage-s3";
import { isKubeError, type KubeApi } from "../kube/kube-api.ts";
import { type BackupStorageLocation, type SecretKeySelector, VELERO } from "../velero/resources.ts";
import type { Location, Locations } from "./location.ts";
import { azureOptions, gcsOptions, type ProviderConfig, s3Options } from "./provider-config.ts";

/**
 * Opens BackupStorageLocations by name. What they are and the secrets they name are read each time, so that a change is
 * noticed at once; the bucket is shared for as long as neither changes.
 */

export interface LocationsOptions {
  readonly namespace: string;
  readonly environment: Environment;
}

/** What Velero's installer makes (spec section 2.1). */
const DEFAULT_CREDENTIAL: SecretKeySelector = { name: "cloud-credentials", key: "cloud" };
// Who asks for folders or a URL waits; who moves data has core's patience.
const ATTEMPTS = 4;

interface OpenBucket {
  readonly key: string;
  readonly bucket: Bucket;
  users: number;
  isRetired: boolean;
}

export function openLocations(kube: KubeApi, options: LocationsOptions): Locations {
  const { namespace, environment } = options;
  const open = new Map<string, Promise<OpenBucket>>();

  const retire = async (opening: Promise<OpenBucket> | undefined): Promise<void> => {
    const opened = await opening?.catch(() => undefined);
    if (opened !== undefined && !opened.isRetired) {
      opened.isRetired = true;
      await closeUnused(opened);
    }
  };
  const share = async (
    resource: BackupStorageLocation,
    callOptions: CallOptions,
  ): Promise<OpenBucket> => {
    const { name } = resource.metadata;
    const provider = await readProvider(kube, resource, { namespace, ...callOptions });
    const key = keyOf(resource, provider);
    for (;;) {
      const current = open.get(name);
      const opened = await current?.catch(() => undefined);
      if (open.get(name) !== current) {
        continue; // somebody else has opened it meanwhile
      }
      if (opened?.key === key) {
        return opened;
      }
      const opening = openBucket(resource, provider, environment).then(
        (bucket): OpenBucket => ({ key, bucket, users: 0, isRetired: false }),
      );
      open.set(name, opening);
      void retire(current);
      return await opening;
    }
  };

  return {
    async open(name, callOptions = {}) {
      const resource = await readResource(kube, { name, namespace, ...callOptions });
      const opened = await share(resource, callOptions);
      opened.users += 1;
      return locationOf(resource, opened, environment);
    },
    async [Symbol.asyncDispose]() {
      const all = [...open.values()];
      open.clear();
      for (const opening of all) {
        await retire(opening);
      }
    },
  };
}

async function closeUnused(opened: OpenBucket): Promise<void> {
  if (opened.isRetired && opened.users === 0) {
    await opened.bucket[Symbol.asyncDispose]();
  }
}

function locationOf(
  resource: BackupStorageLocation,
  opened: OpenBucket,
  environment: Environment,
): Location {
  const { prefix: text = "" } = resource.spec.objectStorage;
  const trimmed = text.replace(/^\/+|\/+$/g, "");
  const prefix = trimmed === "" ? "" : `${trimmed}/`;
  const readOnly = resource.spec.accessMode === "ReadOnly";
  const bucket = patientBucket(opened.bucket, { readOnly, environment });
  let isDisposed = false;
  return {
    name: resource.metadata.name,
    resource,
    readOnly,
    bucket,
    prefix,
    backupFiles: (backup) => bucket.store(`${prefix}backups/${backup}/`),
    restoreFiles: (restore) => bucket.store(`${prefix}restores/${restore}/`),
    repository: (volumeNamespace) => bucket.store(`${prefix}kopia/${volumeNamespace}/`),
    async [Symbol.asyncDispose]() {
      if (!isDisposed) {
        isDisposed = true;
        opened.users -= 1;
        await closeUnused(opened);
      }
    },
  };
}

/** Tries again, and gives folders only when all are known: a listing that breaks off is none. */
function patientBucket(
  bucket: Bucket,
  { readOnly, environment }: { readonly readOnly: boolean; readonly environment: Environment },
): Bucket {
  const options = { environment, attempts: ATTEMPTS };
  return {
    label: bucket.label,
    store(prefix): BlobStore {
      const store = retryStore(bucket.store(prefix), { environment });
      return readOnly ? readOnlyStore(store) : store;
    },
    async *folders(prefix, { signal } = {}) {
      const what = `list the folders of ${prefix}`;
      yield* await withRetries(what, { ...options, signal }, async () => {
        const names: string[] = [];
        for await (const name of bucket.folders(prefix, { signal })) {
          names.push(name);
        }
        return names;
      });
    },
    async upload(name, chunks, call) {
      if (readOnly) {
        throw new VarveError("read-only", `upload ${name}: the location is read-only`);
      }
      await bucket.upload(name, chunks, call); // chunks come once
    },
    readUrl: (name, call) =>
      withRetries(`sign a URL of ${name}`, { ...options, signal: call.signal }, () =>
        bucket.readUrl(name, call),
      ),
    async [Symbol.asyncDispose]() {}, // it is shared
  };
}

async function readResource(
  kube: KubeApi,
  { name, namespace, signal }: CallOptions & { readonly name: string; readonly namespace: string },
): Promise<BackupStorageLocation> {
  try {
    const object = await kube.get(VELERO.backupStorageLocations, { name, namespace }, { signal });
    return object as BackupStorageLocation; // its definition demands the members that are read without a look
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      const message = `there is no BackupStorageLocation ${JSON.stringify(name)}`;
      throw new VarveError("invalid-argument", message);
    }
    throw error;
  }
}

interface ReadOptions extends CallOptions {
  readonly namespace: string;
}

async function readProvider(
  kube: KubeApi,
  { spec }: BackupStorageLocation,
  options: ReadOptions,
): Promise<ProviderConfig> {
  const { bucket, caCert, caCertRef } = spec.objectStorage;
  if (caCert !== undefined && caCertRef !== undefined) {
    throw new VarveError("invalid-argument", "both caCert and caCertRef are set");
  }
  const [credentials, ca] = await Promise.all([
    readSecret(kube, spec.credential ?? DEFAULT_CREDENTIAL, {
      ...options,
      mayBeMissing: spec.credential === undefined,
    }),
    caCertRef === undefined
      ? undefined
      : readSecret(kube, caCertRef, { ...options, mayBeMissing: false }),
  ]);
  return {
    bucket,
    config: spec.config ?? {},
    credentials,
    caCert: caCert === undefined ? ca : decodeBase64(caCert),
  };
}

async function readSecret(
  kube: KubeApi,
  { name, key }: SecretKeySelector,
  { namespace, mayBeMissing, signal }: ReadOptions & { readonly mayBeMissing: boolean },
): Promise<string | undefined> {
  let value: unknown;
  try {
    const secret = await kube.get(SECRETS, { name, namespace }, { signal });
    value = (secret["data"] as Record<string, unknown> | undefined)?.[key]; // checked below
  } catch (error) {
    if (!isKubeError(error, "not-found")) {
      throw error;
    }
  }
  if (typeof value !== "string") {
    if (mayBeMissing) {
      return undefined;
    }
    throw new VarveError("invalid-argument", `there is no key ${key} in a secret ${name}`);
  }
  return decodeBase64(value);
}

function decodeBase64(text: string): string {
  return Buffer.from(text, "base64").toString("utf8");
}

function keyOf({ spec }: BackupStorageLocation, provider: ProviderConfig): string {
  const text = JSON.stringify([spec.provider, spec.objectStorage, provider]);
  return createHash("sha256").update(text).digest("hex");
}

async function openBucket(
  { spec }: BackupStorageLocation,
  provider: ProviderConfig,
  environment: Environment,
): Promise<Bucket> {
  checkBucketName(spec);
  switch (spec.provider.replace(/^velero\.io\//, "")) {
    case "aws":
      return await openS3Bucket({ ...s3Options(provider), environment });
    case "azure":
      return await openAzureBucket({ ...azureOptions(provider), environment });
    case "gcp":
      return await openGcsBucket({ ...gcsOptions(provider), environment });
    case "fs":
      return await openFileSystemBucket(directoryOf(provider), { environment });
    default:
      throw new VarveError(
        "invalid-argument",
        `provider ${JSON.stringify(spec.provider)} is none of aws, azure, gcp, fs`,
      );
  }
}

/** Spec section 2.1: a slash is allowed in the name of an access point only. */
function checkBucketName({ objectStorage: { bucket } }: BackupStorageLocation["spec"]): void {
  if (bucket.includes("/") && !/^arn:aws[\w-]*:s3/.test(bucket)) {
    const message = `bucket name ${JSON.stringify(bucket)} has a slash; use the prefix for folders`;
    throw new VarveError("invalid-argument", message);
  }
}

function directoryOf({ config }: ProviderConfig): string {
  const { fspath = "" } = config;
  if (!fspath.startsWith("/")) {
    throw new VarveError("invalid-argument", "config.fspath is not the path of a directory");
  }
  return fspath;
}
