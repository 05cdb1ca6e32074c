import {
  formatSource,
  listSnapshots,
  type ManifestId,
  type ObjectId,
  parseObjectId,
  type Repository,
  VarveError,
  verify,
  type VerifyReport,
} from "@varve/core";
import type { Command } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, collect, parseCount, parsePercent, parsePositive } from "../options.ts";
import { counted, formatBytes, printableName, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";
import { snapshotsOf, sourceOf } from "../select.ts";

interface VerifyOptions {
  readonly sources?: readonly string[];
  readonly directoryId?: readonly string[];
  readonly fileId?: readonly string[];
  readonly verifyFilesPercent: number;
  readonly maxErrors: number;
  readonly parallel?: number;
  readonly json: boolean;
}

export function verifyCommand(command: Command): void {
  command
    .argument("[ids...]", "snapshots; left out: all of them")
    .option("--sources <source>", "the snapshots of a path or user@host:/path; repeatable", collect)
    .option("--directory-id <id>", "a directory by its object id; repeatable", collect)
    .option("--file-id <id>", "a file by its object id; repeatable", collect)
    .option(
      "--verify-files-percent <percent>",
      "the part of the files whose bytes are read; Kopia's default is 0",
      parsePercent,
      100,
    )
    .option("--max-errors <count>", "list so many errors at most; 0 lists all", parseCount, 0)
    .option("--parallel <count>", "reads from storage at once", parsePositive);
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async (ids: readonly string[]) => {
    const options = command.opts<VerifyOptions>();
    await withRepository(command, { readOnly: true }, async (repository, context) => {
      const signal = AbortSignal.any([context.stop, context.signal]);
      const chosen = await chosenRoots(repository, ids, options, signal);
      using progress = await startProgress({
        enabled: context.globals.progress,
        label: "verifying",
      });
      const report = await verify(repository, {
        ...chosen,
        readFraction: options.verifyFilesPercent / 100,
        parallel: options.parallel,
        signal,
        onProgress: ({ files, contents, bytesRead }) =>
          progress.update({ text: `${files} files, ${contents} contents`, bytesDone: bytesRead }),
      });
      progress[Symbol.dispose]();
      printReport(report, options);
    });
  });
}

async function chosenRoots(
  repository: Repository,
  ids: readonly string[],
  options: VerifyOptions,
  signal: AbortSignal,
): Promise<{ snapshots?: readonly ManifestId[]; roots?: readonly ObjectId[] }> {
  const { sources = [], directoryId = [], fileId = [] } = options;
  const roots = [...directoryId, ...fileId].map(parseObjectId);
  if (ids.length + sources.length + roots.length === 0) {
    return {};
  }
  const snapshots = (await snapshotsOf(repository, ids, { signal })).map(({ id }) => id);
  for (const text of sources) {
    const source = sourceOf(repository, text);
    const list = await listSnapshots(repository, { source }, { signal });
    if (list.snapshots.length === 0) {
      throw new VarveError("manifest-not-found", `no snapshot of ${formatSource(source)}`);
    }
    snapshots.push(...list.snapshots.map(({ id }) => id));
  }
  return { snapshots: [...new Set(snapshots)], roots };
}

function printReport(report: VerifyReport, { json, maxErrors }: VerifyOptions): void {
  const { damagedCount, snapshots, directories, files, contents, bytesRead } = report;
  const listed = report.damaged.slice(0, maxErrors === 0 ? undefined : maxErrors);
  const lines = listed.map(
    ({ snapshot, path, message, code }) =>
      `${snapshot}/${printableName(path)}: ${printableName(message)} [${code}]`,
  );
  if (damagedCount > 0) {
    process.exitCode = EXIT_FAILED;
  }
  if (json) {
    const stats = {
      // Kopia's names for what both count
      processedObjectCount: directories + files,
      readBytes: bytesRead,
      snapshots,
      directories,
      files,
      contents,
      contentsRead: report.contentsRead,
    };
    printJson({ stats, errorCount: damagedCount, errorStrings: lines, damaged: listed });
    return;
  }
  for (const line of lines) {
    process.stderr.write(`varve: damaged: ${line}\n`);
  }
  printLine(
    `${counted(snapshots, "snapshot")}, ${counted(directories, "directory")}, ${counted(files, "file")}, ${counted(contents, "content")}; ${counted(report.contentsRead, "content")} read whole (${formatBytes(bytesRead)})`,
  );
  printLine(damagedCount === 0 ? "no damage found" : counted(damagedCount, "damaged entry"));
}
