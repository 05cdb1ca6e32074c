import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { isVarveError, parseBlobId, VarveError } from "@varve/core";
import type { BlobStore, CallOptions } from "@varve/core/blob";
import { decodeJson } from "../kube/go-json.ts";
import type { Backup, PodVolumeBackup } from "../velero/resources.ts";

/**
 * The names of the files of a backup and of a restore (spec sections 3.1 and 3.5), and how they are read. Whoever has
 * write access to a bucket has made them: sizes are checked before memory is taken, shapes before they are believed.
 */

export const BACKUP_JSON = "velero-backup.json";

/** By the kind that a DownloadRequest asks for. */
export const BACKUP_FILES = {
  BackupLog: (backup: string): string => `${backup}-logs.gz`,
  BackupContents: (backup: string): string => `${backup}.tar.gz`,
  BackupResults: (backup: string): string => `${backup}-results.gz`,
  BackupResourceList: (backup: string): string => `${backup}-resource-list.json.gz`,
  BackupVolumeSnapshots: (backup: string): string => `${backup}-volumesnapshots.json.gz`,
  BackupItemOperations: (backup: string): string => `${backup}-itemoperations.json.gz`,
  BackupVolumeInfos: (backup: string): string => `${backup}-volumeinfo.json.gz`,
  CSIBackupVolumeSnapshots: (backup: string): string => `${backup}-csi-volumesnapshots.json.gz`,
  CSIBackupVolumeSnapshotContents: (backup: string): string =>
    `${backup}-csi-volumesnapshotcontents.json.gz`,
} as const;

export const RESTORE_FILES = {
  RestoreLog: (restore: string): string => `restore-${restore}-logs.gz`,
  RestoreResults: (restore: string): string => `restore-${restore}-results.gz`,
  RestoreResourceList: (restore: string): string => `restore-${restore}-resource-list.json.gz`,
  RestoreItemOperations: (restore: string): string => `restore-${restore}-itemoperations.json.gz`,
  RestoreVolumeInfo: (restore: string): string => `${restore}-volumeinfo.json.gz`,
} as const;

export function podVolumeBackupsFile(backup: string): string {
  return `${backup}-podvolumebackups.json.gz`;
}

const MAX_STORED_BYTES = 256 * 2 ** 20;
const MAX_JSON_BYTES = 256 * 2 ** 20;
const unpack = promisify(gunzip);

/** `undefined` where there is none. Throws `corrupt` for what is no Backup, or that of another name. */
export async function readBackup(
  store: BlobStore,
  { name, signal }: CallOptions & { readonly name: string },
): Promise<Backup | undefined> {
  const bytes = await readFile(store, BACKUP_JSON, { signal });
  if (bytes === undefined) {
    return undefined;
  }
  const value = parse(bytes, BACKUP_JSON);
  const { kind, apiVersion, metadata, spec } = recordOf(value) as Partial<Backup>; // looked at here
  if (kind !== "Backup" || apiVersion !== "velero.io/v1" || recordOf(metadata)["name"] !== name) {
    throw new VarveError("corrupt", `${BACKUP_JSON}: not the backup ${name}`);
  }
  if (spec !== undefined && (typeof spec !== "object" || spec === null)) {
    throw new VarveError("corrupt", `${BACKUP_JSON}: its spec is no object`);
  }
  return value as Backup; // what is read of it further is checked where it is read
}

/** Those that have a name and say which volume they are of; none where there is no file. Throws `corrupt`. */
export async function readPodVolumeBackups(
  store: BlobStore,
  { name, signal }: CallOptions & { readonly name: string },
): Promise<readonly PodVolumeBackup[]> {
  const list = await readJsonList(store, podVolumeBackupsFile(name), { signal });
  return list.filter((value): value is PodVolumeBackup => {
    const { metadata, spec } = recordOf(value);
    const { namespace: podNamespace } = recordOf(recordOf(spec)["pod"]);
    return typeof recordOf(metadata)["name"] === "string" && typeof podNamespace === "string";
  });
}

/** A gzipped JSON array; `null` and a missing file are an empty one. Throws `corrupt`. */
export async function readJsonList(
  store: BlobStore,
  file: string,
  options: CallOptions,
): Promise<readonly unknown[]> {
  const value = await readGzippedJson(store, file, options);
  if (value === undefined || value === null) {
    return [];
  }
  if (!Array.isArray(value)) {
    throw new VarveError("corrupt", `${file}: not a list`);
  }
  return value;
}

/** `undefined` for a missing file. Throws `corrupt`, also for one that unpacks to more than `maxBytes`, default 256 MiB. */
export async function readGzippedJson(
  store: BlobStore,
  file: string,
  { maxBytes = MAX_JSON_BYTES, signal }: CallOptions & { readonly maxBytes?: number } = {},
): Promise<unknown> {
  const packed = await readFile(store, file, { signal });
  if (packed === undefined) {
    return undefined;
  }
  let bytes: Uint8Array;
  try {
    bytes = await unpack(packed, { maxOutputLength: maxBytes });
  } catch (cause) {
    throw new VarveError("corrupt", `${file}: not gzip, or too large`, { cause });
  }
  return parse(bytes, file);
}

async function readFile(
  store: BlobStore,
  file: string,
  { signal }: CallOptions,
): Promise<Uint8Array | undefined> {
  const id = parseBlobId(file);
  try {
    const { size } = await store.stat(id, { signal });
    if (size > MAX_STORED_BYTES) {
      throw new VarveError("corrupt", `${file}: ${size} bytes are too many`);
    }
    return await store.get(id, { signal });
  } catch (error) {
    if (isVarveError(error, "blob-not-found")) {
      return undefined;
    }
    throw error;
  }
}

function parse(bytes: Uint8Array, file: string): unknown {
  try {
    return decodeJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new VarveError("corrupt", `${file}: not JSON`, { cause });
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null
    ? (value as Readonly<Record<string, unknown>>) // an object is one
    : {};
}
