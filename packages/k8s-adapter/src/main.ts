#!/usr/bin/env node
import { setMaxListeners } from "node:events";
import { Command } from "commander";
import { addBackupCommands } from "./cli/backup-commands.ts";
import { addGlobalOptions } from "./cli/context.ts";
import { addLocationCommands } from "./cli/location-commands.ts";
import { addProcessCommands } from "./cli/process-commands.ts";
import { addRestoreCommands } from "./cli/restore-commands.ts";
import { addScheduleCommands } from "./cli/schedule-commands.ts";

// One signal ends every call in flight; that there are more than ten of them is no leak.
setMaxListeners(0);

const program = addGlobalOptions(
  new Command("varve-k8s")
    .description("Kubernetes backups with Velero's resources")
    .version("0.1.0"),
);
addProcessCommands(program);
addBackupCommands(program);
addRestoreCommands(program);
addScheduleCommands(program);
addLocationCommands(program);

try {
  await program.parseAsync();
} catch (error) {
  // An end that was asked for is none to be told of.
  const isStop = error instanceof Error && error.message.startsWith("stopped by SIG");
  if (!isStop) {
    const isDebug = process.env["VARVE_DEBUG"] === "1" && error instanceof Error;
    const text = isDebug ? error.stack : error instanceof Error ? error.message : String(error);
    process.stderr.write(`varve-k8s: ${text}\n`);
    process.exitCode = 1;
  }
}
