import { readFile } from "node:fs/promises";
import { parseTimeNs, VarveError } from "@varve/core/blob";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type StorageConfig, textOf } from "./storage-type.ts";

/** What the kinds of cloud storage have in common on the command line. */

/** An option whose value may come from an environment variable instead. */
export function optionOrVariable(flags: string, help: string, variable: string): Option {
  return new Option(flags, help).env(variable);
}

export function addPointInTime(command: Command): void {
  command.option(
    "--point-in-time <time>",
    "show storage that keeps versions as it was then, read-only",
    (text: string) => {
      try {
        parseTimeNs(text);
      } catch {
        throw new InvalidArgumentError("not a time like 2024-01-31T12:00:00Z");
      }
      return text;
    },
  );
}

export function pointInTimeMs(config: StorageConfig): number | undefined {
  const text = textOf(config, "pointInTime");
  return text === undefined ? undefined : Number(parseTimeNs(text) / 1_000_000n);
}

/** A member that storage cannot be opened without. Throws `corrupt`. */
export function requiredText(config: StorageConfig, name: string): string {
  const text = textOf(config, name);
  if (text === undefined) {
    throw new VarveError("corrupt", `the connection file names no ${name}`);
  }
  return text;
}

/** Throws `invalid-argument`. */
export async function readTextFile(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new VarveError("invalid-argument", `cannot read the ${what} ${path}`, { cause });
  }
}
