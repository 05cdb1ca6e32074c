import { type Environment, systemEnvironment } from "@varve/core/blob";
import type { Command } from "commander";
import { configPath } from "./connection.ts";

/** The options that stand before every command. */
export interface GlobalOptions {
  readonly configFile: string;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly maxMemoryBytes?: number | undefined;
  readonly progress: boolean;
  readonly autoMaintenance: boolean;
}

export function globalOptions(command: Command): GlobalOptions {
  const given = command.optsWithGlobals<{
    configFile?: string;
    password?: string;
    passwordFile?: string;
    maxMemory?: number;
    progress?: boolean;
    autoMaintenance?: boolean;
  }>();
  return {
    configFile: configPath(given.configFile),
    password: given.password,
    passwordFile: given.passwordFile,
    maxMemoryBytes: given.maxMemory,
    progress: given.progress !== false,
    autoMaintenance: given.autoMaintenance !== false,
  };
}

/** The real clock; warnings and errors of the library go to standard error. */
export function cliEnvironment(): Environment {
  return systemEnvironment({
    log: ({ level, message }) => {
      if (level === "warning" || level === "error" || process.env["VARVE_DEBUG"] === "1") {
        process.stderr.write(`varve: ${level}: ${message}\n`);
      }
    },
  });
}
