import {
  type FixChange,
  type FixOptions,
  type FixReport,
  fixSnapshots,
  formatSource,
  type InvalidDirectoryHandling,
  type InvalidFileHandling,
  listSnapshots,
  type ManifestId,
  parseObjectId,
  type Repository,
  VarveError,
} from "@varve/core";
import { type Command, Option } from "commander";
import { maintainWhenDue } from "../auto-maintenance.ts";
import { withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, collect, parsePercent, parsePositive } from "../options.ts";
import { counted, printableName, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";
import { failForDamage, shownTime, snapshotsOf, sourceOf } from "../select.ts";

/** `snapshot fix`: takes what is damaged or unwanted out of snapshots. Storage keeps it until maintenance removes it. */

interface CommonOptions {
  readonly manifestId?: readonly string[];
  readonly source?: readonly string[];
  readonly commit: boolean;
  readonly parallel?: number;
  readonly invalidDirectoryHandling: InvalidDirectoryHandling;
  readonly json: boolean;
}

export function fixCommands(command: Command): void {
  invalidFilesCommand(
    command.command("invalid-files").description("replace what cannot be read in snapshots"),
  );
  removeFilesCommand(
    command.command("remove-files").description("remove files and directories from snapshots"),
  );
}

function invalidFilesCommand(command: Command): void {
  addCommonOptions(command)
    .addOption(
      new Option("--invalid-file-handling <how>", "of files that cannot be read")
        .choices(["stub", "keep", "fail", "remove"])
        .default("stub"),
    )
    .option(
      "--verify-files-percent <percent>",
      "the part of the files whose bytes are read",
      parsePercent,
      0,
    );
  command.action(async () => {
    const { invalidFileHandling: handling, verifyFilesPercent } = command.opts<{
      invalidFileHandling: InvalidFileHandling;
      verifyFilesPercent: number;
    }>();
    await runFix(command, { invalidFiles: { handling, readFraction: verifyFilesPercent / 100 } });
  });
}

function removeFilesCommand(command: Command): void {
  addCommonOptions(command)
    .option("--filename <pattern>", "by a name with `*`, `?`, `[a-z]`; repeatable", collect)
    .option("--object-id <id>", "by an object id; repeatable", collect);
  command.action(async () => {
    const { filename = [], objectId = [] } = command.opts<{
      filename?: readonly string[];
      objectId?: readonly string[];
    }>();
    if (filename.length + objectId.length === 0) {
      throw new VarveError("invalid-argument", "give --filename, --object-id or both");
    }
    await runFix(command, {
      removeFiles: { names: filename, objects: objectId.map(parseObjectId) },
    });
  });
}

function addCommonOptions(command: Command): Command {
  command
    .option("--manifest-id <id>", "a snapshot; repeatable", collect)
    .option("--source <source>", "the snapshots of a path or user@host:/path; repeatable", collect)
    .option("--parallel <count>", "directories and packs read at once", parsePositive)
    .addOption(
      new Option("--invalid-directory-handling <how>", "of directories that cannot be read")
        .choices(["stub", "keep", "fail"])
        .default("stub"),
    );
  addSwitch(command, "commit", { on: false, help: "do it; without this, only tell" });
  return addSwitch(command, "json", { on: false, help: "print one JSON document" });
}

async function runFix(
  command: Command,
  what: Pick<FixOptions, "invalidFiles" | "removeFiles">,
): Promise<void> {
  const options = command.opts<CommonOptions>();
  const { commit, parallel, invalidDirectoryHandling: invalidDirectories } = options;
  await withRepository(command, { readOnly: !commit }, async (repository, context) => {
    const signal = AbortSignal.any([context.stop, context.signal]);
    const snapshots = await chosenSnapshots(repository, options, signal);
    using progress = await startProgress({ enabled: context.globals.progress, label: "fixing" });
    const report = await fixSnapshots(repository, {
      ...what,
      snapshots,
      commit,
      invalidDirectories,
      parallel,
      signal,
      onProgress: ({ directories, changeCount }) =>
        progress.update({
          text: `${counted(directories, "directory")}, ${counted(changeCount, "change")}`,
          bytesDone: 0,
        }),
    });
    progress[Symbol.dispose]();
    printReport(report, options);
    failForDamage(repository);
    await maintainWhenDue(repository, context);
  });
}

/** Nothing for all of them. */
async function chosenSnapshots(
  repository: Repository,
  { manifestId = [], source = [] }: CommonOptions,
  signal: AbortSignal,
): Promise<readonly ManifestId[] | undefined> {
  if (manifestId.length + source.length === 0) {
    return undefined;
  }
  const ids = (await snapshotsOf(repository, manifestId, { signal })).map(({ id }) => id);
  for (const text of source) {
    const wanted = sourceOf(repository, text);
    const { snapshots } = await listSnapshots(repository, { source: wanted }, { signal });
    if (snapshots.length === 0) {
      throw new VarveError("manifest-not-found", `no snapshot of ${formatSource(wanted)}`);
    }
    ids.push(...snapshots.map(({ id }) => id));
  }
  return ids;
}

function printReport(report: FixReport, { commit, json }: CommonOptions): void {
  for (const { id, message } of report.unreadable) {
    process.exitCode = EXIT_FAILED;
    process.stderr.write(
      `varve: snapshot ${id} is left alone: ${printableName(message)} [corrupt]\n`,
    );
  }
  if (json) {
    printJson(reportJson(report, commit));
    return;
  }
  for (const change of report.changes) {
    printLine(changeLine(change));
  }
  if (report.changeCount > report.changes.length) {
    printLine(`and ${counted(report.changeCount - report.changes.length, "change")} more`);
  }
  for (const { before, id } of report.fixed) {
    const name = `snapshot ${before.id} of ${printableName(formatSource(before.source))}, ${shownTime(before.startTimeNs)}`;
    printLine(id === undefined ? `would change ${name}` : `changed ${name}: is now ${id}`);
  }
  if (report.fixed.length === 0) {
    printLine(`${counted(report.snapshots, "snapshot")} looked at, no changes`);
  } else if (!commit) {
    printLine("nothing was changed: add --commit to do it");
  }
}

function changeLine({ snapshot, path, action, code, message }: FixChange): string {
  const why = `${printableName(message)}${code === undefined ? "" : ` [${code}]`}`;
  return `${action} ${snapshot}/${printableName(path)}: ${why}`;
}

function reportJson(report: FixReport, commit: boolean): object {
  const { snapshots, directories, changes, changeCount, fixed, unreadable } = report;
  return {
    committed: commit && fixed.length > 0,
    snapshots,
    directories,
    changeCount,
    changes,
    fixed: fixed.map(({ before, id, root }) => ({
      before: before.id,
      id,
      source: before.source,
      rootBefore: before.root.object,
      root: id === undefined ? undefined : root.object,
      sizeBefore: before.root.summary?.sizeBytes ?? before.root.sizeBytes,
      size: root.summary?.sizeBytes ?? root.sizeBytes,
    })),
    unreadable,
  };
}
