import { readFile } from "node:fs/promises";
import {
  type MaintenancePlan,
  parseMaintenancePlan,
  parsePrices,
  planMaintenance,
  type PlanFigures,
  type Prices,
  S3_PRICES,
  type Safety,
  type Usage,
  VarveError,
} from "@varve/core";
import { type Command, Option } from "commander";
import { openCaches } from "../cache.ts";
import { globalOptions } from "../globals.ts";
import { addSwitch, parseAmount, parseBytes, parseDurationMs } from "../options.ts";
import { formatBytes, formatDuration, printJson, printLine, printTable } from "../output.ts";
import { startProgress } from "../progress.ts";
import { unlock } from "../unlock.ts";

interface PlanCommandOptions {
  readonly full: boolean;
  readonly quick: boolean;
  readonly emergency: boolean;
  readonly safety: Safety;
  readonly force: boolean;
  readonly json: boolean;
  readonly prices?: string;
  readonly currency?: string;
  readonly priceListPer1000?: number;
  readonly priceGetPer1000?: number;
  readonly pricePutPer1000?: number;
  readonly priceDeletePer1000?: number;
  readonly priceReadGb?: number;
  readonly priceWriteGb?: number;
  readonly latency?: number;
  readonly bandwidth?: number;
}

export function planCommand(command: Command): void {
  addSwitch(command, "full", { on: false, help: "of everything; else of what is due" });
  addSwitch(command, "quick", { on: false, help: "of the quick part" });
  addSwitch(command, "emergency", { on: false, help: "of what frees a store that is full" });
  command.addOption(
    new Option("--safety <level>", "as of maintenance run")
      .choices(["full", "none"])
      .default("full"),
  );
  addSwitch(command, "force", { on: false, help: "also when somebody else is the owner" });
  command
    .option("--prices <file>", "JSON with prices")
    .option("--currency <name>", "of all prices")
    .option("--price-list-per-1000 <amount>", "of listings", parseAmount)
    .option("--price-get-per-1000 <amount>", "of reads", parseAmount)
    .option("--price-put-per-1000 <amount>", "of writes", parseAmount)
    .option("--price-delete-per-1000 <amount>", "of deletions", parseAmount)
    .option("--price-read-gb <amount>", "of what leaves storage", parseAmount)
    .option("--price-write-gb <amount>", "of what goes there", parseAmount)
    .option("--latency <duration>", "of a request", parseDurationMs)
    .option("--bandwidth <size>", "bytes a second", parseBytes);
  addSwitch(command, "json", { on: false, help: "print one JSON document, for run --plan" });
  command.action(async () => {
    const options = command.opts<PlanCommandOptions>();
    const modes = (["full", "quick", "emergency"] as const).filter((name) => options[name]);
    if (modes.length > 1) {
      throw new VarveError("invalid-argument", "give one of --full, --quick and --emergency");
    }
    const plan = await makePlan(command, { ...options, mode: modes[0] ?? "auto" });
    if (options.json) {
      printJson(plan);
    } else {
      printPlan(plan);
    }
  });
}

async function makePlan(
  command: Command,
  options: PlanCommandOptions & { readonly mode: "full" | "quick" | "emergency" | "auto" },
): Promise<MaintenancePlan> {
  const globals = globalOptions(command);
  const prices = await pricesOf(options);
  const { connection, password, environment, ...unlocked } = await unlock(command);
  await using store = unlocked.store;
  using _progress = await startProgress({ enabled: globals.progress, label: "planning" });
  return await planMaintenance(store, {
    password,
    mode: options.mode,
    safety: options.safety,
    force: options.force,
    prices,
    latencyMs: options.latency,
    bytesPerSecond: options.bandwidth,
    maxMemoryBytes: globals.maxMemoryBytes,
    environment,
    cache: openCaches(connection, environment).cache,
    client: { username: connection.username, hostname: connection.hostname },
  });
}

async function pricesOf(options: PlanCommandOptions): Promise<Prices> {
  const listed =
    options.prices === undefined
      ? S3_PRICES
      : parsePrices(parseJsonFile(await readFile(options.prices, "utf8"), options.prices));
  return {
    currency: options.currency ?? listed.currency,
    listPer1000: options.priceListPer1000 ?? listed.listPer1000,
    getPer1000: options.priceGetPer1000 ?? listed.getPer1000,
    putPer1000: options.pricePutPer1000 ?? listed.putPer1000,
    deletePer1000: options.priceDeletePer1000 ?? listed.deletePer1000,
    readPerGb: options.priceReadGb ?? listed.readPerGb,
    writePerGb: options.priceWriteGb ?? listed.writePerGb,
  };
}

function parseJsonFile(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new VarveError("invalid-argument", `${path} is no JSON`, { cause: error });
  }
}

/** Throws `corrupt`. */
export async function readPlan(path: string): Promise<MaintenancePlan> {
  return parseMaintenancePlan(await readFile(path));
}

function printPlan(plan: MaintenancePlan): void {
  if (plan.mode === "none") {
    printLine("Nothing is due.");
    return;
  }
  const { currency } = plan.prices;
  printTable(
    [
      ...["step", ">list", ">get", ">head", ">put", ">delete"],
      ...[">read", ">written", ">freed", ">time", `>${currency}`],
    ],
    [
      ...plan.steps
        .filter(({ skipped }) => skipped === undefined)
        .map((step) => [step.step, ...figureCells(step)]),
      ["total", ...figureCells(plan.total)],
    ],
  );
  for (const { step, skipped } of plan.steps) {
    if (skipped !== undefined) {
      printLine(`${step}: left out, ${skipped}`);
    }
  }
  printBasis(plan);
}

function figureCells(figures: PlanFigures): readonly string[] {
  const { list, get, head, put, delete: deleted } = figures.requests;
  return [
    ...[list, get, head, put, deleted].map(String),
    ...[figures.bytesRead, figures.bytesWritten, figures.bytesFreed].map(formatBytes),
    formatDuration(figures.estimatedMs),
    money(figures.cost),
  ];
}

function printBasis({ limits, prices, timing, spent }: MaintenancePlan): void {
  const most = `${limits.requests} requests, ${formatBytes(limits.bytesRead)} read, ${formatBytes(limits.bytesWritten)} written`;
  printLine(
    `A run with this plan takes at most ${most}, ${prices.currency} ${money(limits.cost)}.`,
  );
  const measured = (samples: number): string =>
    samples === 0 ? "given or assumed" : `measured on ${samples}`;
  printLine(
    `Times: ${timing.latencyMs.toFixed(1)} ms a request (${measured(timing.latencySamples)}), ${formatBytes(timing.bytesPerSecond)}/s (${measured(timing.bandwidthSamples)}), and the work of this machine as it was while planning.`,
  );
  printUsage("Planning has written nothing, and taken", spent);
}

/** `Taken: 12 requests (list 3, get 9), …`. */
export function printUsage(what: string, { requests, bytesRead, bytesWritten }: Usage): void {
  const kinds = Object.entries(requests).filter(([, count]) => count > 0);
  const total = kinds.reduce((sum, [, count]) => sum + count, 0);
  const shown = kinds.map(([kind, count]) => `${kind} ${count}`).join(", ");
  printLine(
    `${what}: ${total} requests (${shown}), ${formatBytes(bytesRead)} read, ${formatBytes(bytesWritten)} written`,
  );
}

/** Six digits: single requests cost millionths. */
function money(amount: number): string {
  return amount.toFixed(amount < 1 ? 6 : 2);
}
