import { resolve } from "node:path";
import {
  localSource,
  openRepository,
  type Repository,
  repairContents,
  type RepairContentsReport,
  type SavedSnapshot,
  type SourceEntry,
} from "@varve/core";
import type { Command } from "commander";
import { cliEnvironment, globalOptions, withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, parsePercent, parsePositive } from "../options.ts";
import { counted, printableName, printJson, printLine } from "../output.ts";
import { findPassword } from "../password.ts";
import { startProgress } from "../progress.ts";
import { openStore } from "../storage.ts";

/** `content repair`: exit status 1 while anything is left that cannot be restored. */
export function addContentRepair(content: Command): void {
  const command = content
    .command("repair")
    .description("bring lost and damaged contents back from a mirror or the files")
    .option("--from-mirror <path>", "a folder with a copy of the repository, as by sync-to")
    .option(
      "--download-percent <n>",
      "the part of the bytes that is read for damage",
      parsePercent,
      100,
    )
    .option("--parallel <n>", "packs read at once", parsePositive, 8)
    .option("--json", "print one JSON document")
    .action(async () => repair(command));
  addSwitch(command, "from-source", {
    on: false,
    help: "read the files of this machine's snapshots again",
  });
  addSwitch(command, "commit", { on: false, help: "do it; without this, only tell" });
}

interface RepairOptions {
  readonly fromMirror?: string;
  readonly fromSource: boolean;
  readonly downloadPercent: number;
  readonly parallel: number;
  readonly commit: boolean;
  readonly json?: boolean;
}

async function repair(command: Command): Promise<void> {
  const options = command.opts<RepairOptions>();
  const { commit, fromMirror, fromSource, parallel } = options;
  await withRepository(command, { readOnly: !commit }, async (repository, context) => {
    using progress = await startProgress({ enabled: context.globals.progress, label: "repairing" });
    const report = await withMirror(command, fromMirror, (mirror) =>
      repairContents(repository, {
        commit,
        parallel,
        readFraction: options.downloadPercent / 100,
        mirror,
        source: fromSource ? (snapshot) => sourceOf(repository, snapshot) : undefined,
        signal: AbortSignal.any([context.stop, context.signal]),
        onProgress: ({ damaged, fromMirror: mirrored, fromSource: read }) =>
          progress.update({ text: `${mirrored + read} of ${damaged} contents`, bytesDone: 0 }),
      }),
    );
    progress[Symbol.dispose]();
    printReport(report, options);
  });
}

/** Under the same password. */
async function withMirror(
  command: Command,
  path: string | undefined,
  work: (mirror: Repository | undefined) => Promise<RepairContentsReport>,
): Promise<RepairContentsReport> {
  if (path === undefined) {
    return await work(undefined);
  }
  const environment = cliEnvironment();
  const password = await findPassword(globalOptions(command));
  const location = { type: "filesystem", config: { path: resolve(path) } };
  await using store = await openStore(location, { readOnly: true, environment });
  await using mirror = await openRepository(store, { password, environment, readOnly: true });
  return await work(mirror);
}

async function sourceOf(
  { client }: Repository,
  { source }: SavedSnapshot,
): Promise<SourceEntry | undefined> {
  const isOurs = source.host === client.hostname && source.userName === client.username;
  return isOurs ? await localSource(source.path).catch(() => undefined) : undefined;
}

function printReport(report: RepairContentsReport, { commit, json }: RepairOptions): void {
  const { damaged, fromMirror, fromSource, unhealed } = report;
  process.exitCode = unhealed.length > 0 ? EXIT_FAILED : process.exitCode;
  if (json === true) {
    printJson({ committed: commit, ...report });
    return;
  }
  for (const { snapshot, path, message, code } of unhealed) {
    const text = `${snapshot}/${printableName(path)}: ${printableName(message)} [${code}]`;
    process.stderr.write(`varve: not healed: ${text}\n`);
  }
  const healed = commit ? "healed" : "can be healed";
  printLine(
    `${counted(damaged, "content")} damaged; ${fromMirror} ${healed} from the mirror, ${fromSource} from files, ${report.corrected} by error correction; ${unhealed.length} paths and snapshots are not whole`,
  );
  if (!commit && fromMirror + fromSource + report.corrected > 0) {
    printLine("nothing was changed: add --commit to do it");
  }
}
