import { resolve } from "node:path";
import {
  estimateSnapshot,
  loadPolicyTree,
  localSource,
  SIZE_CLASSES,
  type EstimateCounts,
  type SnapshotEstimate,
} from "@varve/core";
import type { Command } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, parseCount, parsePositive } from "../options.ts";
import {
  counted,
  formatBytes,
  formatDuration,
  printableName,
  printJson,
  printLine,
} from "../output.ts";
import { startProgress } from "../progress.ts";
import { sourceOf } from "../select.ts";

interface EstimateOptions {
  readonly showFiles: boolean;
  readonly quiet: boolean;
  readonly uploadSpeed: number;
  readonly maxExamplesPerBucket: number;
  readonly json: boolean;
}

export function estimateCommand(command: Command): void {
  command.argument("<path>", "a file or directory");
  addSwitch(command, "show-files", { on: false, help: "with examples of each size" });
  addSwitch(command, "quiet", { short: "q", on: false, help: "no progress" });
  command
    .option("--upload-speed <mbit/s>", "for the estimated time", parsePositive, 10)
    .option("--max-examples-per-bucket <count>", "for --show-files and --json", parseCount, 10);
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async (path: string) => {
    const options = command.opts<EstimateOptions>();
    await withRepository(command, { readOnly: true }, async (repository, { globals, stop }) => {
      const call = { signal: stop };
      const source = sourceOf(repository, resolve(path));
      const policy = await loadPolicyTree(repository, source, call);
      using progress = await startProgress({
        enabled: globals.progress && !options.quiet,
        label: "looking",
      });
      const estimate = await estimateSnapshot({
        ...call,
        root: await localSource(path, call),
        policy,
        maxExamples: options.maxExamplesPerBucket,
        onProgress: ({ included }) =>
          progress.update({ text: `${included.files} files`, bytesDone: included.bytes }),
      });
      progress[Symbol.dispose]();
      if (estimate.errorCount > 0) {
        process.exitCode = EXIT_FAILED;
      }
      printEstimate(estimate, options);
    });
  });
}

function printEstimate(estimate: SnapshotEstimate, options: EstimateOptions): void {
  const seconds = (estimate.included.bytes * 8) / (options.uploadSpeed * 1e6);
  if (options.json) {
    printJson({
      ...estimate,
      included: countsJson(estimate.included),
      excluded: countsJson(estimate.excluded),
      uploadSeconds: seconds,
    });
    return;
  }
  for (const { path, message } of estimate.errors) {
    process.stderr.write(`varve: ${printableName(path)}: ${printableName(message)}\n`);
  }
  printLine(`${counted(estimate.directories, "directory")} to back up`);
  printCounts("to back up", estimate.included, options);
  printLine();
  printCounts("left out", estimate.excluded, options);
  printLine(`${counted(estimate.excludedDirectories, "directory")} left out`);
  for (const path of estimate.excludedDirectoryExamples) {
    printLine(`  ${printableName(path)}`);
  }
  printLine();
  printLine(
    `uploading all of it takes ${formatDuration(seconds * 1000)} at ${options.uploadSpeed} Mbit/s`,
  );
}

function printCounts(what: string, counts: EstimateCounts, { showFiles }: EstimateOptions): void {
  printLine(`${counted(counts.files, "file")} ${what}, ${formatBytes(counts.bytes)}`);
  for (const [index, { files, bytes, examples }] of counts.classes.entries()) {
    if (files > 0) {
      printLine(`  ${className(index)}: ${counted(files, "file")}, ${formatBytes(bytes)}`);
      for (const path of showFiles ? examples : []) {
        printLine(`    ${printableName(path)}`);
      }
    }
  }
}

function className(index: number): string {
  const below = SIZE_CLASSES[index] ?? Number.POSITIVE_INFINITY;
  return Number.isFinite(below)
    ? `below ${formatBytes(below)}`
    : `${formatBytes(SIZE_CLASSES[index - 1] ?? 0)} and more`;
}

function countsJson({ files, bytes, classes }: EstimateCounts): object {
  const buckets = classes.map((sizeClass, index) => {
    const below = SIZE_CLASSES[index] ?? Number.POSITIVE_INFINITY;
    return { ...sizeClass, belowBytes: Number.isFinite(below) ? below : null };
  });
  return { files, bytes, buckets: buckets.filter(({ files }) => files > 0) };
}
