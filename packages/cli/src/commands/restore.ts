import { availableParallelism } from "node:os";
import { join } from "node:path";
import {
  localSource,
  type LocalTargetOptions,
  localTarget,
  readPlaceholder,
  type Repository,
  restore,
  type RestoreReport,
  type Selection,
  VarveError,
} from "@varve/core";
import { type Command, Option } from "commander";
import { archiveModeOf, openArchive } from "../archive-file.ts";
import { collectObjectsOften } from "../ceiling.ts";
import { type CommandContext, withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, parseCount } from "../options.ts";
import { counted, formatBytes, printableName, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";
import { selectEntry } from "../select.ts";
import { findPlaceholders, type Placeholder, removePlaceholder } from "./placeholder-files.ts";

const LOCAL_SWITCHES = [
  "overwriteFiles",
  "overwriteDirectories",
  "overwriteSymlinks",
  "skipExisting",
  "deleteExtra",
  "skipOwners",
  "skipPermissions",
  "skipTimes",
  "ignorePermissionErrors",
  "writeFilesAtomically",
  "writeSparseFiles",
  "flushFiles",
] as const satisfies readonly (keyof LocalTargetOptions)[];

type Switches = Readonly<Record<(typeof LOCAL_SWITCHES)[number], boolean>>;

interface RestoreOptions extends Switches {
  readonly mode: "auto" | "local" | "tar" | "tgz" | "zip" | "zip-nocompress";
  readonly parallel?: number;
  readonly snapshotTime?: string;
  readonly shallow?: number;
  readonly shallowMinsize?: number;
  /** Neither: go on, and say at the end that something failed. */
  readonly ignoreErrors?: boolean;
  readonly json: boolean;
}

export function restoreCommand(command: Command): void {
  command
    .argument(
      "<source>",
      "a snapshot's id or an object id, with an optional /path below; a path; user@host:/path; a placeholder",
    )
    .argument(
      "[target...]",
      "a folder, file, .tar, .tar.gz, .tgz or .zip; - with --mode for standard output; left out: where the path was backed up; more placeholders",
    )
    .addOption(
      new Option("--mode <mode>", "what to write")
        .choices(["auto", "local", "tar", "tgz", "zip", "zip-nocompress"])
        .default("auto"),
    )
    .option("--parallel <count>", "reads from storage at once", parseCount)
    .option(
      "--snapshot-time <time>",
      "for paths: latest, oldest, yesterday, 3d-ago, or a time (latest)",
    );
  command
    .option("--shallow <levels>", "placeholders for what lies deeper; 0 is all below", parseCount)
    .option("--shallow-minsize <bytes>", "no placeholders for smaller files", parseCount);
  addSwitches(command);
  // With neither everything is tried, and the exit status tells that something failed.
  command
    .option("--ignore-errors", "failed entries are listed, but are no failure of the command")
    .option("--no-ignore-errors", "stop at the first failed entry");
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async (source: string, targets: readonly string[]) => {
    const options = command.opts<RestoreOptions>();
    collectObjectsOften();
    const expanded = await findPlaceholders([source, ...targets]);
    if (expanded.length === 0 && targets.length > 1) {
      throw new VarveError("invalid-argument", "there is more than one target");
    }
    await withRepository(command, { readOnly: true }, async (repository, context) => {
      const [target] = targets;
      if (expanded.length === 0) {
        await restoreSelected(repository, { source, target, options, context });
      }
      for (const placeholder of expanded) {
        await expand(repository, placeholder, { options, context });
      }
    });
  });
}

function addSwitches(command: Command): void {
  const on = (name: string, help: string): Command => addSwitch(command, name, { on: true, help });
  const off = (name: string, help: string): Command =>
    addSwitch(command, name, { on: false, help });
  on("overwrite-files", "fail for files that exist");
  on("overwrite-directories", "fail for directories that exist and are not empty");
  on("overwrite-symlinks", "fail for symlinks that exist");
  off("skip-existing", "leave files of the same size and time alone");
  off("delete-extra", "remove what the snapshot does not have");
  off("skip-owners", "do not set owners");
  off("skip-permissions", "do not set permissions");
  off("skip-times", "do not set times");
  on("ignore-permission-errors", "fail where owner, permissions or times may not be set");
  off("write-files-atomically", "give each file its name only when it is complete");
  off("write-sparse-files", "leave holes in place of zeros");
  off("flush-files", "wait until each file is on disk");
}

interface Wanted {
  readonly source: string;
  readonly target: string | undefined;
  readonly options: RestoreOptions;
  readonly context: CommandContext;
}

/** One for each core, as creating files hardly waits; fewer under a memory ceiling. */
function writerThreads({ memory }: Repository): number {
  const threads = Math.min(availableParallelism(), MAX_WRITER_THREADS);
  return memory.limitBytes === undefined ? threads : Math.min(threads, memory.workers);
}

// More of them wait for each other in the file system.
const MAX_WRITER_THREADS = 4;

async function restoreSelected(repository: Repository, wanted: Wanted): Promise<void> {
  const { source, options, context } = wanted;
  const signal = AbortSignal.any([context.stop, context.signal]);
  const { snapshotTime } = options;
  const selection = await selectEntry(repository, source, { snapshotTime, signal });
  const { snapshot } = selection;
  const place = wanted.target ?? ownPlace(repository, source, selection);
  if (snapshot?.incomplete !== undefined) {
    process.stderr.write(
      `varve: warning: snapshot ${snapshot.id} is incomplete (${printableName(snapshot.incomplete)})\n`,
    );
  }
  // Backed up through the link, so put back through it.
  const followTargetSymlink = wanted.target === undefined;
  await restoreTo(repository, { selection, place, followTargetSymlink, options, context });
}

/** The placeholder goes when all of it is there. */
async function expand(
  repository: Repository,
  placeholder: Placeholder,
  { options, context }: Pick<Wanted, "options" | "context">,
): Promise<void> {
  const { place } = placeholder;
  const entry = await readPlaceholder(await localSource(placeholder.path));
  const report = await restoreTo(repository, {
    selection: { snapshot: undefined, entry, path: entry.name },
    place,
    followTargetSymlink: false,
    options: { ...options, mode: "local", shallow: options.shallow ?? 0 },
    context,
  });
  if (report.failed === 0) {
    await removePlaceholder(placeholder.path);
  }
}

async function restoreTo(
  repository: Repository,
  told: Pick<Wanted, "options" | "context"> & {
    readonly selection: Selection;
    readonly place: string;
    readonly followTargetSymlink: boolean;
  },
): Promise<RestoreReport> {
  const { selection, place, followTargetSymlink, options, context } = told;
  const { snapshot, entry } = selection;
  const signal = AbortSignal.any([context.stop, context.signal]);
  const mode = options.mode === "auto" ? archiveModeOf(place) : options.mode;
  if (mode === "local" && place === "-") {
    throw new VarveError("invalid-argument", "standard output needs a --mode like tar");
  }
  if (mode !== "local" && options.shallow !== undefined) {
    throw new VarveError("invalid-argument", "--shallow needs a folder to restore to");
  }
  await using archive =
    mode === "local"
      ? undefined
      : await openArchive(place, { mode, overwrite: options.overwriteFiles });
  const target =
    archive?.target ??
    localTarget(place, {
      ...localOptions(options),
      writerThreads: writerThreads(repository),
      followTargetSymlink,
    });
  using progress = await startProgress({ enabled: context.globals.progress, label: "restoring" });
  const bytesTotal = entry.summary?.sizeBytes ?? entry.sizeBytes;
  const report = await restore(repository, {
    // An object that no snapshot names as its root has no attributes of its own to give back.
    root: snapshot === undefined && selection.path === "" ? entry.object : entry,
    target,
    shallow:
      options.shallow === undefined
        ? undefined
        : { depth: options.shallow, minSizeBytes: options.shallowMinsize },
    parallel: options.parallel,
    ignoreErrors: options.ignoreErrors !== false,
    signal,
    onProgress: ({ files, bytes, failed }) =>
      progress.update({
        text: `${files} files${failed === 0 ? "" : `, ${failed} failed`}`,
        bytesDone: bytes,
        bytesTotal,
      }),
  });
  await archive?.finish();
  progress[Symbol.dispose]();
  printReport(report, { selection, place, options });
  return report;
}

/** With one argument a path is put back where it was backed up. */
function ownPlace(repository: Repository, text: string, { snapshot, path }: Selection): string {
  const [id = ""] = text.split("/", 1);
  const byId = id !== "" && (snapshot?.id.startsWith(id) === true || snapshot?.root.object === id);
  if (snapshot === undefined || byId) {
    throw new VarveError("invalid-argument", `${text} is no path: name a target`);
  }
  const { host, userName, path: root } = snapshot.source;
  const { username, hostname } = repository.client;
  if (userName !== username || host !== hostname) {
    throw new VarveError("invalid-argument", `${text} is of another user or host: name a target`);
  }
  return path === "" ? root : join(root, path);
}

function localOptions(options: Switches): LocalTargetOptions {
  return Object.fromEntries(LOCAL_SWITCHES.map((name) => [name, options[name]]));
}

function printReport(
  report: RestoreReport,
  told: { selection: Selection; place: string; options: RestoreOptions },
): void {
  const { selection, place, options } = told;
  const { files, directories, symlinks, placeholders, bytes, skipped, deleted } = report;
  const { failed, failures } = report;
  if (failed > 0 && options.ignoreErrors !== true) {
    process.exitCode = EXIT_FAILED;
  }
  for (const { path, message, code } of failures) {
    process.stderr.write(
      `varve: failed: ${printableName(`${path || "."}: ${message}`)} [${code}]\n`,
    );
  }
  if (failed > failures.length) {
    process.stderr.write(`varve: and ${failed - failures.length} more\n`);
  }
  if (options.json) {
    const { snapshot, path } = selection;
    printJson({ snapshot: snapshot?.id, path, target: place, ...report });
  } else if (place !== "-") {
    const more = [
      [placeholders, "left as placeholders"],
      [skipped, "skipped"],
      [deleted, "deleted"],
      [failed, "failed"],
    ] as const;
    const counts = more.flatMap(([count, what]) => (count === 0 ? [] : [`, ${count} ${what}`]));
    printLine(
      `restored ${counted(files, "file")}, ${counted(symlinks, "link")}, ${counted(directories, "directory")}, ${formatBytes(bytes)} to ${printableName(place)}${counts.join("")}`,
    );
  }
}
