import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import {
  createRepository,
  createSnapshot,
  localTarget,
  openFileSystemStore,
  openRepository,
  restore,
  verify,
} from "@varve/core";
import { prepareDataset } from "./datasets.ts";
import type { LayerOptions } from "./layers.ts";
import type { Liveness, LivenessWork } from "./result.ts";

/** How late the event loop of a program is while it works through the library: what its other work feels. */
export async function measureLiveness(options: LayerOptions): Promise<Liveness[]> {
  const results: Liveness[] = [];
  for (const dataset of options.datasets) {
    const { path } = prepareDataset(dataset, join(options.directory, "data"), options.scale);
    for (const workers of [availableParallelism(), 0]) {
      options.log(`event loop: ${dataset.name}, ${workers} workers`);
      const delays = await delaysOn(path, { workers, directory: options.directory });
      results.push(...delays.map((late) => ({ dataset: dataset.name, workers, ...late })));
    }
  }
  return results;
}

type Late = Pick<Liveness, "work" | "medianMs" | "p99Ms" | "maxMs">;

async function delaysOn(
  path: string,
  { workers, directory }: { readonly workers: number; readonly directory: string },
): Promise<Late[]> {
  const repositoryPath = join(directory, "liveness");
  const target = join(directory, "liveness-restored");
  const clean = (): void => {
    rmSync(repositoryPath, { recursive: true, force: true });
    rmSync(target, { recursive: true, force: true });
  };
  clean();
  await using store = await openFileSystemStore(repositoryPath, { create: true });
  await createRepository(store, { password: "bench" });
  await using repository = await openRepository(store, { password: "bench", workers });
  const late: Late[] = [];
  const watch = async <T>(work: LivenessWork, run: () => Promise<T>): Promise<T> => {
    const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    monitor.enable();
    const result = await run();
    monitor.disable();
    late.push({ work, ...delaysOf(monitor) });
    return result;
  };
  const { snapshot } = await watch("first backup", () => createSnapshot(repository, { path }));
  await watch("unchanged backup", () => createSnapshot(repository, { path }));
  await watch("restore", () =>
    restore(repository, { root: snapshot.root, target: localTarget(target) }),
  );
  await watch("verify", () => verify(repository));
  clean();
  return late;
}

function delaysOf(monitor: IntervalHistogram): Omit<Late, "work"> {
  // What is recorded is the time between two turns, so the resolution is part of it.
  const lateMs = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  return {
    medianMs: lateMs(monitor.percentile(50)),
    p99Ms: lateMs(monitor.percentile(99)),
    maxMs: lateMs(monitor.max),
  };
}

const RESOLUTION_MS = 1;
