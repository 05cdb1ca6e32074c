import { resolve } from "node:path";
import {
  type BlobStore,
  type Environment,
  openFileSystemStore,
  retryStore,
  VarveError,
} from "@varve/core";
import { type Command, InvalidArgumentError } from "commander";

/**
 * The places where blobs may lie. Everything that knows one kind of storage from another is in this table: another kind
 * is another row.
 */

/** What the connection file says about a place. */
export interface StorageLocation {
  readonly type: string;
  readonly config: StorageConfig;
}

export type StorageConfig = Readonly<Record<string, string | number | boolean | undefined>>;

export interface StorageType {
  /** The word on the command line and in the connection file. */
  readonly name: string;
  readonly description: string;
  addOptions(command: Command): void;
  /** From the options that `addOptions` added. */
  configOf(options: StorageConfig): StorageConfig;
  /** One line for people, without secrets. */
  describe(config: StorageConfig): string;
  /** Members of the configuration that nobody may see. */
  readonly secrets: readonly string[];
  /** Throws `corrupt` for a configuration that lacks something. */
  open(config: StorageConfig, options: OpenStoreOptions): Promise<BlobStore>;
}

export interface OpenStoreOptions {
  readonly readOnly?: boolean;
  /** Make the place when it does not exist. */
  readonly create?: boolean;
}

const FILESYSTEM: StorageType = {
  name: "filesystem",
  description: "a folder: a local disk or a mounted share",
  addOptions: (command) => {
    command
      .requiredOption("--path <folder>", "where the repository lies")
      .option("--file-mode <mode>", "permissions of new files, octal (0600)", parseMode)
      .option("--dir-mode <mode>", "permissions of new folders, octal (0700)", parseMode)
      .option("--flat", "all blobs of a new repository in one folder");
  },
  configOf: ({ path, fileMode, dirMode, flat }) => ({
    path: resolve(String(path)),
    fileMode,
    dirMode,
    flat,
  }),
  describe: ({ path }) => `filesystem ${String(path)}`,
  secrets: [],
  open: async ({ path, fileMode, dirMode, flat }, { readOnly = false, create = false }) => {
    if (typeof path !== "string") {
      throw new VarveError("corrupt", "the connection file names no path");
    }
    return await openFileSystemStore(path, {
      readOnly,
      create,
      ...(typeof fileMode === "number" ? { fileMode } : {}),
      ...(typeof dirMode === "number" ? { directoryMode: dirMode } : {}),
      ...(flat === true ? { shards: [] } : {}),
    });
  },
};

function parseMode(text: string): number {
  if (!/^(?:0o)?[0-7]{3,4}$/.test(text)) {
    throw new InvalidArgumentError("not an octal mode like 0600");
  }
  return Number.parseInt(text.replace("0o", ""), 8);
}

const STORAGE_TYPES: readonly StorageType[] = [FILESYSTEM];

/** Throws `corrupt` for a type that varve does not know. */
export function storageType(name: string): StorageType {
  const type = STORAGE_TYPES.find((known) => known.name === name);
  if (type === undefined) {
    throw new VarveError("corrupt", `the connection file names a storage ${JSON.stringify(name)}`);
  }
  return type;
}

/** The store of a location, which is tried again when it fails for a moment. Throws `storage-failed`, `access-denied`. */
export async function openStore(
  location: StorageLocation,
  options: OpenStoreOptions & { environment: Environment },
): Promise<BlobStore> {
  const { environment } = options;
  const store = await storageType(location.type).open(location.config, options);
  return retryStore(store, { environment });
}

/** Adds one subcommand for each kind of storage; `action` gets the location that its options mean. */
export function addStorageCommands(
  parent: Command,
  options: {
    /** `{}` is replaced by the description of the storage. */
    readonly description: string;
    readonly addOptions: (command: Command) => void;
    readonly action: (location: StorageLocation, command: Command) => Promise<void>;
  },
): void {
  for (const type of STORAGE_TYPES) {
    const command = parent
      .command(type.name)
      .description(options.description.replace("{}", type.description));
    type.addOptions(command);
    options.addOptions(command);
    command.action(async () => {
      const config = type.configOf(command.opts<StorageConfig>());
      await options.action({ type: type.name, config }, command);
    });
  }
}
