import { Command, CommanderError, Option } from "commander";
import { parseBytes } from "./options.ts";
import { version } from "./version.ts";
import { EXIT_FAILED, EXIT_OK, EXIT_USAGE, reportError } from "./exit.ts";

/**
 * The command tree. Only the group that was asked for is imported, so that `varve ls` does not pay for what
 * `varve benchmark` needs.
 */

interface Group {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly description: string;
  /** All of its commands open the repository: unlocking begins while they are loaded. */
  readonly opensRepository?: true;
  /** Adds options, arguments and subcommands. */
  readonly load: () => Promise<(command: Command) => void>;
}

const GROUPS: readonly Group[] = [
  {
    name: "repository",
    aliases: ["repo"],
    description: "create a repository, connect to one, show and change it",
    load: async () => (await import("./commands/repository.ts")).repositoryCommands,
  },
  {
    name: "snapshot",
    aliases: ["snap"],
    description: "back up, list, verify, pin, expire and delete snapshots",
    opensRepository: true,
    load: async () => (await import("./commands/snapshot.ts")).snapshotCommands,
  },
  {
    name: "restore",
    description: "write a snapshot, or part of one, to a folder, tar or zip",
    opensRepository: true,
    load: async () => (await import("./commands/restore.ts")).restoreCommand,
  },
  {
    name: "list",
    aliases: ["ls"],
    description: "list a directory of a snapshot",
    opensRepository: true,
    load: async () => (await import("./commands/browse.ts")).listCommand,
  },
  {
    name: "show",
    aliases: ["cat"],
    description: "print a file of a snapshot, or any object",
    opensRepository: true,
    load: async () => (await import("./commands/browse.ts")).showCommand,
  },
  {
    name: "diff",
    description: "compare two snapshots or directories of snapshots",
    opensRepository: true,
    load: async () => (await import("./commands/diff.ts")).diffCommand,
  },
  {
    name: "policy",
    description: "show and change what is backed up, how, and how long it is kept",
    opensRepository: true,
    load: async () => (await import("./commands/policy.ts")).policyCommands,
  },
  {
    name: "maintenance",
    description: "free what no snapshot needs, keep packs and indexes few",
    load: async () => (await import("./commands/maintenance.ts")).maintenanceCommands,
  },
  {
    name: "verify",
    description: "read all of the data once in so many days, with signed receipts",
    load: async () => (await import("./commands/verify.ts")).verifyCommands,
  },
  {
    name: "manifest",
    description: "look at manifests",
    opensRepository: true,
    load: async () => (await import("./commands/manifest.ts")).manifestCommands,
  },
  {
    name: "content",
    description: "look at contents and verify them",
    opensRepository: true,
    load: async () => (await import("./commands/content.ts")).contentCommands,
  },
  {
    name: "blob",
    description: "look at blobs",
    load: async () => (await import("./commands/blob.ts")).blobCommands,
  },
  {
    name: "index",
    description: "look at index blobs and recover them",
    opensRepository: true,
    load: async () => (await import("./commands/index-blobs.ts")).indexCommands,
  },
  {
    name: "cache",
    description: "look at what is kept on this machine of a repository far away, and drop it",
    load: async () => (await import("./commands/cache.ts")).cacheCommands,
  },
  {
    name: "benchmark",
    description: "measure hashes, ciphers, compression and splitters on this machine",
    load: async () => (await import("./commands/benchmark.ts")).benchmarkCommands,
  },
];

/** Runs one command line (without the program's own name) and gives the exit status. */
export async function runProgram(args: readonly string[]): Promise<number> {
  const { program } = await createProgram();
  try {
    await program.parseAsync([...args], { from: "user" });
    return typeof process.exitCode === "number" ? process.exitCode : EXIT_OK;
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE; // commander has printed why
    }
    reportError(error);
    return EXIT_FAILED;
  }
}

/** Every command with its options: what the documents must tell. */
export async function loadWholeProgram(): Promise<Command> {
  const { program, load } = await createProgram();
  for (const command of program.commands) {
    await load(command);
  }
  return program;
}

async function createProgram(): Promise<{
  readonly program: Command;
  /** Adds to a command of `program` what it has below it. */
  readonly load: (command: Command) => Promise<void>;
}> {
  const program = new Command("varve")
    .description("Deduplicated, compressed, encrypted backups in Kopia's repository format")
    .version(await version(), "--version", "print the version")
    .option("--config-file <path>", "which connection to use (VARVE_CONFIG_PATH)")
    .option("--password-file <path>", "read the repository password from this file")
    .option("-p, --password <password>", "repository password; prefer VARVE_PASSWORD or a file")
    .addOption(
      new Option("--max-memory <size>", "hold no more than this in memory, like 512MiB").argParser(
        parseBytes,
      ),
    )
    .option("--no-progress", "no progress on standard error")
    .option("--no-auto-maintenance", "do not do the maintenance that is due after a command")
    .addOption(new Option("--dangerous-commands <enabled>").hideHelp())
    .showHelpAfterError("(see --help)")
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "varve: ")) })
    .exitOverride();
  const groups = new Map(
    GROUPS.map((group) => {
      const command = program.command(group.name).description(group.description);
      return [command.aliases(group.aliases ?? []), group] as const;
    }),
  );
  const load = async (command: Command): Promise<void> => {
    const group = groups.get(command);
    groups.delete(command); // once
    (await group?.load())?.(command);
  };
  // Commander itself says which group is meant: the first argument that is no value of an option.
  program.hook("preSubcommand", async (_program, command) => {
    if (program.opts<{ maxMemory?: number }>().maxMemory !== undefined) {
      const { collectOften } = await import("./ceiling.ts");
      collectOften();
    }
    if (groups.get(command)?.opensRepository === true && !asksForHelp(program.args)) {
      const { beginUnlocking } = await import("./unlock.ts");
      await beginUnlocking(program);
    }
    await load(command);
  });
  addHelpCommand(program, load);
  return { program, load };
}

function asksForHelp(args: readonly string[]): boolean {
  return args.some((arg) => arg === "--help" || arg === "-h");
}

/** Instead of commander's own, which knows neither what is not loaded nor what is deeper than one level. */
function addHelpCommand(program: Command, load: (command: Command) => Promise<void>): void {
  program
    .command("help")
    .argument("[command...]", "what to explain")
    .description("display help for a command")
    .action(async (names: readonly string[]) => {
      let command = program;
      for (const name of names) {
        const child = command.commands.find(
          (known) => known.name() === name || known.aliases().includes(name),
        );
        if (child === undefined) {
          return command.error(`error: unknown command '${name}'`);
        }
        await load(child);
        command = child;
      }
      return command.help();
    });
}
