import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createRepository, createSnapshot, openFileSystemStore, openRepository } from "@varve/core";
import { prepareDataset } from "./datasets.ts";
import type { LayerOptions } from "./layers.ts";
import type { Liveness } from "./result.ts";

/** How late the event loop of a program is while it backs up through the library: what its other work feels. */
export async function measureLiveness(options: LayerOptions): Promise<Liveness[]> {
  const results: Liveness[] = [];
  for (const dataset of options.datasets) {
    const { path } = prepareDataset(dataset, join(options.directory, "data"), options.scale);
    for (const workers of [availableParallelism(), 0]) {
      options.log(`event loop: ${dataset.name}, ${workers} workers`);
      const delays = await delaysOfBackup(path, { workers, directory: options.directory });
      results.push({ dataset: dataset.name, workers, ...delays });
    }
  }
  return results;
}

async function delaysOfBackup(
  path: string,
  { workers, directory }: { readonly workers: number; readonly directory: string },
): Promise<Pick<Liveness, "medianMs" | "p99Ms" | "maxMs">> {
  const repositoryPath = join(directory, "liveness");
  rmSync(repositoryPath, { recursive: true, force: true });
  await using store = await openFileSystemStore(repositoryPath, { create: true });
  await createRepository(store, { password: "bench" });
  await using repository = await openRepository(store, { password: "bench", workers });
  const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  monitor.enable();
  await createSnapshot(repository, { path });
  monitor.disable();
  rmSync(repositoryPath, { recursive: true, force: true });
  // What is recorded is the time between two turns, so the resolution is part of it.
  const lateMs = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  return {
    medianMs: lateMs(monitor.percentile(50)),
    p99Ms: lateMs(monitor.percentile(99)),
    maxMs: lateMs(monitor.max),
  };
}

const RESOLUTION_MS = 1;
