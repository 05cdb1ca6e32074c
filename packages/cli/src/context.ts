import { availableParallelism } from "node:os";
import {
  type BlobStore,
  type Environment,
  openRepository,
  type Repository,
  systemEnvironment,
} from "@varve/core";
import type { Command } from "commander";
import { type Connection, configPath, readConnection } from "./connection.ts";
import { followLimits } from "./limits.ts";
import { findPassword } from "./password.ts";
import { openStore } from "./storage.ts";

/** The options that stand before every command. */
export interface GlobalOptions {
  readonly configFile: string;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly maxMemoryBytes?: number | undefined;
  readonly progress: boolean;
}

export function globalOptions(command: Command): GlobalOptions {
  const given = command.optsWithGlobals<{
    configFile?: string;
    password?: string;
    passwordFile?: string;
    maxMemory?: number;
    progress?: boolean;
  }>();
  return {
    configFile: configPath(given.configFile),
    password: given.password,
    passwordFile: given.passwordFile,
    maxMemoryBytes: given.maxMemory,
    progress: given.progress !== false,
  };
}

/** What a command works with while a repository is open. */
export interface CommandContext {
  readonly globals: GlobalOptions;
  readonly connection: Connection;
  /** Aborts at the second Ctrl-C: nothing more is written. */
  readonly signal: AbortSignal;
  /** Aborts at the first Ctrl-C: finish what is in hand and save an incomplete snapshot. */
  readonly stop: AbortSignal;
}

/** Opens the connected repository, runs `work`, closes it again whatever happens. */
export async function withRepository<T>(
  command: Command,
  options: { readOnly: boolean },
  work: (repository: Repository, context: CommandContext) => Promise<T>,
): Promise<T> {
  const globals = globalOptions(command);
  const connection = await readConnection(globals.configFile);
  const password = await findPassword(globals);
  const readOnly = options.readOnly || connection.readOnly === true;
  const environment = cliEnvironment();
  const limits = connection.throttlingLimits;
  await using store = await openStore(connection.storage, { readOnly, environment, limits });
  using _following = followLimits(globals.configFile, store);
  await using repository = await openRepository(store, {
    password,
    readOnly,
    workers: Math.max(1, availableParallelism() - 1),
    maxMemoryBytes: globals.maxMemoryBytes,
    environment,
    client: { username: connection.username, hostname: connection.hostname },
  });
  using interrupts = catchInterrupts();
  return await work(repository, { globals, connection, ...interrupts });
}

/** The connected store alone: what needs no password. */
export async function withStore<T>(
  command: Command,
  options: { readOnly: boolean },
  work: (store: BlobStore, context: CommandContext) => Promise<T>,
): Promise<T> {
  const globals = globalOptions(command);
  const connection = await readConnection(globals.configFile);
  const readOnly = options.readOnly || connection.readOnly === true;
  await using store = await openStore(connection.storage, {
    readOnly,
    environment: cliEnvironment(),
    limits: connection.throttlingLimits,
  });
  using _following = followLimits(globals.configFile, store);
  using interrupts = catchInterrupts();
  return await work(store, { globals, connection, ...interrupts });
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

function catchInterrupts(): { signal: AbortSignal; stop: AbortSignal } & Disposable {
  const hard = new AbortController();
  const soft = new AbortController();
  const onInterrupt = (): void => {
    if (soft.signal.aborted) {
      hard.abort(new Error("interrupted"));
    } else {
      process.stderr.write("varve: stopping; press Ctrl-C again to stop at once\n");
      soft.abort(new Error("interrupted"));
    }
  };
  const onTerminate = (): void => {
    soft.abort(new Error("terminated"));
  };
  process.on("SIGINT", onInterrupt);
  process.on("SIGTERM", onTerminate);
  return {
    signal: hard.signal,
    stop: soft.signal,
    [Symbol.dispose]: () => {
      process.off("SIGINT", onInterrupt);
      process.off("SIGTERM", onTerminate);
    },
  };
}
