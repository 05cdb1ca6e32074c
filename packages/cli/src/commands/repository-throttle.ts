import type { StoreLimits } from "@varve/core";
import { type Command, Option } from "commander";
import { changeConnection, readConnection } from "../connection.ts";
import { globalOptions } from "../context.ts";
import { LIMITS, parseLimit, withoutNone } from "../limits.ts";
import { formatBytes, printJson, printLine } from "../output.ts";

/** `repository throttle`: the limits of this connection, which programs that run feel as well. */
export function throttleCommands(throttle: Command): void {
  throttle
    .command("get")
    .description("show how fast storage may be asked")
    .option("--json", "print one JSON document")
    .action(async (_options, command: Command) => showLimits(command));
  const set = throttle.command("set").description("change how fast storage may be asked");
  for (const { flag, label } of LIMITS) {
    set.addOption(new Option(`--${flag} <n>`, `${label}; or unlimited`).argParser(parseLimit));
  }
  set.action(async (_options, command: Command) => changeLimits(command));
}

async function showLimits(command: Command): Promise<void> {
  const { throttlingLimits = {} } = await readConnection(globalOptions(command).configFile);
  if (command.opts<{ json?: boolean }>().json === true) {
    printJson(throttlingLimits);
    return;
  }
  printLimits(throttlingLimits);
}

async function changeLimits(command: Command): Promise<void> {
  const { configFile } = globalOptions(command);
  const given = command.opts<Readonly<Record<string, number | undefined>>>();
  const changes: Partial<Record<keyof StoreLimits, number>> = {};
  for (const { member, flag } of LIMITS) {
    const limit = given[camelCase(flag)];
    if (limit !== undefined) {
      changes[member] = limit;
    }
  }
  if (Object.keys(changes).length === 0) {
    printLine("No changes made.");
    return;
  }
  const { throttlingLimits = {} } = await changeConnection(configFile, (connection) => ({
    ...connection,
    throttlingLimits: withoutNone({ ...connection.throttlingLimits, ...changes }),
  }));
  printLimits(throttlingLimits);
}

function printLimits(limits: StoreLimits): void {
  for (const { member, label, isSpeed } of LIMITS) {
    const limit = limits[member] ?? 0;
    const text = isSpeed ? `${formatBytes(limit)}/s` : String(limit);
    printLine(`${`${label}:`.padEnd(31)} ${limit === 0 ? "(unlimited)" : text}`);
  }
}

function camelCase(flag: string): string {
  return flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
