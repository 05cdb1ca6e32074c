import { resolve } from "node:path";
import {
  type ActionRunner,
  createSnapshot,
  effectivePolicy,
  errorMessage,
  formatSource,
  getPolicy,
  isVarveError,
  listSources,
  parseSource,
  type Repository,
  setPolicy,
  type SnapshotSource,
  streamSource,
  upload,
  type UploadReport,
  VarveError,
} from "@varve/core";
import { type Command, Option } from "commander";
import { maintainWhenDue } from "../auto-maintenance.ts";
import { type CommandContext, withRepository } from "../context.ts";
import { EXIT_FAILED, reportError } from "../exit.ts";
import {
  addSwitch,
  collect,
  collectTag,
  parseCount,
  parseDurationMs,
  parsePercent,
  parsePositive,
} from "../options.ts";
import { printJson } from "../output.ts";
import { failForDamage } from "../select.ts";
import { parseTime } from "./snapshot-time.ts";
import { printReport, reportJson } from "./snapshot-report.ts";
import { type BackupProgress, startBackupProgress } from "./backup-progress.ts";

interface CreateOptions {
  readonly all: boolean;
  readonly description?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly pin?: readonly string[];
  readonly startTime?: bigint;
  readonly endTime?: bigint;
  readonly forceHash?: number;
  readonly parallel?: number;
  readonly checkpointInterval?: number;
  readonly uploadLimitMb?: number;
  readonly failFast: boolean;
  readonly checkPacks: boolean;
  readonly stdinFile?: string;
  readonly overrideSource?: string;
  readonly forceEnableActions?: boolean;
  readonly forceDisableActions?: boolean;
  readonly json: boolean;
  readonly jsonVerbose: boolean;
}

export function createCommand(command: Command): void {
  command.argument("[sources...]", "files or directories");
  addSwitch(command, "all", {
    on: false,
    help: "everything that this user has backed up from this host before",
  });
  command
    .option("--description <text>", "a text to keep with the snapshot")
    .option("--tags <key:value>", "a tag to keep with the snapshot; repeatable", collectTag)
    .option("--pin <name>", "a pin, with which it never expires; repeatable", collect)
    .option("--start-time <time>", "record this in place of the real time", parseTime)
    .option("--end-time <time>", "record this in place of the real time", parseTime)
    .option("--force-hash <percent>", "read that part of the unchanged files too", parsePercent)
    .option("--parallel <count>", "files in work at once", parsePositive)
    .option("--checkpoint-interval <duration>", "at most, and usually, 45m", parseDurationMs)
    .option("--upload-limit-mb <mb>", "stop before more than that is read", parseCount)
    .option("--stdin-file <name>", "back up standard input as a file of this name")
    .option("--override-source <user@host:/path>", "record this in place of the real source");
  command
    .option("--force-enable-actions", "run the commands of policies, whatever the connection says")
    .addOption(
      new Option("--force-disable-actions", "run none of them").conflicts("forceEnableActions"),
    );
  addSwitch(command, "fail-fast", { on: false, help: "stop at the first error" });
  addSwitch(command, "check-packs", {
    on: true,
    help: "spare the listing of the packs that finds data which is lost from storage",
  });
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  addSwitch(command, "json-verbose", { on: false, help: "with counts of the upload in it" });
  command.action(async (paths: readonly string[]) => {
    const options = command.opts<CreateOptions>();
    checkOptions(paths, options);
    await withRepository(command, { readOnly: false }, async (repository, context) => {
      const sources = options.all ? await scheduledPaths(repository, context) : paths;
      await backUpAll(repository, { sources, options, context });
      failForDamage(repository);
      await maintainWhenDue(repository, context);
    });
  });
}

function checkOptions(paths: readonly string[], options: CreateOptions): void {
  if (options.all === paths.length > 0) {
    refuse("give either --all or what to back up");
  }
  if (paths.length > 1 && (options.stdinFile ?? options.overrideSource) !== undefined) {
    refuse("--stdin-file and --override-source need exactly one source");
  }
  if (Buffer.byteLength(options.description ?? "") > 1024) {
    refuse("the description is longer than 1024 bytes");
  }
}

function refuse(why: string): never {
  throw new VarveError("invalid-argument", why);
}

/** Of this user and host, but not those whose policy says that they are backed up by hand (behaviour §1.1). */
async function scheduledPaths(
  repository: Repository,
  { stop }: CommandContext,
): Promise<readonly string[]> {
  const { username, hostname } = repository.client;
  const paths: string[] = [];
  for (const source of await listSources(repository, { signal: stop })) {
    if (source.userName === username && source.host === hostname) {
      const target = { type: "path", ...source } as const;
      const { policy } = await effectivePolicy(repository, target, { signal: stop });
      if (policy.scheduling?.manual !== true) {
        paths.push(source.path);
      }
    }
  }
  if (paths.length === 0) {
    throw new VarveError("invalid-argument", "--all: nothing was backed up from here before");
  }
  return paths;
}

interface Run {
  readonly options: CreateOptions;
  readonly context: CommandContext;
}

/** A source that fails does not keep the others from being backed up. */
async function backUpAll(
  repository: Repository,
  { sources, options, context }: Run & { readonly sources: readonly string[] },
): Promise<void> {
  const documents: object[] = [];
  for (const path of sources) {
    if (context.stop.aborted) {
      process.exitCode = EXIT_FAILED;
      break;
    }
    try {
      const report = await backUp(repository, path, { options, context });
      if (report.snapshot.incomplete !== undefined || report.stats.errorCount > 0) {
        process.exitCode = EXIT_FAILED;
      }
      documents.push(reportJson(report, { stats: options.jsonVerbose }));
      printReport(report, { quiet: options.json });
    } catch (error) {
      context.signal.throwIfAborted();
      if (sources.length === 1) {
        throw error;
      }
      reportError(error);
      process.exitCode = EXIT_FAILED;
      const code = isVarveError(error) ? error.code : undefined;
      documents.push({ path, error: { code, message: errorMessage(error) } });
    }
  }
  if (options.json) {
    printJson(sources.length === 1 ? documents[0] : documents);
  }
}

async function backUp(repository: Repository, path: string, run: Run): Promise<UploadReport> {
  const { options, context } = run;
  const { username, hostname } = repository.client;
  const source =
    options.overrideSource === undefined
      ? { userName: username, host: hostname, path: resolve(path) }
      : parseSource(options.overrideSource);
  const fromStdin = options.stdinFile !== undefined;
  using progress = await startBackupProgress(repository, {
    enabled: context.globals.progress,
    source,
    path: fromStdin ? undefined : resolve(path),
    signal: context.stop,
  });
  const actions = await actionsOf(run);
  const uploadOptions = { ...uploadOptionsOf(run, progress), source, actions };
  const report = fromStdin
    ? await upload(repository, { ...uploadOptions, root: standardInput(repository, path, run) })
    : await createSnapshot(repository, { ...uploadOptions, path });
  if (fromStdin || options.overrideSource !== undefined) {
    await makeManual(repository, source, context.signal);
  }
  return report;
}

function uploadOptionsOf(
  { options, context }: Run,
  progress: BackupProgress,
): Omit<Parameters<typeof createSnapshot>[1], "path" | "source"> {
  return {
    signal: context.signal,
    stop: context.stop,
    description: options.description,
    tags: options.tags,
    pins: options.pin,
    startTimeNs: options.startTime,
    endTimeNs: options.endTime,
    forceHashPercent: options.forceHash,
    parallel: options.parallel,
    checkpointIntervalMs: options.checkpointInterval,
    uploadLimitBytes:
      options.uploadLimitMb === undefined ? undefined : options.uploadLimitMb * 2 ** 20,
    failFast: options.failFast,
    checkPacks: options.checkPacks,
    onProgress: (state) => progress.update(state),
  };
}

/** None unless this machine's user has agreed to what others, who may write policies, want to be run here. */
async function actionsOf({ options, context }: Run): Promise<ActionRunner | undefined> {
  const { forceEnableActions, forceDisableActions } = options;
  const isEnabled = context.connection.enableActions === true || forceEnableActions === true;
  return isEnabled && forceDisableActions !== true
    ? (await import("../action-runner.ts")).ACTION_RUNNER
    : undefined;
}

function standardInput(
  repository: Repository,
  path: string,
  { options, context }: Run,
): ReturnType<typeof streamSource> {
  return streamSource({
    name: options.stdinFile ?? "",
    data: readUntil(context.stop),
    directoryName: resolve(path),
    environment: repository.environment,
  });
}

/** Standard input; gives nothing at all once when told to stop, so that whoever waits for bytes looks up. */
async function* readUntil(stop: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  const parts: AsyncIterator<Uint8Array> = process.stdin[Symbol.asyncIterator]();
  const stopped = new Promise<undefined>((done) => {
    stop.addEventListener("abort", () => done(undefined), { once: true });
  });
  for (;;) {
    const next = await Promise.race([parts.next(), stopped]);
    if (next === undefined) {
      process.stdin.destroy();
      yield new Uint8Array(0);
      return;
    }
    if (next.done === true) {
      return;
    }
    yield next.value;
  }
}

/** Nobody can repeat this backup by itself (behaviour §1.1). A schedule that somebody has set for it stays. */
async function makeManual(
  repository: Repository,
  source: SnapshotSource,
  signal: AbortSignal,
): Promise<void> {
  const target = { type: "path", ...source } as const;
  const policy = (await getPolicy(repository, target, { signal })) ?? {};
  if (Object.keys(policy.scheduling ?? {}).length === 0) {
    await setPolicy(repository, target, { ...policy, scheduling: { manual: true } }, { signal });
    await repository.flush({ signal });
    process.stderr.write(`varve: ${formatSource(source)} is now backed up by hand only\n`);
  }
}
