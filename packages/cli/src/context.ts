import { availableParallelism } from "node:os";
import { type BlobStore, openRepository, type Repository, readOnlyStore } from "@varve/core";
import type { Command } from "commander";
import { openCaches } from "./cache.ts";
import { type Connection, readConnection } from "./connection.ts";
import { cliEnvironment, type GlobalOptions, globalOptions } from "./globals.ts";
import { followLimits } from "./limits.ts";
import { openStore } from "./storage.ts";
import { unlock, unlockOther } from "./unlock.ts";

export { cliEnvironment, globalOptions } from "./globals.ts";

/** What a command works with while a repository is open. */
export interface CommandContext {
  readonly globals: GlobalOptions;
  readonly connection: Connection;
  /** Aborts at the second Ctrl-C: nothing more is written. */
  readonly signal: AbortSignal;
  /** Aborts at the first Ctrl-C: finish what is in hand and save an incomplete snapshot. */
  readonly stop: AbortSignal;
}

export interface UnlockedContext extends CommandContext {
  readonly password: string;
}

/** Opens the connected repository, runs `work`, closes it again whatever happens. */
export async function withRepository<T>(
  command: Command,
  options: {
    readonly readOnly: boolean;
    /** Left out, files may be backed up. */
    readonly work?: "maintenance";
    /** Left out, what the connection says. */
    readonly cache?: false;
    /** The store has a meter. */
    readonly metered?: boolean | undefined;
  },
  work: (repository: Repository, context: UnlockedContext) => Promise<T>,
): Promise<T> {
  const globals = globalOptions(command);
  const { connection, password, format, ...unlocked } = await unlock(command, options);
  const { environment } = unlocked;
  const readOnly = options.readOnly || connection.readOnly === true;
  await using store = unlocked.store;
  using _following = followLimits(globals.configFile, store);
  await using repository = await openRepository(readOnly ? readOnlyStore(store) : store, {
    password,
    format,
    readOnly,
    workers: availableParallelism(),
    maxMemoryBytes: globals.maxMemoryBytes,
    work: options.work,
    environment,
    ...(options.cache === false ? {} : openCaches(connection, environment)),
    client: { username: connection.username, hostname: connection.hostname },
  });
  using interrupts = catchInterrupts();
  return await work(repository, { globals, connection, password, ...interrupts });
}

/** Opens another repository beside the connected one, for as long as `work` takes. */
export async function withOtherRepository<T>(
  command: Command,
  options: { configFile: string; passwordFile?: string | undefined; readOnly: boolean },
  work: (repository: Repository) => Promise<T>,
): Promise<T> {
  const { connection, password, format, environment, ...unlocked } = await unlockOther(
    command,
    options,
  );
  const readOnly = options.readOnly || connection.readOnly === true;
  await using store = unlocked.store;
  using _following = followLimits(options.configFile, store);
  await using repository = await openRepository(readOnly ? readOnlyStore(store) : store, {
    password,
    format,
    readOnly,
    workers: 0,
    environment,
    client: { username: connection.username, hostname: connection.hostname },
  });
  return await work(repository);
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
