import type { CallOptions } from "../base/environment.ts";
import { deleteBlobs, type Deletions } from "../blob/delete-blobs.ts";
import type { BlobInfo, BlobStore } from "../blob/store.ts";
import type { LogRetention } from "../repository/maintenance-parameters.ts";

/** Deletes Kopia's log blobs from the newest that is too many, too old or too much on (behaviour §4.4). */
export async function cleanUpLogs(
  store: BlobStore,
  { maxCount, maxAgeMs, maxTotalSizeBytes }: LogRetention,
  { startMs, signal }: CallOptions & { startMs: number },
): Promise<Deletions> {
  const logs: BlobInfo[] = [];
  for await (const blob of store.list("_log_", { signal })) {
    logs.push(blob);
  }
  logs.sort((a, b) => b.mtimeMs - a.mtimeMs);
  let total = 0;
  const firstDoomed = logs.findIndex(({ size, mtimeMs }, index) => {
    total += size;
    return index >= maxCount || startMs - mtimeMs > maxAgeMs || total > maxTotalSizeBytes;
  });
  return await deleteBlobs(store, firstDoomed < 0 ? [] : logs.slice(firstDoomed), { signal });
}
