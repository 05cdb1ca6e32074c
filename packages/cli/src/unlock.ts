import { resolve } from "node:path";
import type { Environment, LimitedStore } from "@varve/core/blob";
import { type RepositoryFormat, readRepositoryFormat } from "@varve/core/format";
import type { Command } from "commander";
import { type Connection, readConnection } from "./connection.ts";
import { cliEnvironment, type GlobalOptions, globalOptions } from "./globals.ts";
import { findKeptKey } from "./kept-key.ts";
import { findPassword, knownPassword } from "./password.ts";
import { openStore } from "./storage.ts";

/**
 * The first part of opening a repository, which needs little code and waits long: deriving the key takes another thread
 * a fifth of a second. It is begun before the command's own modules and all of core are loaded.
 */
export interface Unlocking {
  readonly connection: Connection;
  readonly password: string;
  readonly environment: Environment;
  readonly store: LimitedStore;
  readonly format: Promise<RepositoryFormat>;
}

/** By program: a process may run several, one after the other. */
const begun = new WeakMap<Command, Promise<Unlocking | undefined>>();

/**
 * For a command that will open the repository. Resolves when the key is being derived: to load modules meanwhile, not before, makes
 * an empty backup a tenth of a second shorter. Asks nobody and says nothing: what fails here fails again in `unlock`.
 */
export async function beginUnlocking(program: Command): Promise<void> {
  let onDeriving = (): void => {};
  const deriving = new Promise<void>((resolve) => {
    onDeriving = resolve;
  });
  const unlocking = startIfKnown(globalOptions(program), onDeriving).catch(() => undefined);
  begun.set(program, unlocking);
  const opened = unlocking.then((started) => started?.format);
  await Promise.race([deriving, opened]).catch(() => {}); // whatever comes first, a failure included
}

async function startIfKnown(
  globals: GlobalOptions,
  onDeriving: () => void,
): Promise<Unlocking | undefined> {
  const password = await knownPassword(globals);
  return password === undefined ? undefined : await start(globals, password, { onDeriving });
}

/**
 * `metered`: see `openStore`; only for commands whose unlocking is not begun before. Throws `invalid-argument` without a connection
 * or password, `corrupt`, and what the storage throws.
 */
export async function unlock(
  command: Command,
  { metered = false }: { readonly metered?: boolean | undefined } = {},
): Promise<Unlocking> {
  let program = command;
  while (program.parent !== null) {
    program = program.parent;
  }
  const globals = globalOptions(command);
  const unlocking = await begun.get(program);
  return unlocking ?? (await start(globals, await findPassword(globals), { metered }));
}

/** Like {@link unlock}, of a connection that was named in an option. */
export async function unlockOther(
  command: Command,
  { configFile, passwordFile }: { configFile: string; passwordFile?: string | undefined },
): Promise<Unlocking> {
  const globals = globalOptions(command);
  const password =
    (await knownPassword({ passwordFile, configFile, ignoreEnvironment: true })) ??
    (await findPassword(globals));
  return await start({ ...globals, configFile: resolve(configFile) }, password);
}

async function start(
  globals: GlobalOptions,
  password: string,
  { onDeriving, metered }: { onDeriving?: () => void; metered?: boolean } = {},
): Promise<Unlocking> {
  const connection = await readConnection(globals.configFile);
  const environment = cliEnvironment();
  const readOnly = connection.readOnly === true;
  const limits = connection.throttlingLimits;
  const store = await openStore(connection.storage, {
    readOnly,
    environment,
    limits,
    metered,
  });
  const format = unlockWithKeptKey(store, { password, onDeriving, configFile: globals.configFile });
  format.catch(() => {}); // whoever opens the repository with it is told
  return { connection, password, environment, store, format };
}

async function unlockWithKeptKey(
  store: LimitedStore,
  options: { password: string; configFile: string; onDeriving: (() => void) | undefined },
): Promise<RepositoryFormat> {
  const { password, configFile, onDeriving } = options;
  const kept = await findKeptKey(configFile, password);
  const format = await readRepositoryFormat(store, { password, known: kept?.known, onDeriving });
  await kept?.update(format);
  return format;
}
