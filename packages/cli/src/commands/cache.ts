import { resolve } from "node:path";
import { openCacheFolder } from "@varve/core";
import type { Command } from "commander";
import { type CacheChoice, chooseCache } from "../cache.ts";
import { type CacheSettings, changeConnection, readConnection } from "../connection.ts";
import { globalOptions } from "../context.ts";
import { parseCount } from "../options.ts";
import { formatBytes, printJson, printLine } from "../output.ts";

/** `varve cache …`: what is kept on this machine of repositories that are far away. */
export function cacheCommands(cache: Command): void {
  cache
    .command("info")
    .description("show where the cache lies and how full it is")
    .option("--json", "print one JSON document")
    .action(async (_options, command: Command) => info(command));
  cache
    .command("clear")
    .description("drop everything that is kept")
    .action(async (_options, command: Command) => clear(command));
  const set = cache.command("set").description("change where it lies and how large it may get");
  addCacheOptions(set);
  set.action(async (_options, command: Command) => change(command));
}

export function addCacheOptions(command: Command): void {
  command
    .option("--cache-directory <folder>", "keep indexes and metadata here (VARVE_CACHE_DIRECTORY)")
    .option(
      "--metadata-cache-size-mb <n>",
      "and no more of them than so many MiB (5000); 0 keeps none",
      parseCount,
    );
}

/** What the options say; `undefined` when none was given. */
export function cacheSettings(command: Command): CacheSettings | undefined {
  const { cacheDirectory, metadataCacheSizeMb } = command.opts<{
    cacheDirectory?: string;
    metadataCacheSizeMb?: number;
  }>();
  if (cacheDirectory === undefined && metadataCacheSizeMb === undefined) {
    return undefined;
  }
  return {
    ...(cacheDirectory === undefined ? {} : { cacheDirectory: resolve(cacheDirectory) }),
    ...(metadataCacheSizeMb === undefined
      ? {}
      : { maxMetadataCacheSizeBytes: metadataCacheSizeMb * 1024 * 1024 }),
  };
}

async function chosen(command: Command): Promise<CacheChoice | undefined> {
  const choice = chooseCache(await readConnection(globalOptions(command).configFile));
  if (choice === undefined && command.opts<{ json?: boolean }>().json !== true) {
    printLine("Nothing is cached for this connection.");
  }
  return choice;
}

async function info(command: Command): Promise<void> {
  const choice = await chosen(command);
  const usage = choice && (await openCacheFolder(choice.path, choice).usage());
  if (command.opts<{ json?: boolean }>().json === true) {
    printJson(choice && usage ? { path: choice.path, ...usage } : {});
  } else if (choice && usage) {
    printLine(`${choice.path}: ${usage.entries} entries, ${formatBytes(usage.bytes)}`);
    printLine(`At most ${formatBytes(usage.maxBytes)}.`);
  }
}

async function clear(command: Command): Promise<void> {
  const choice = await chosen(command);
  if (choice !== undefined) {
    await openCacheFolder(choice.path).clear();
    printLine(`Cleared ${choice.path}.`);
  }
}

async function change(command: Command): Promise<void> {
  const { configFile } = globalOptions(command);
  const settings = cacheSettings(command);
  if (settings === undefined) {
    printLine("No changes made.");
    return;
  }
  await changeConnection(configFile, (connection) => ({
    ...connection,
    caching: { ...connection.caching, ...settings },
  }));
  printLine("Changed.");
}
