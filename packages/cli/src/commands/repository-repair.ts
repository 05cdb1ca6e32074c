import { readFile } from "node:fs/promises";
import { recoverFormat, VarveError } from "@varve/core";
import type { Command } from "commander";
import { cliEnvironment, globalOptions } from "../context.ts";
import { collect, addSwitch } from "../options.ts";
import { printJson, printLine } from "../output.ts";
import { findPassword } from "../password.ts";
import { openStore, storageType } from "../storage.ts";
import type { StorageLocation } from "../storage-type.ts";

/** `repository repair`: needs no connection, since none can be made without `kopia.repository`. */

interface RepairOptions {
  readonly dryRun: boolean;
  readonly from?: readonly string[];
  readonly json: boolean;
}

export function addRepairOptions(command: Command): void {
  command.option("--from <file>", "a copy of kopia.repository kept elsewhere; repeatable", collect);
  addSwitch(command, "dry-run", { on: false, help: "only say what would be done", short: "n" });
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
}

export async function repair(location: StorageLocation, command: Command): Promise<void> {
  const { dryRun, from = [], json } = command.opts<RepairOptions>();
  const environment = cliEnvironment();
  const password = await findPassword(globalOptions(command));
  const copies = await Promise.all(from.map(readCopy));
  await using store = await openStore(location, { readOnly: dryRun, environment });
  const report = await recoverFormat(store, { password, commit: !dryRun, copies, environment });
  if (json) {
    printJson({ dryRun, ...report });
    return;
  }
  const place = storageType(location.type).describe(location.config);
  if (report.problem === undefined) {
    printLine(`kopia.repository in ${place} opens: nothing to repair.`);
    return;
  }
  printLine(
    `${dryRun ? "Would put back" : "Put back"} kopia.repository in ${place} from ${report.from}; before, ${report.problem}.`,
  );
  if (report.replaced !== undefined) {
    printLine(`What lay there is kept as ${report.replaced}.`);
  }
}

async function readCopy(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new VarveError("invalid-argument", `cannot read ${path}`, { cause });
  }
}
