import {
  type CopyReport,
  copySnapshots,
  formatSource,
  listSnapshots,
  type ManifestId,
  type Repository,
  VarveError,
} from "@varve/core";
import type { Command } from "commander";
import { maintainWhenDue } from "../auto-maintenance.ts";
import { type CommandContext, withOtherRepository, withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, collect, parsePositive } from "../options.ts";
import { counted, formatBytes, printableName, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";
import { failForDamage, shownTime, snapshotsOf, sourceOf } from "../select.ts";

/** `snapshot migrate` brings snapshots here, `snapshot copy` takes them elsewhere: into a repository with another key, hash or cut. */

interface MigrateOptions {
  readonly sourceConfig: string;
  readonly sourcePasswordFile?: string;
  readonly sources?: readonly string[];
  readonly all: boolean;
  readonly policies: boolean;
  readonly overwritePolicies: boolean;
  readonly latestOnly: boolean;
  readonly parallel: number;
  readonly json: boolean;
}

export function migrateCommand(command: Command): void {
  command
    .requiredOption("--source-config <path>", "connection of the repository to copy from")
    .option("--source-password-file <path>", "its password; else what is kept, else this one's")
    .option("--sources <source>", "of user@host:/path or a path; repeatable", collect)
    .option("--parallel <count>", "sources that are copied at once", parsePositive, 1);
  addSwitch(command, "all", { on: false, help: "all sources, and with them all policies" });
  addSwitch(command, "policies", { on: true, help: "leave policies" });
  addSwitch(command, "overwrite-policies", { on: false, help: "also those that are here already" });
  addSwitch(command, "latest-only", { on: false, help: "only the latest snapshot of each source" });
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async () => {
    const options = command.opts<MigrateOptions>();
    if (options.all === (options.sources !== undefined)) {
      throw new VarveError("invalid-argument", "give either --all or --sources");
    }
    const { sourceConfig: configFile, sourcePasswordFile: passwordFile } = options;
    await withRepository(command, { readOnly: false }, async (target, context) => {
      const other = { configFile, passwordFile, readOnly: true };
      await withOtherRepository(command, other, async (source) => {
        const snapshots = await chooseSnapshots(source, options, context.stop);
        failForDamage(source);
        const policies = !options.policies
          ? "none"
          : options.overwritePolicies
            ? "overwrite"
            : "missing";
        const { parallel, json } = options;
        await copy(source, target, { snapshots, policies, parallel, context, json });
      });
      await maintainWhenDue(target, context);
    });
  });
}

/** Nothing for all of them. */
async function chooseSnapshots(
  source: Repository,
  { sources, latestOnly }: MigrateOptions,
  signal: AbortSignal,
): Promise<readonly ManifestId[] | undefined> {
  if (sources === undefined && !latestOnly) {
    return undefined;
  }
  const wanted = sources && new Set(sources.map((text) => formatSource(sourceOf(source, text))));
  const { snapshots } = await listSnapshots(source, { incomplete: false }, { signal });
  const chosen = new Map<string, ManifestId[]>();
  for (const snapshot of snapshots) {
    const name = formatSource(snapshot.source);
    if (wanted?.has(name) ?? true) {
      chosen.set(name, [...(latestOnly ? [] : (chosen.get(name) ?? [])), snapshot.id]);
    }
  }
  const missing = [...(wanted ?? [])].find((name) => !chosen.has(name));
  if (missing !== undefined) {
    throw new VarveError("manifest-not-found", `no snapshot of ${printableName(missing)}`);
  }
  return [...chosen.values()].flat();
}

export function copyCommand(command: Command): void {
  command
    .argument("<ids...>", "snapshots")
    .requiredOption("--target-config <path>", "connection of the repository to copy into")
    .option("--target-password-file <path>", "its password; else what is kept, else this one's");
  addSwitch(command, "policies", { on: false, help: "with the policies of their sources" });
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async (ids: readonly string[]) => {
    const { targetConfig, targetPasswordFile, policies, json } = command.opts<{
      targetConfig: string;
      targetPasswordFile?: string;
      policies: boolean;
      json: boolean;
    }>();
    await withRepository(command, { readOnly: true }, async (source, context) => {
      const found = await snapshotsOf(source, ids, { signal: context.stop });
      const snapshots = found.map(({ id }) => id);
      const other = { configFile: targetConfig, passwordFile: targetPasswordFile, readOnly: false };
      await withOtherRepository(command, other, async (target) => {
        const how = policies ? "missing" : "none";
        await copy(source, target, { snapshots, policies: how, parallel: 1, context, json });
      });
    });
  });
}

async function copy(
  source: Repository,
  target: Repository,
  options: {
    readonly snapshots: readonly ManifestId[] | undefined;
    readonly policies: "none" | "missing" | "overwrite";
    readonly parallel: number;
    readonly context: CommandContext;
    readonly json: boolean;
  },
): Promise<void> {
  const { snapshots, policies, parallel, context, json } = options;
  using progress = await startProgress({ enabled: context.globals.progress, label: "copying" });
  const report = await copySnapshots(source, target, {
    snapshots,
    policies,
    parallel,
    signal: AbortSignal.any([context.stop, context.signal]),
    onProgress: ({ files, bytes }) =>
      progress.update({ text: counted(files, "file"), bytesDone: bytes }),
  });
  progress[Symbol.dispose]();
  if (report.failed.length > 0) {
    process.exitCode = EXIT_FAILED;
  }
  if (json) {
    printJson(reportJson(report));
  } else {
    printReport(report);
  }
}

function reportJson({ copied, present, failed, ...counts }: CopyReport): object {
  return {
    ...counts,
    copied: copied.map(({ from, snapshot }) => ({ from, id: snapshot.id })),
    present: present.map(({ id }) => id),
    failed: failed.map(({ snapshot, message }) => ({ id: snapshot.id, message })),
  };
}

function printReport({ copied, present, failed, policies, files, bytes }: CopyReport): void {
  for (const { from, snapshot } of copied) {
    const what = `${printableName(formatSource(snapshot.source))} at ${shownTime(snapshot.startTimeNs)}`;
    printLine(`copied snapshot ${from} of ${what}: is ${snapshot.id}`);
  }
  for (const { snapshot, message } of failed) {
    process.stderr.write(
      `varve: snapshot ${snapshot.id} is not copied: ${printableName(message)} [source-failed]\n`,
    );
  }
  const read = `${counted(files, "file")} (${formatBytes(bytes)}) read`;
  printLine(
    `${counted(copied.length, "snapshot")} copied, ${present.length} there before, ${read}, ${counted(policies, "policy")} set`,
  );
}
