import { readFile } from "node:fs/promises";
import { VarveError } from "@varve/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import { addSwitch, parseDurationMs } from "../options.ts";

/** The flags of `policy set` for commands that run before and after. */

const ACTIONS: readonly (readonly [flag: string, option: string, field: string])[] = [
  ["before-folder-action", "beforeFolderAction", "actions.beforeFolder"],
  ["after-folder-action", "afterFolderAction", "actions.afterFolder"],
  ["before-snapshot-root-action", "beforeSnapshotRootAction", "actions.beforeSnapshotRoot"],
  ["after-snapshot-root-action", "afterSnapshotRootAction", "actions.afterSnapshotRoot"],
];
const MODES = ["essential", "optional", "async"];
const MAX_SCRIPT_BYTES = 32_000;

export function addActionOptions(command: Command): void {
  for (const [flag] of ACTIONS) {
    command.option(`--${flag} <command>`, `a command with its arguments, or none`);
  }
  command
    .option("--action-command-timeout <duration>", "how long it may take", parseDurationMs, 300_000)
    .addOption(
      new Option("--action-command-mode <mode>", "what a failure means")
        .argParser(parseMode)
        .default("essential"),
    );
  addSwitch(command, "persist-action-script", {
    on: false,
    help: "store the text of the script instead of its path",
  });
}

function parseMode(text: string): string {
  if (!MODES.includes(text)) {
    throw new InvalidArgumentError(`known are ${MODES.join(", ")}`);
  }
  return text;
}

/** The members that were given; `undefined` clears one. Throws `invalid-argument`. */
export async function actionChanges(command: Command): Promise<ReadonlyMap<string, unknown>> {
  const options = command.opts<Readonly<Record<string, unknown>>>();
  const changes = new Map<string, unknown>();
  for (const [, option, field] of ACTIONS) {
    const text = options[option];
    if (typeof text === "string") {
      changes.set(field, await actionOf(text, options));
    }
  }
  return changes;
}

async function actionOf(
  text: string,
  options: Readonly<Record<string, unknown>>,
): Promise<object | undefined> {
  if (text === "none" || text === "inherit" || text === "") {
    return undefined;
  }
  const common = {
    timeout: Math.round(Number(options["actionCommandTimeout"]) / 1000),
    mode: options["actionCommandMode"],
  };
  if (options["persistActionScript"] === true) {
    return { script: await readScript(text), ...common };
  }
  const [path, ...args] = words(text);
  return { path, ...(args.length > 0 ? { args } : {}), ...common };
}

async function readScript(path: string): Promise<string> {
  const script = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new VarveError("invalid-argument", `cannot read the script ${path}`, { cause });
  });
  if (Buffer.byteLength(script) > MAX_SCRIPT_BYTES) {
    throw new VarveError(
      "invalid-argument",
      `the script ${path} is above ${MAX_SCRIPT_BYTES} bytes`,
    );
  }
  return script;
}

/** Words between blanks; quotes hold one together. */
export function words(text: string): readonly string[] {
  return Array.from(
    text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g),
    ([, double, single, bare]) => double ?? single ?? bare ?? "",
  );
}
