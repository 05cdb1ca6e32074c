import { parseBlobId } from "@varve/core";
import type { BlobStore, CallOptions } from "@varve/core/blob";
import { put, putJsonGz } from "../backup/put-backup-files.ts";
import type { RunResult } from "../server/recorded-log.ts";

/** The files of one restore in its folder: semantics spec section 3.5. */
export interface RestoreFiles {
  /** Compressed. */
  readonly log: readonly Uint8Array[];
  readonly results: { readonly warnings: RunResult; readonly errors: RunResult };
  readonly resourceList: Readonly<Record<string, readonly string[]>>;
  readonly itemOperations: readonly unknown[];
  readonly volumeInfo: readonly unknown[];
}

export async function putRestoreFiles(
  store: BlobStore,
  name: string,
  files: RestoreFiles,
  options: CallOptions,
): Promise<void> {
  await put(store, `restore-${name}-logs.gz`, files.log, options);
  await putJsonGz(store, `restore-${name}-results.gz`, files.results, options);
  await putJsonGz(store, `restore-${name}-resource-list.json.gz`, files.resourceList, options);
  await putJsonGz(store, `restore-${name}-itemoperations.json.gz`, files.itemOperations, options);
  await putJsonGz(store, `${name}-volumeinfo.json.gz`, files.volumeInfo, options);
}

/** Everything in the restore's folder. */
export async function deleteRestoreFiles(store: BlobStore, { signal }: CallOptions): Promise<void> {
  const ids: string[] = [];
  for await (const { id } of store.list("", { signal })) {
    ids.push(id);
  }
  for (const id of ids) {
    await store.delete(parseBlobId(id), { signal });
  }
}
