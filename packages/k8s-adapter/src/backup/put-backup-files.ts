import { gzip } from "node:zlib";
import { promisify } from "node:util";
import { isVarveError, parseBlobId, VarveError } from "@varve/core";
import type { BlobStore, CallOptions } from "@varve/core/blob";
import { encodeJson } from "../kube/go-json.ts";
import {
  BACKUP_FILES,
  BACKUP_JSON,
  podVolumeBackupsFile,
  readBackup,
} from "../location/backup-files.ts";
import type { NativeSnapshot } from "../native-snapshots/native-snapshot.ts";
import type { Backup, PodVolumeBackup } from "../velero/resources.ts";
import type { RunResult } from "../server/recorded-log.ts";
import type { VolumeInfo } from "./volume-info.ts";

/**
 * The files of one backup in its folder (semantics spec sections 3.1 and 3.3). `velero-backup.json` comes last and is
 * never replaced by another backup of the same name: what has it is a backup, what lacks it is none.
 */

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
  readonly volumeSnapshots: readonly NativeSnapshot[];
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
  if ((await readBackup(store, { ...options, name })) !== undefined) {
    throw new VarveError("blob-exists", `backup ${name} already exists in object storage`);
  }
  const tarball = BACKUP_FILES.BackupContents(name);
  const others: Readonly<Record<string, unknown>> = {
    [BACKUP_FILES.BackupResults(name)]: files.results,
    [BACKUP_FILES.BackupResourceList(name)]: files.resourceList,
    [podVolumeBackupsFile(name)]:
      files.podVolumeBackups.length === 0
        ? null
        : files.podVolumeBackups.map(storedPodVolumeBackup),
    [BACKUP_FILES.BackupVolumeSnapshots(name)]:
      files.volumeSnapshots.length === 0 ? null : files.volumeSnapshots,
    [BACKUP_FILES.BackupItemOperations(name)]: files.itemOperations,
    [BACKUP_FILES.BackupVolumeInfos(name)]: files.volumeInfo,
  };
  await put(store, BACKUP_FILES.BackupLog(name), files.log, options).catch(() => {
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
    const stored = await readBackup(store, { name }).catch(() => undefined);
    if (stored?.metadata.uid === backup.metadata.uid && isVarveError(error, "blob-exists")) {
      return; // an attempt whose answer was lost
    }
    if (stored === undefined || stored.metadata.uid === backup.metadata.uid) {
      for (const file of [BACKUP_JSON, tarball, ...Object.keys(others)]) {
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
  await store.put(parseBlobId(BACKUP_JSON), [bytes], { ifAbsent, signal });
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
