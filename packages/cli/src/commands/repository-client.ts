import { VarveError } from "@varve/core/blob";
import { type Command, Option } from "commander";
import { changeConnection, type Connection } from "../connection.ts";
import { globalOptions } from "../context.ts";
import { parseDurationMs } from "../options.ts";
import { printableName, printLine } from "../output.ts";

/** `repository set-client`: how this machine uses the repository. Needs neither the storage nor the password. */

interface ClientOptions {
  readonly readOnly?: boolean;
  readonly readWrite?: boolean;
  readonly description?: string;
  readonly username?: string;
  readonly hostname?: string;
  readonly enableActions?: boolean;
  readonly repositoryFormatCacheDuration?: number;
  readonly disableRepositoryFormatCache?: boolean;
}

export function addClientOptions(command: Command): void {
  command
    .addOption(new Option("--read-only", "refuse to change anything").conflicts("readWrite"))
    .option("--read-write", "allow changes again")
    .option("--description <text>", "what to call this repository")
    .option("--username <name>", "act as this user")
    .option("--hostname <name>", "act as this host")
    .option("--enable-actions", "run the commands that policies ask for before and after")
    .option("--no-enable-actions", "do not run them any more")
    .addOption(
      new Option("--repository-format-cache-duration <duration>", "without effect")
        .argParser(parseDurationMs)
        .hideHelp(),
    )
    .addOption(new Option("--disable-repository-format-cache", "without effect").hideHelp());
}

export async function setClient(command: Command): Promise<void> {
  const options = command.opts<ClientOptions>();
  if (Object.keys(options).length === 0) {
    throw new VarveError("invalid-argument", "nothing to change was given; see --help");
  }
  for (const [name, value] of Object.entries({ ...options, description: "any" })) {
    if (value === "") {
      throw new VarveError("invalid-argument", `the ${name} must not be empty`);
    }
  }
  const { repositoryFormatCacheDuration, disableRepositoryFormatCache } = options;
  if (repositoryFormatCacheDuration !== undefined || disableRepositoryFormatCache === true) {
    process.stderr.write("varve: the format blob is never cached: nothing to change there\n");
  }
  const { configFile } = globalOptions(command);
  const changed = await changeConnection(configFile, (connection) => ({
    ...connection,
    ...changesOf(options),
  }));
  const { username, hostname, readOnly, enableActions } = changed;
  printLine(
    `${printableName(`${username}@${hostname}`)}, ${readOnly === true ? "read-only" : "read and write"}, ` +
      `actions of policies are ${enableActions === true ? "run" : "not run"}.`,
  );
}

function changesOf(options: ClientOptions): Partial<Connection> {
  const { readOnly, readWrite, description, username, hostname, enableActions } = options;
  const members = {
    readOnly: readOnly === true ? true : readWrite === true ? false : undefined,
    description,
    username,
    hostname,
    enableActions,
  };
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
