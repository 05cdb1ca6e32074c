import type { Command } from "commander";
import { addSpeedOptions } from "./limits.ts";
import { STORAGE_TYPES } from "./storage.ts";
import type { StorageConfig, StorageLocation } from "./storage-type.ts";
import { type PlaceSources, readPlace } from "./token.ts";

export interface StorageCommands {
  /** `{}` is replaced by the description of the storage. */
  readonly description: string;
  readonly addOptions: (command: Command) => void;
  /** Gets the location that the options of the storage mean. */
  readonly action: (location: StorageLocation, command: Command) => Promise<void>;
}

/** Adds one subcommand for each kind of storage, and `from-config`, which takes what Kopia or varve wrote down of one. */
export function addStorageCommands(parent: Command, options: StorageCommands): void {
  for (const type of STORAGE_TYPES) {
    const command = parent
      .command(type.name)
      .description(options.description.replace("{}", type.description));
    type.addOptions(command);
    addSpeedOptions(command);
    options.addOptions(command);
    command.action(async () => {
      const config = await type.configOf(command.opts<StorageConfig>());
      await options.action({ type: type.name, config }, command);
    });
  }
  addFromConfig(parent, options);
}

function addFromConfig(
  parent: Command,
  { description, addOptions, action }: StorageCommands,
): void {
  const command = parent
    .command("from-config")
    .description(description.replace("{}", "the place that a token or a connection file names"))
    .option("--file <path>", "connection file of varve or Kopia")
    .option("--token <token>", "as repository status -t shows it; others may see it here")
    .option("--token-file <path>", "a file with a token")
    .option("--token-stdin", "read a token from standard input");
  addSpeedOptions(command);
  addOptions(command);
  command.action(async () => {
    const { file, token, tokenFile, tokenStdin } = command.opts<PlaceSources>();
    const sources = Object.entries({ file, token, tokenFile, tokenStdin });
    const given = Object.fromEntries(sources.filter(([, value]) => value !== undefined));
    const { location, password } = await readPlace(given);
    if (password !== undefined) {
      usePassword(command, password);
    }
    await action(location, command);
  });
}

/** As if it had been given as a global option, unless one was. */
function usePassword(command: Command, password: string): void {
  let program = command;
  while (program.parent !== null) {
    program = program.parent;
  }
  const given = program.opts<{ password?: string; passwordFile?: string }>();
  if (given.password === undefined && given.passwordFile === undefined) {
    program.setOptionValue("password", password);
  }
}
