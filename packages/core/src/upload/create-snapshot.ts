import { resolve } from "node:path";
import type { Repository } from "../repository/repository.ts";
import type { SnapshotSource } from "../snapshot/snapshot-manifest.ts";
import { localSource } from "../source/local-source.ts";
import { upload } from "./upload.ts";
import type { UploadOptions, UploadReport } from "./upload-options.ts";

export interface CreateSnapshotOptions extends Omit<UploadOptions, "source" | "root" | "previous"> {
  /** A directory or a file of this machine; a symbolic link is followed, and the snapshot keeps its path. */
  readonly path: string;
  /** Left out: the repository's client and the absolute, clean form of `path`. */
  readonly source?: SnapshotSource | undefined;
}

/** Backs up a local path under the policies that the repository holds for it. Fails like `upload`. */
export async function createSnapshot(
  repository: Repository,
  options: CreateSnapshotOptions,
): Promise<UploadReport> {
  const { signal } = options;
  const path = resolve(options.path);
  const { hostname, username } = repository.client;
  const source = options.source ?? { host: hostname, userName: username, path };
  // Not where no threads are wanted, nor where an action may change a directory before the walk comes to it.
  const ahead = repository.executor.parallelJobs > 1 && options.actions === undefined;
  const root = await localSource(path, { ahead, signal });
  return upload(repository, { ...options, source, root });
}
