import {
  defaultMaintenance,
  maintain,
  type MaintenanceParameters,
  type MaintenanceReport,
  type MaintenanceStatus,
  maintenanceStatus,
  type Safety,
  setMaintenance,
  VarveError,
} from "@varve/core";
import { type Command, Option } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_OVER_PLAN, reportLocked } from "../exit.ts";
import { addSwitch, parseBytes, parseCount, parseDurationMs } from "../options.ts";
import { formatBytes, formatDuration, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";
import { planCommand, printUsage, readPlan } from "./maintenance-plan.ts";

/** `maintenance`: frees what snapshots no longer need, and keeps packs and indexes few. */
export function maintenanceCommands(command: Command): void {
  runCommand(command.command("run").description("do what is due, or all of it"));
  planCommand(command.command("plan").description("what a run would take, and what it would cost"));
  infoCommand(command.command("info").description("owner, schedule and history"));
  setCommand(command.command("set").description("change owner and schedule"));
}

function runCommand(command: Command): void {
  addSwitch(command, "full", { on: false, help: "everything; without this, only the quick part" });
  command.addOption(
    new Option(
      "--safety <level>",
      "`none` frees space at once, and only when nobody else uses the repository",
    )
      .choices(["full", "none"])
      .default("full"),
  );
  addSwitch(command, "auto", { on: false, help: "full or quick, if one of them is due" });
  addSwitch(command, "emergency", {
    on: false,
    help: "for a store that is full: delete first what may go, and move nothing",
  });
  addSwitch(command, "force", { on: false, help: "also when somebody else is the owner" });
  command.option("--plan <file>", "what this plan says, and no more than it allows");
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async () => {
    const { full, emergency, auto, safety, force, json, ...options } = command.opts<RunOptions>();
    const plan = options.plan === undefined ? undefined : await readPlan(options.plan);
    if (plan !== undefined && (full || emergency || auto)) {
      throw new VarveError("invalid-argument", "the plan says what is done: give --plan alone");
    }
    await withRepository(
      command,
      { readOnly: false, work: "maintenance", metered: plan !== undefined },
      async (repository, context) => {
        const signal = AbortSignal.any([context.stop, context.signal]);
        using progress = await startProgress({
          enabled: context.globals.progress,
          label: "maintaining",
        });
        const report = await maintain(repository, {
          mode: emergency ? "emergency" : full ? "full" : auto ? "auto" : "quick",
          safety,
          force,
          plan,
          signal,
          onTask: (task) => progress.update({ text: task, bytesDone: 0 }),
        });
        progress[Symbol.dispose]();
        if (report.busy === true && !auto) {
          throw new VarveError("not-owner", "another process of this machine is maintaining it");
        }
        if (report.stopped !== undefined) {
          process.exitCode = EXIT_OVER_PLAN;
          process.stderr.write(`varve: ${report.stopped} [over-plan]\n`);
        }
        if (report.locked !== undefined) {
          reportLocked(report.locked);
        }
        if (json) {
          printJson(report);
        } else {
          printReport(report);
        }
      },
    );
  });
}

interface RunOptions {
  readonly full: boolean;
  readonly emergency: boolean;
  readonly auto: boolean;
  readonly safety: Safety;
  readonly force: boolean;
  readonly plan?: string;
  readonly json: boolean;
}

function printReport({ mode, busy, tasks, stopped, usage }: MaintenanceReport): void {
  if (mode === "none" && stopped === undefined) {
    printLine(busy === true ? "Another process is at it." : "Nothing is due.");
  }
  for (const { task, counts, skipped } of tasks) {
    const shown = Object.entries(counts ?? {}).map(
      ([name, count]) => `${name} ${/bytes$/i.test(name) ? formatBytes(count) : count}`,
    );
    printLine(`${task}: ${skipped === undefined ? shown.join(", ") : `left out, ${skipped}`}`);
  }
  if (usage !== undefined) {
    printUsage("Taken", usage);
  }
}

function infoCommand(command: Command): void {
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async () => {
    const { json } = command.opts<{ json: boolean }>();
    await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
      const status = await maintenanceStatus(repository, { signal });
      if (json) {
        const { setMs: _, ...parameters } = status.parameters ?? {};
        printJson({ ...parameters, schedule: scheduleJson(status) });
      } else {
        printStatus(status);
      }
    });
  });
}

function scheduleJson({ schedule }: MaintenanceStatus): object {
  return {
    nextFullMaintenance: timeText(schedule.nextFullMs),
    nextQuickMaintenance: timeText(schedule.nextQuickMs),
    runs: Object.fromEntries(
      Array.from(schedule.runs, ([task, runs]) => [
        task,
        runs.map(({ startMs, endMs, success, error }) => ({
          start: timeText(startMs),
          end: timeText(endMs),
          success,
          error,
        })),
      ]),
    ),
  };
}

function printStatus({ parameters, schedule }: MaintenanceStatus): void {
  if (parameters === undefined) {
    printLine("Nobody owns the maintenance of this repository yet.");
    return;
  }
  const { owner, quick, full, logRetention, extendObjectLocks } = parameters;
  printLine(`Owner: ${owner}`);
  for (const [name, cycle, nextMs] of [
    ["Quick", quick, schedule.nextQuickMs],
    ["Full", full, schedule.nextFullMs],
  ] as const) {
    const next = nextMs === 0 ? "when it is run next" : timeText(nextMs);
    printLine(
      cycle.enabled
        ? `${name}: every ${formatDuration(cycle.intervalMs)}, next ${next}`
        : `${name}: disabled`,
    );
  }
  const { maxCount, maxAgeMs, maxTotalSizeBytes } = logRetention;
  const age = formatDuration(maxAgeMs);
  printLine(`Logs: at most ${maxCount}, ${age}, ${formatBytes(maxTotalSizeBytes)}`);
  printLine(`Object locks: ${extendObjectLocks ? "extended" : "not extended"}`);
  for (const [task, runs] of schedule.runs) {
    printLine(`${task}:`);
    for (const { startMs, endMs, success, error = "" } of runs.slice(0, SHOWN_RUNS)) {
      const how = success ? "SUCCESS" : `ERROR ${error}`;
      printLine(`  ${timeText(startMs)} (${formatDuration(endMs - startMs)}) ${how}`);
    }
  }
}

const SHOWN_RUNS = 5;

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

interface SetOptions {
  readonly owner?: string;
  readonly enableQuick?: boolean;
  readonly enableFull?: boolean;
  readonly quickInterval?: number;
  readonly fullInterval?: number;
  readonly maxRetainedLogCount?: number;
  readonly maxRetainedLogAge?: number;
  readonly maxTotalRetainedLogSize?: number;
  readonly extendObjectLocks?: boolean;
}

function setCommand(command: Command): void {
  command.option("--owner <user@host>", "who runs it from now on; `me` for this client");
  command
    .option("--enable-quick", "run the quick part when it is due")
    .option("--no-enable-quick", "never by itself")
    .option("--enable-full", "run all of it when it is due")
    .option("--no-enable-full", "never by itself")
    .option("--quick-interval <duration>", "between two quick runs", parseDurationMs)
    .option("--full-interval <duration>", "between two full runs", parseDurationMs)
    .option("--max-retained-log-count <n>", "log blobs to keep", parseCount)
    .option("--max-retained-log-age <duration>", "age of log blobs to keep", parseDurationMs)
    .option("--max-total-retained-log-size <size>", "of all log blobs to keep", parseBytes)
    .option("--extend-object-locks", "lock blobs anew in each full run")
    .option("--no-extend-object-locks", "let locks run out");
  command.action(async () => {
    const options = command.opts<SetOptions>();
    if (Object.keys(options).length === 0) {
      throw new VarveError("invalid-argument", "nothing to change was given; see --help");
    }
    await withRepository(command, { readOnly: false }, async (repository, { signal }) => {
      const { parameters } = await maintenanceStatus(repository, { signal });
      const { username, hostname } = repository.client;
      const me = `${username}@${hostname}`;
      const changed = changedParameters(parameters, { ...options, me });
      requireLocksThatLast(changed, repository.format.retention?.periodMs);
      await setMaintenance(repository, changed, { signal });
      await repository.flush({ signal });
      printLine("The maintenance parameters have been changed.");
    });
  });
}

function changedParameters(
  before: MaintenanceParameters | undefined,
  options: SetOptions & { me: string },
): MaintenanceParameters {
  const old = before ?? defaultMaintenance(options.me);
  return {
    ...old,
    owner: options.owner === "me" ? options.me : (options.owner ?? old.owner),
    quick: {
      enabled: options.enableQuick ?? old.quick.enabled,
      intervalMs: options.quickInterval ?? old.quick.intervalMs,
    },
    full: {
      enabled: options.enableFull ?? old.full.enabled,
      intervalMs: options.fullInterval ?? old.full.intervalMs,
    },
    logRetention: {
      maxCount: options.maxRetainedLogCount ?? old.logRetention.maxCount,
      maxAgeMs: options.maxRetainedLogAge ?? old.logRetention.maxAgeMs,
      maxTotalSizeBytes: options.maxTotalRetainedLogSize ?? old.logRetention.maxTotalSizeBytes,
    },
    extendObjectLocks: options.extendObjectLocks ?? old.extendObjectLocks,
  };
}

const DAY_MS = 86_400_000;

/** A lock that ends before the next full run, and a day to notice that it did not run, protects nothing. */
function requireLocksThatLast(
  { extendObjectLocks, full }: MaintenanceParameters,
  periodMs: number | undefined,
): void {
  if (extendObjectLocks && (periodMs === undefined || periodMs < full.intervalMs + DAY_MS)) {
    throw new VarveError(
      "invalid-argument",
      periodMs === undefined
        ? "this repository has no object locks to extend: see repository set-parameters --retention-mode"
        : "object locks must last a day longer than the interval of full maintenance",
    );
  }
}
