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

/** One deletion, with what it counted. */
export interface FreeingStep {
  readonly task: TaskName;
  readonly work: () => Promise<Readonly<Record<string, number>>>;
}

/**
 * What frees space in a store that has none left: deletions alone, of what every margin allows, before even the schedule is written.
 * Storage's time cannot be asked without writing; the newest time in it is never later, so that ages come out too small at worst.
 */
export async function stepsWithoutWriting(
  repository: Repository,
  options: CallOptions & {
    readonly index: CompactOptions;
    readonly margins: SafetyMargins;
    readonly schedule: MaintenanceSchedule;
    readonly logRetention: LogRetention;
  },
): Promise<readonly FreeingStep[]> {
  const { index, margins, schedule, logRetention, signal } = options;
  const startMs = await newestTimeMs(repository, { signal });
  const steps: FreeingStep[] = [
    {
      task: "cleanup-logs",
      work: async () =>
        deletionCounts(await cleanUpLogs(repository.blobs, logRetention, { startMs, signal })),
    },
  ];
  if (index.format.epochs.enabled) {
    steps.push(
      {
        task: "delete-superseded-epoch-indexes",
        work: async () => deletionCounts(await deleteSupersededIndexes(index, { signal })),
      },
      {
        task: "cleanup-epoch-markers",
        work: async () => deletionCounts(await cleanUpMarkers(index, { signal })),
      },
    );
  }
  if (mayDeletePacks(schedule, { margins, nowMs: startMs })) {
    const { sealer } = index;
    const freePacks = async (): Promise<Readonly<Record<string, number>>> => {
      const deletion = { startMs, margins, sealer, signal };
      const { blobs, bytes, locked } = await deleteUnreferencedPacks(repository, deletion);
      return { blobs, bytes, ...lockedCounts(locked) };
    };
    steps.push({ task: "full-delete-blobs", work: freePacks });
  }
  return steps;
}

async function newestTimeMs({ blobs }: Repository, { signal }: CallOptions): Promise<number> {
  let newestMs = 0;
  for await (const { mtimeMs } of blobs.list("", { signal })) {
    newestMs = Math.max(newestMs, mtimeMs);
  }
  return newestMs;
}
