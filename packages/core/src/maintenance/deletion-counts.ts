import { type BlobTotals, type Deletions, totalsOf } from "../blob/delete-blobs.ts";
import type { TaskReport } from "./task-log.ts";

/** What a step counts that deletes: `blobs` and `bytes` are gone, and what is locked is named where there is some. */
export function deletionCounts({ deleted, locked }: Deletions): Record<string, number> {
  return { ...totalsOf(deleted), ...lockedCounts(totalsOf(locked)) };
}

export function lockedCounts({ blobs, bytes }: BlobTotals): Record<string, number> {
  return blobs === 0 ? {} : { lockedBlobs: blobs, lockedBytes: bytes };
}

/** What all steps together had to leave; a step that came twice met the same blobs again. */
export function lockedIn(tasks: readonly TaskReport[]): BlobTotals | undefined {
  const last = new Map(tasks.map(({ task, counts }) => [task, counts]));
  const total = { blobs: 0, bytes: 0 };
  for (const counts of last.values()) {
    total.blobs += counts?.["lockedBlobs"] ?? 0;
    total.bytes += counts?.["lockedBytes"] ?? 0;
  }
  return total.blobs === 0 ? undefined : total;
}
