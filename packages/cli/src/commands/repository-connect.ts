import {
  createRepository,
  type Environment,
  openRepository,
  type RepositoryFormat,
  VarveError,
} from "@varve/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import {
  type Connection,
  defaultIdentity,
  keepCredentials,
  readConnection,
  removeConnection,
  writeConnection,
} from "../connection.ts";
import { cliEnvironment, globalOptions } from "../context.ts";
import { addCacheOptions, cacheSettings } from "./cache.ts";
import { speedLimits } from "../limits.ts";
import { addSwitch, parseCount, parseDurationMs, parsePercent } from "../options.ts";
import { printLine } from "../output.ts";
import { chooseNewPassword, environmentPassword, findPassword, keepPassword } from "../password.ts";
import { openStore, splitSecrets, storageType } from "../storage.ts";
import type { StorageLocation } from "../storage-type.ts";

/** `repository create`, `connect`, `disconnect`. */

interface ConnectOptions {
  readonly description?: string;
  readonly readonly: boolean;
  readonly overrideUsername?: string;
  readonly overrideHostname?: string;
  readonly persistCredentials: boolean;
  readonly enableActions: boolean;
}

interface CreateOptions extends ConnectOptions {
  readonly blockHash?: string;
  readonly encryption?: string;
  readonly objectSplitter?: string;
  readonly ecc?: string;
  readonly eccOverheadPercent?: number;
  readonly formatVersion?: number;
  readonly formatBlockKeyDerivationAlgorithm?: string;
  readonly maxPackSizeMb?: number;
  readonly retentionMode?: RetentionMode;
  readonly retentionPeriod?: number;
  readonly createOnly: boolean;
}

export function addConnectOptions(command: Command): void {
  command
    .option("--description <text>", "what to call this repository")
    .option("--override-username <name>", "act as this user")
    .option("--override-hostname <name>", "act as this host");
  addCacheOptions(command);
  addSwitch(command, "readonly", { on: false, help: "refuse to change anything" });
  addSwitch(command, "enable-actions", {
    on: false,
    help: "run the commands that policies ask for before and after",
  });
  addSwitch(command, "persist-credentials", {
    on: false,
    help: "keep password and keys of the storage beside the connection, readable by you only",
  });
}

export function addCreateOptions(command: Command): void {
  command
    .option("--block-hash <name>", "hash of contents (BLAKE3-256-128)")
    .option("--encryption <name>", "cipher of contents (AES256-GCM-HMAC-SHA256)")
    .option("--object-splitter <name>", "how files are cut (FASTCDC-1M)")
    .option("--ecc <name>", "error correction (REED-SOLOMON-CRC32 when a percentage is given)")
    .option("--ecc-overhead-percent <n>", "space for error correction; 0 is none", parsePercent)
    .option("--format-version <n>", "1, 2 or 3; 0 is the newest", parseCount)
    .option(
      "--format-block-key-derivation-algorithm <name>",
      "from password to key (scrypt-65536-8-1)",
    )
    .option("--max-pack-size-mb <n>", "size of packs in MiB (20)", parseCount);
  addRetentionOptions(command);
  addSwitch(command, "create-only", { on: false, help: "do not connect to it", short: "c" });
  addConnectOptions(command);
}

const RETENTION_MODES = ["none", "governance", "compliance", "locked"] as const;
type RetentionMode = (typeof RETENTION_MODES)[number];

export function addRetentionOptions(command: Command): void {
  command
    .addOption(
      new Option("--retention-mode <mode>", "object lock of new blobs").argParser(
        parseRetentionMode,
      ),
    )
    .option(
      "--retention-period <duration>",
      "how long blobs are locked, as in 720h",
      parseDurationMs,
    );
}

function parseRetentionMode(text: string): RetentionMode {
  const mode = RETENTION_MODES.find((known) => known === text.toLowerCase());
  if (mode === undefined) {
    throw new InvalidArgumentError(`known are ${RETENTION_MODES.join(", ")}`);
  }
  return mode;
}

/** `null` turns it off, `undefined` leaves it. Throws `invalid-argument` for a mode without a period. */
export function retentionOf(options: {
  readonly retentionMode?: RetentionMode;
  readonly retentionPeriod?: number;
  /** Completes what is not given. */
  readonly current?: RepositoryFormat["retention"];
}): RepositoryFormat["retention"] | null {
  const { retentionMode, retentionPeriod, current } = options;
  if (retentionMode === "none") {
    return null;
  }
  if (retentionMode === undefined && retentionPeriod === undefined) {
    return undefined;
  }
  const mode = retentionMode ?? current?.mode;
  const periodMs = retentionPeriod ?? current?.periodMs;
  if (mode === undefined || periodMs === undefined) {
    throw new VarveError(
      "invalid-argument",
      "object lock needs both --retention-mode and --retention-period",
    );
  }
  return { mode, periodMs };
}

export async function create(location: StorageLocation, command: Command): Promise<void> {
  const options = command.opts<CreateOptions>();
  const globals = globalOptions(command);
  const environment = cliEnvironment();
  const connection = connectionTo(location, options, command);
  const limits = connection.throttlingLimits;
  const percent = options.eccOverheadPercent ?? 0;
  const password = await chooseNewPassword({
    given: globals.password,
    file: globals.passwordFile,
    environment: environmentPassword(),
  });
  await using store = await openStore(location, { create: true, environment, limits });
  await createRepository(store, {
    password,
    hash: options.blockHash,
    encryption: options.encryption,
    splitter: options.objectSplitter,
    ecc:
      percent > 0
        ? { algorithm: options.ecc ?? "REED-SOLOMON-CRC32", overheadPercent: percent }
        : undefined,
    version: options.formatVersion === 0 ? undefined : options.formatVersion,
    keyDerivation: options.formatBlockKeyDerivationAlgorithm,
    maxPackSizeBytes: mebibytes(options.maxPackSizeMb),
    retention: retentionOf(options) ?? undefined,
    client: connection,
    environment,
  });
  printLine(`Created a repository in ${storageType(location.type).describe(location.config)}.`);
  if (!options.createOnly) {
    await saveConnection(connection, { ...globals, password, keep: options.persistCredentials });
  }
}

export function mebibytes(count: number | undefined): number | undefined {
  return count === undefined ? undefined : count * 1024 * 1024;
}

export async function connect(location: StorageLocation, command: Command): Promise<void> {
  const options = command.opts<ConnectOptions>();
  const globals = globalOptions(command);
  const password = await findPassword(globals);
  const connection = connectionTo(location, options, command);
  await checkAccess(connection, { password, environment: cliEnvironment() });
  await saveConnection(connection, { ...globals, password, keep: options.persistCredentials });
}

export async function disconnect(command: Command): Promise<void> {
  const { configFile } = globalOptions(command);
  await readConnection(configFile);
  await removeConnection(configFile);
  printLine("Disconnected.");
}

/** Opens the whole repository, index and all: a connection that was made is one that works. */
async function checkAccess(
  { storage, throttlingLimits: limits }: Connection,
  options: { password: string; environment: Environment },
): Promise<void> {
  const { password, environment } = options;
  await using store = await openStore(storage, { readOnly: true, environment, limits });
  await using _repository = await openRepository(store, { password, environment, readOnly: true });
}

function connectionTo(
  storage: StorageLocation,
  options: ConnectOptions,
  command: Command,
): Connection {
  const limits = { ...storage.limits, ...speedLimits(command) };
  const identity = defaultIdentity();
  return {
    storage,
    username: options.overrideUsername ?? identity.username,
    hostname: options.overrideHostname ?? identity.hostname,
    description: options.description,
    readOnly: options.readonly,
    throttlingLimits: Object.keys(limits).length > 0 ? limits : undefined,
    caching: cacheSettings(command),
    enableActions: options.enableActions,
  };
}

async function saveConnection(
  connection: Connection,
  options: { configFile: string; password: string; keep: boolean },
): Promise<void> {
  const { configFile, password, keep } = options;
  await removeConnection(configFile); // with the password of the repository before
  const { visible, secret } = splitSecrets(connection.storage);
  const { type } = connection.storage;
  await writeConnection(configFile, { ...connection, storage: { type, config: visible } });
  if (keep) {
    await keepPassword(configFile, password);
  }
  const wanted = Object.keys(secret);
  const variables = wanted.flatMap((name) => storageType(type).secrets[name] ?? []);
  if (wanted.length > 0 && (keep || variables.length === 0)) {
    await keepCredentials(configFile, secret);
  }
  printLine(`Connected as ${connection.username}@${connection.hostname}.`);
  if (!keep && variables.some((name) => process.env[name] === undefined)) {
    printLine(
      `The keys of the storage were not kept: give ${variables.join(", ")} in the environment, ` +
        "or connect with --persist-credentials.",
    );
  }
}
