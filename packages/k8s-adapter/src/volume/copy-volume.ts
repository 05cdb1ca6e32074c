import {
  type CallOptions,
  loadSnapshot,
  localTarget,
  parseManifestId,
  type Repository,
  restore,
  upload,
  VarveError,
} from "@varve/core";
import {
  saveSourcePolicy,
  SNAPSHOT_DESCRIPTION,
  SNAPSHOT_PINS,
  snapshotSource,
  snapshotTags,
  type VolumeSource,
} from "./snapshot-source.ts";
import { SNAPSHOT_FOLDERS, volumeTree } from "./volume-tree.ts";

/** A volume into its repository and back: where the adapter meets the engine. */

export interface CopyProgress {
  readonly bytesDone: number;
  readonly totalBytes: number;
}

export interface BackUpVolumeOptions extends CallOptions {
  readonly source: VolumeSource;
  /** Where the volume is mounted here. */
  readonly path: string;
  /** Of the resource that asked: the name of the snapshot's root. */
  readonly uid: string;
  /** Files read at the same time. */
  readonly parallel: number;
  readonly snapshotFolders: boolean;
  /** It was begun before, and its process was killed: what that had stored is found again. */
  readonly resumes?: boolean | undefined;
  /** Ends it without a snapshot. */
  readonly stop?: AbortSignal | undefined;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
}

export interface BackedUpVolume {
  readonly snapshotId: string;
  readonly totalBytes: number;
  /** What was not stored before. */
  readonly incrementalBytes: number;
}

// As many as a message in a status can hold.
const MAX_REPORTED_FAILURES = 10;

/** Saves a snapshot. Throws `source-failed` when it was stopped, and when something could not be read; the rest is stored then. */
export async function backUpVolume(
  repository: Repository,
  options: BackUpVolumeOptions,
): Promise<BackedUpVolume> {
  const { path, uid, parallel, snapshotFolders, signal } = options;
  const source = snapshotSource(options.source);
  await saveSourcePolicy(repository, source, { parallel, signal });
  const report = await upload(repository, {
    source,
    root: await volumeTree(path, { name: uid, snapshotFolders, signal }),
    description: SNAPSHOT_DESCRIPTION,
    bareTags: snapshotTags(options.source),
    pins: SNAPSHOT_PINS,
    failFast: false,
    stop: options.stop,
    resumes: options.resumes,
    onProgress: ({ bytesHashed, bytesCached }) => {
      const bytesDone = bytesHashed + bytesCached;
      options.onProgress?.({ bytesDone, totalBytes: bytesDone });
    },
    signal,
  });
  const { id } = report.snapshot;
  if (id === undefined || report.snapshot.incomplete !== undefined) {
    throw new VarveError("source-failed", `no snapshot was saved of ${source.path}`);
  }
  const fatal = report.errors.filter(({ ignored }) => !ignored);
  if (fatal.length > 0) {
    throw new VarveError("source-failed", describeFailures(fatal));
  }
  return {
    snapshotId: id,
    totalBytes: report.snapshot.root.summary?.sizeBytes ?? 0,
    incrementalBytes: report.contentStats.newOriginalBytes,
  };
}

function describeFailures(failures: readonly { path: string; message: string }[]): string {
  const named = failures
    .slice(0, MAX_REPORTED_FAILURES)
    .map(({ path, message }) => `${path}: ${message}`);
  const more = failures.length - named.length;
  return `${failures.length} entries could not be copied: ${named.join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}

export interface RestoreVolumeOptions extends CallOptions {
  readonly snapshotId: string;
  readonly path: string;
  readonly parallel: number;
  readonly writeSparseFiles: boolean;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/**
 * Writes a snapshot's files over what is in the volume and deletes nothing there. What cannot be written into a file
 * server's read-only folder of snapshots is no failure. Throws `target-failed`.
 */
export async function restoreVolume(
  repository: Repository,
  options: RestoreVolumeOptions,
): Promise<{ readonly bytesDone: number; readonly ignored: readonly string[] }> {
  const { path, parallel, writeSparseFiles, signal } = options;
  const id = parseManifestId(options.snapshotId);
  const snapshot = await loadSnapshot(repository, id, { signal });
  const totalBytes = snapshot.root.summary?.sizeBytes ?? 0;
  const report = await restore(repository, {
    root: snapshot.root,
    target: localTarget(path, {
      ignorePermissionErrors: true,
      writeSparseFiles,
      flushFiles: false,
      writerThreads: parallel,
    }),
    onProgress: ({ bytes }) => options.onProgress?.({ bytesDone: bytes, totalBytes }),
    signal,
  });
  const isIgnored = (failed: string): boolean =>
    SNAPSHOT_FOLDERS.some((folder) => failed === folder || failed.startsWith(`${folder}/`));
  const failures = report.failures.filter((failure) => !isIgnored(failure.path));
  if (failures.length > 0 || report.failed > report.failures.length) {
    throw new VarveError("target-failed", describeFailures(failures));
  }
  return { bytesDone: report.bytes, ignored: report.failures.map((failure) => failure.path) };
}
