import { spawnSync } from "node:child_process";
import { statfsSync } from "node:fs";
import { cpus, platform, release, totalmem } from "node:os";

/** The shape of a result file. Sizes are bytes; nothing in it names a path, a host or a user. */
export interface BenchResult {
  readonly schema: 1;
  /** `YYYY-MM-DD`. */
  readonly date: string;
  /** 1 is the full size of the datasets. */
  readonly scale: number;
  readonly runs: number;
  readonly machine: Machine;
  /** By program: `kopia`, `restic`, … */
  readonly versions: Readonly<Record<string, string>>;
  /** Of varve, with `-dirty` when it was not built from a commit; left out in older results. */
  readonly commits?: readonly string[];
  /** In which state caches were, and the like. */
  readonly conditions: readonly string[];
  readonly datasets: readonly DatasetResult[];
  /** What each tool was asked to do, in the order of the report. */
  readonly tools: readonly { readonly name: string; readonly title: string }[];
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Failure[];
  readonly primitives: readonly Primitive[];
  readonly liveness: readonly Liveness[];
  /** Left out where it was not measured. */
  readonly latency?: readonly LatencySample[];
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** e.g. `linux 6.1.0`. */
  readonly system: string;
  /** Where data and repositories are; left out in older results. */
  readonly fileSystem?: string;
  readonly node: string;
}

export interface DatasetResult {
  readonly name: string;
  readonly title: string;
  readonly changeTitle: string;
  readonly files: number;
  readonly bytes: number;
}

export const PHASES = ["first", "unchanged", "change", "restore"] as const;
export type Phase = (typeof PHASES)[number];

/** One cell of the comparison. */
export interface Measurement {
  readonly dataset: string;
  readonly tool: string;
  readonly phase: Phase;
  readonly seconds: Summary;
  readonly peakBytes: Summary;
  /** Of the repository's files after it; left out for a restore. */
  readonly storedBytes?: Summary;
}

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** In the order they were run. */
  readonly runs: readonly number[];
}

export interface Failure {
  readonly dataset: string;
  readonly tool: string;
  readonly message: string;
}

/** One task of a `tinybench` suite. */
export interface Primitive {
  readonly suite: string;
  readonly name: string;
  /** What one call handles: bytes of data, or a count of things. */
  readonly unit: "bytes" | "count";
  readonly amount: number;
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  readonly samples: number;
}

/** How late the event loop was while this process did something through the library. */
export interface Liveness {
  readonly dataset: string;
  /** Left out in older results: a first backup. */
  readonly work?: LivenessWork;
  /** 0 when the work was done in the thread of the event loop. */
  readonly workers: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export type LivenessWork = "first backup" | "unchanged backup" | "restore" | "verify";

/** One command on a repository in a bucket behind a latency. */
export interface LatencySample {
  readonly dataset: string;
  readonly tool: string;
  /** How long each request waits. */
  readonly latencyMs: number;
  readonly phase: LatencyPhase;
  readonly seconds: number;
  readonly peakBytes: number;
  readonly requests: number;
  /** Requests that waited for an answer at once. */
  readonly mostAtOnce: number;
}

export type LatencyPhase = Extract<Phase, "first" | "restore">;
export const LATENCY_PHASES: readonly LatencyPhase[] = ["first", "restore"];

/** `runs` must not be empty. */
export function summarize(runs: readonly number[]): Summary {
  const sorted = [...runs].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
  return { median, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0, runs };
}

/** `directory` is where data and repositories are. */
export function describeMachine(directory: string): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryBytes: totalmem(),
    system: `${platform()} ${release()}`,
    fileSystem: fileSystemOf(directory),
    node: process.versions.node,
  };
}

function fileSystemOf(directory: string): string {
  const { type } = statfsSync(directory);
  return FILE_SYSTEMS.get(type) ?? `file system 0x${type.toString(16)}`;
}

// As in Linux's magic.h.
const FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0xef53, "ext4"],
  [0x01021994, "tmpfs"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x794c7630, "overlayfs"],
  [0x2fc12fc1, "zfs"],
]);

/** Which commit of varve this is, when it can be told. */
export function currentCommits(): readonly string[] {
  const args = ["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"];
  const { status, stdout } = spawnSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" });
  return status === 0 ? [stdout.trim()] : [];
}

export function findMeasurement(
  result: BenchResult,
  cell: { readonly dataset: string; readonly tool: string; readonly phase: Phase },
): Measurement | undefined {
  return result.measurements.find(
    ({ dataset, tool, phase }) =>
      dataset === cell.dataset && tool === cell.tool && phase === cell.phase,
  );
}

/** Those that anything was measured with, in their order. */
export function measuredDatasets(result: BenchResult): BenchResult["datasets"] {
  const measured = new Set(result.measurements.map(({ dataset }) => dataset));
  return result.datasets.filter(({ name }) => measured.has(name));
}
