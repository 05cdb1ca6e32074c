import { forEachLimit } from "../base/concurrency.ts";
import type { CallOptions } from "../base/environment.ts";
import type { BlobInfo, BlobStore } from "../blob/store.ts";
import type { LogRetention } from "../repository/maintenance-parameters.ts";

const DELETES_IN_FLIGHT = 16;

/** Deletes Kopia's log blobs from the newest that is too many, too old or too much on (behaviour §4.4). */
export async function cleanUpLogs(
  store: BlobStore,
  { maxCount, maxAgeMs, maxTotalSizeBytes }: LogRetention,
  { startMs, signal }: CallOptions & { startMs: number },
): Promise<{ readonly blobs: number; readonly bytes: number }> {
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
  const doomed = firstDoomed < 0 ? [] : logs.slice(firstDoomed);
  await forEachLimit(doomed, { limit: DELETES_IN_FLIGHT, signal }, ({ id }) =>
    store.delete(id, { signal }),
  );
  return { blobs: doomed.length, bytes: doomed.reduce((sum, { size }) => sum + size, 0) };
}
