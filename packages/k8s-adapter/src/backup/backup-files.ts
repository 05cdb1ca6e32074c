import { gzip } from "node:zlib";
import { promisify } from "node:util";
import { isVarveError, parseBlobId, VarveError } from "@varve/core";
import type { BlobStore, CallOptions } from "@varve/core/blob";
import { decodeJson, encodeJson } from "../kube/go-json.ts";
import type { Backup, PodVolumeBackup } from "../velero/resources.ts";
import type { RunResult } from "../server/recorded-log.ts";
import type { VolumeInfo } from "./volume-info.ts";

/**
 * The files of one backup in its folder (semantics spec sections 3.1 and 3.3). `velero-backup.json` comes last and is
 * never replaced by another backup of the same name: what has it is a backup, what lacks it is none.
 */

const JSON_NAME = "velero-backup.json";
const compress = promisify(gzip);

export interface BackupFiles {
  /** Compressed. */
  readonly log: readonly Uint8Array[];
  /** Compressed. */
  readonly tarball: readonly Uint8Array[];
  readonly results: { readonly warnings: RunResult; readonly errors: RunResult };
  /** `apiVersion/Kind` to sorted names. */
  readonly resourceList: Readonly<Record<string, readonly string[]>>;
  readonly podVolumeBackups: readonly PodVolumeBackup[];
  readonly itemOperations: readonly unknown[];
  readonly volumeInfo: readonly VolumeInfo[];
}

/** All nine. When one fails, none but the log stays. Throws `blob-exists` when there is a backup of the name. */
export async function putBackupFiles(
  store: BlobStore,
  backup: Backup,
  files: BackupFiles,
  options: CallOptions,
): Promise<void> {
  const { name } = backup.metadata;
  if ((await readBackupJson(store, options)) !== undefined) {
    throw new VarveError("blob-exists", `backup ${name} already exists in object storage`);
  }
  const tarball = `${name}.tar.gz`;
  const others: Readonly<Record<string, unknown>> = {
    [`${name}-results.gz`]: files.results,
    [`${name}-resource-list.json.gz`]: files.resourceList,
    [`${name}-podvolumebackups.json.gz`]:
      files.podVolumeBackups.length === 0
        ? null
        : files.podVolumeBackups.map(storedPodVolumeBackup),
    [`${name}-volumesnapshots.json.gz`]: null,
    [`${name}-itemoperations.json.gz`]: files.itemOperations,
    [`${name}-volumeinfo.json.gz`]: files.volumeInfo,
  };
  await put(store, `${name}-logs.gz`, files.log, options).catch(() => {
    options.signal?.throwIfAborted(); // the backup is worth more than its log
  });
  try {
    await put(store, tarball, files.tarball, options);
    for (const [file, value] of Object.entries(others)) {
      await putJsonGz(store, file, value, options);
    }
    await putBackupJson(store, backup, { ...options, isNew: true });
  } catch (error) {
    options.signal?.throwIfAborted(); // whoever goes on replaces what is there
    const stored = await readBackupJson(store, {}).catch(() => undefined);
    if (stored?.metadata.uid === backup.metadata.uid && isVarveError(error, "blob-exists")) {
      return; // an attempt whose answer was lost
    }
    if (stored === undefined || stored.metadata.uid === backup.metadata.uid) {
      for (const file of [JSON_NAME, tarball, ...Object.keys(others)]) {
        await store.delete(parseBlobId(file)).catch(() => {}); // the first error is the one to tell
      }
    }
    throw error;
  }
}

/** `isNew`: throws `blob-exists` instead of replacing. */
export async function putBackupJson(
  store: BlobStore,
  backup: Backup,
  { isNew = false, signal }: CallOptions & { readonly isNew?: boolean } = {},
): Promise<void> {
  const stored = { ...backup, apiVersion: "velero.io/v1", kind: "Backup" };
  const bytes = new TextEncoder().encode(encodeJson(stored, { indent: 2 }));
  const ifAbsent = isNew && store.features.has("put-if-absent");
  await store.put(parseBlobId(JSON_NAME), [bytes], { ifAbsent, signal });
}

/** `undefined` when there is none. Throws `corrupt`. */
export async function readBackupJson(
  store: BlobStore,
  options: CallOptions,
): Promise<Backup | undefined> {
  try {
    const text = new TextDecoder().decode(await store.get(parseBlobId(JSON_NAME), options));
    const value = decodeJson(text) as Partial<Backup> | null; // looked at below
    if (typeof value?.metadata?.name !== "string" || typeof value.spec !== "object") {
      throw new VarveError("corrupt", `${JSON_NAME} is not a Backup`);
    }
    return value as Backup; // what is read of it is looked at where it is read
  } catch (error) {
    if (isVarveError(error, "blob-not-found")) {
      return undefined;
    }
    throw error instanceof SyntaxError
      ? new VarveError("corrupt", `${JSON_NAME} is not JSON`, { cause: error })
      : error;
  }
}

export async function putJsonGz(
  store: BlobStore,
  file: string,
  value: unknown,
  options: CallOptions,
): Promise<void> {
  await put(store, file, [await compress(`${encodeJson(value)}\n`)], options);
}

export async function put(
  store: BlobStore,
  file: string,
  parts: readonly Uint8Array[],
  { signal }: CallOptions,
): Promise<void> {
  await store.put(parseBlobId(file), parts, { signal });
}

/** Without kind and apiVersion, as real Velero writes them, and without finalizers, which a peer could never take off. */
function storedPodVolumeBackup({
  apiVersion: _apiVersion,
  kind: _kind,
  ...pvb
}: PodVolumeBackup): object {
  const { finalizers: _finalizers, deletionTimestamp: _deleted, ...metadata } = pvb.metadata;
  return { ...pvb, metadata };
}
