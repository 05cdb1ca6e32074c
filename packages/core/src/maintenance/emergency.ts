import type { CallOptions } from "../base/environment.ts";
import { cleanUpMarkers, deleteSupersededIndexes } from "../epoch/cleanup-epochs.ts";
import type { CompactOptions } from "../epoch/compact-epochs.ts";
import type { LogRetention } from "../repository/maintenance-parameters.ts";
import type { Repository } from "../repository/repository.ts";
import { cleanUpLogs } from "./clean-up-logs.ts";
import { deleteUnreferencedPacks } from "./delete-packs.ts";
import { mayDeletePacks } from "./due.ts";
import type { SafetyMargins } from "./safety.ts";
import { deletionCounts, lockedCounts } from "./deletion-counts.ts";
import type { MaintenanceSchedule, TaskName } from "./schedule.ts";

/**
 * What frees space in a store that has none left: deletions alone, of what every margin allows, before even the schedule is written.
 * Storage's time cannot be asked without writing; the newest time in it is never later, so that ages come out too small at worst.
 */
export async function freeWithoutWriting(
  repository: Repository,
  options: CallOptions & {
    readonly index: CompactOptions;
    readonly margins: SafetyMargins;
    readonly schedule: MaintenanceSchedule;
    readonly logRetention: LogRetention;
  },
): Promise<readonly { readonly task: TaskName; readonly counts: Record<string, number> }[]> {
  const { index, margins, schedule, logRetention, signal } = options;
  const startMs = await newestTimeMs(repository, { signal });
  const done: { task: TaskName; counts: Record<string, number> }[] = [];
  const logs = await cleanUpLogs(repository.blobs, logRetention, { startMs, signal });
  done.push({ task: "cleanup-logs", counts: deletionCounts(logs) });
  if (index.format.epochs.enabled) {
    const indexes = await deleteSupersededIndexes(index, { signal });
    done.push({ task: "delete-superseded-epoch-indexes", counts: deletionCounts(indexes) });
    const markers = await cleanUpMarkers(index, { signal });
    done.push({ task: "cleanup-epoch-markers", counts: deletionCounts(markers) });
  }
  if (mayDeletePacks(schedule, { margins, nowMs: startMs })) {
    const { sealer } = index;
    const found = await deleteUnreferencedPacks(repository, { startMs, margins, sealer, signal });
    const counts = { blobs: found.blobs, bytes: found.bytes, ...lockedCounts(found.locked) };
    done.push({ task: "full-delete-blobs", counts });
  }
  return done;
}

async function newestTimeMs({ blobs }: Repository, { signal }: CallOptions): Promise<number> {
  let newestMs = 0;
  for await (const { mtimeMs } of blobs.list("", { signal })) {
    newestMs = Math.max(newestMs, mtimeMs);
  }
  return newestMs;
}
