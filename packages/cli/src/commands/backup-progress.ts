import {
  estimateSnapshot,
  listSnapshots,
  loadPolicyTree,
  localSource,
  type Repository,
  type SnapshotSource,
  type UploadProgress,
} from "@varve/core";
import { formatBytes } from "../output.ts";
import { startProgress } from "../progress.ts";

/** The progress line of a backup. */
export interface BackupProgress extends Disposable {
  update(state: UploadProgress): void;
}

/**
 * How much there is to do is at first what the latest snapshot held, then what a walk beside the backup counts. Without a
 * terminal there is neither a line nor a walk.
 */
export async function startBackupProgress(
  repository: Repository,
  options: {
    readonly enabled: boolean;
    readonly source: SnapshotSource;
    /** Left out for standard input, whose length nobody knows. */
    readonly path: string | undefined;
    readonly signal: AbortSignal;
  },
): Promise<BackupProgress> {
  const { enabled, source, path, signal } = options;
  const progress = await startProgress({ enabled, label: "backing up" });
  const ended = new AbortController();
  let bytesTotal: number | undefined;
  if (enabled && process.stderr.isTTY && path !== undefined) {
    const { snapshots } = await listSnapshots(repository, { source }, { signal });
    bytesTotal = snapshots.at(-1)?.root.summary?.sizeBytes;
    void countBytes(repository, {
      source,
      path,
      signal: AbortSignal.any([signal, ended.signal]),
      onCounted: (bytes) => {
        bytesTotal = bytes;
      },
    });
  }
  return {
    update: (state) => {
      const { filesDone, filesCached, errors, bytesUploaded, bytesHashed, bytesCached } = state;
      const files = `${filesDone} files read, ${filesCached} unchanged`;
      const failed = errors === 0 ? "" : `, ${errors} errors`;
      progress.update({
        text: `${files}${failed}, ${formatBytes(bytesUploaded)} uploaded`,
        bytesDone: bytesHashed + bytesCached,
        bytesTotal,
      });
    },
    [Symbol.dispose]: () => {
      ended.abort();
      progress[Symbol.dispose]();
    },
  };
}

/** Never throws: the backup itself says what is wrong. */
async function countBytes(
  repository: Repository,
  options: {
    readonly source: SnapshotSource;
    readonly path: string;
    readonly signal: AbortSignal;
    readonly onCounted: (bytes: number) => void;
  },
): Promise<void> {
  const { source, path, signal, onCounted } = options;
  try {
    const policy = await loadPolicyTree(repository, source, { signal });
    const root = await localSource(path, { signal });
    onCounted((await estimateSnapshot({ root, policy, signal })).included.bytes);
  } catch {
    // Progress does without a total.
  }
}
