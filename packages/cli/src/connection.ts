import { randomBytes } from "node:crypto";
import { chmod, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { homedir, hostname, userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type StoreLimits, VarveError } from "@varve/core/blob";
import type { StorageConfig, StorageLocation } from "./storage-type.ts";

/** Which repository this machine is connected to: a small JSON file; secrets, if they are kept, are in another beside it. */
export interface Connection {
  readonly storage: StorageLocation;
  readonly username: string;
  readonly hostname: string;
  readonly description?: string | undefined;
  readonly readOnly?: boolean | undefined;
  readonly throttlingLimits?: StoreLimits | undefined;
  readonly caching?: CacheSettings | undefined;
  /** The commands that policies ask for are run. */
  readonly enableActions?: boolean | undefined;
}

/** What is not there is left to defaults. */
export interface CacheSettings {
  readonly cacheDirectory?: string;
  /** 0 keeps nothing. */
  readonly maxMetadataCacheSizeBytes?: number;
}

/** `--config-file`, else `VARVE_CONFIG_PATH`, else `repository.config` in the user's configuration folder. */
export function configPath(option: string | undefined): string {
  const configured = option ?? process.env["VARVE_CONFIG_PATH"];
  if (configured !== undefined && configured !== "") {
    return resolve(configured);
  }
  const base = process.env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config");
  return join(base, "varve", "repository.config");
}

/** Who this machine is when nothing else was said at connect time: Kopia's `user@host`, in lower case. */
export function defaultIdentity(): { username: string; hostname: string } {
  return { username: userInfo().username.toLowerCase(), hostname: hostname().toLowerCase() };
}

/** Throws `invalid-argument` when there is no connection, `corrupt` when the file is not one. */
export async function readConnection(path: string): Promise<Connection> {
  const connection = await readVisible(path);
  const { type, config } = connection.storage;
  const secrets = await keptCredentials(path);
  return { ...connection, storage: { type, config: { ...config, ...secrets } } };
}

/** Writes what `change` makes of the connection; what is kept beside it stays there. Throws like {@link readConnection}. */
export async function changeConnection(
  path: string,
  change: (connection: Connection) => Connection,
): Promise<Connection> {
  const changed = change(await readVisible(path));
  await writeConnection(path, changed);
  return changed;
}

/** The file alone, without secrets. */
async function readVisible(path: string): Promise<Connection> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new VarveError(
      "invalid-argument",
      `not connected to a repository (no ${path}): run "varve repository connect" or "varve repository create"`,
      { cause },
    );
  }
  return parseConnection(text, path);
}

/** What `--persist-credentials` kept for the storage. Throws `corrupt`. */
export async function keptCredentials(path: string): Promise<StorageConfig> {
  let text: string;
  try {
    text = await readFile(credentialsFile(path), "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      return {};
    }
    const what = `cannot read ${credentialsFile(path)}`;
    throw new VarveError("invalid-argument", what, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined; // without the cause, which quotes the file
  }
  if (!isStorageConfig(value)) {
    throw new VarveError("corrupt", `${credentialsFile(path)} does not hold credentials`);
  }
  return value;
}

function parseConnection(text: string, path: string): Connection {
  const bad = (cause?: unknown): never => {
    throw new VarveError("corrupt", `${path} is not a connection file of varve`, { cause });
  };
  let value: Partial<Connection> | null;
  try {
    value = JSON.parse(text) as Partial<Connection> | null; // every member is checked below
  } catch (cause) {
    return bad(cause);
  }
  const {
    storage,
    username,
    hostname: host,
    description,
    readOnly,
    throttlingLimits,
    caching,
    enableActions,
  } = value ?? {};
  if (
    typeof storage?.type !== "string" ||
    !isStorageConfig(storage.config) ||
    typeof username !== "string" ||
    typeof host !== "string" ||
    !isLimits(throttlingLimits) ||
    !isCaching(caching)
  ) {
    return bad();
  }
  return {
    storage: { type: storage.type, config: storage.config },
    username,
    hostname: host,
    description: typeof description === "string" ? description : undefined,
    readOnly: readOnly === true,
    throttlingLimits,
    caching,
    enableActions: enableActions === true,
  };
}

function isCaching(value: unknown): value is CacheSettings | undefined {
  if (value === undefined) {
    return true;
  }
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const { cacheDirectory, maxMetadataCacheSizeBytes: maxBytes }: Partial<Record<string, unknown>> =
    Object.fromEntries(Object.entries(value));
  return (
    (cacheDirectory === undefined || typeof cacheDirectory === "string") &&
    (maxBytes === undefined || (typeof maxBytes === "number" && maxBytes >= 0))
  );
}

function isLimits(value: unknown): value is StoreLimits | undefined {
  return (
    value === undefined ||
    (typeof value === "object" &&
      value !== null &&
      Object.values(value).every((limit) => typeof limit === "number" && limit >= 0))
  );
}

function isStorageConfig(value: unknown): value is StorageConfig {
  return (
    typeof value === "object" &&
    value !== null &&
    Object.values(value).every((member) => ["string", "number", "boolean"].includes(typeof member))
  );
}

/** Replaces the file as a whole; only its owner may read it. `connection` must hold no secret. */
export async function writeConnection(path: string, connection: Connection): Promise<void> {
  await writePrivateFile(path, `${JSON.stringify(connection, undefined, 2)}\n`);
}

/** Keeps what nobody else may see of a storage's configuration, in a file that only its owner may read. */
export async function keepCredentials(path: string, secrets: StorageConfig): Promise<void> {
  await writePrivateFile(credentialsFile(path), `${JSON.stringify(secrets, undefined, 2)}\n`);
}

/** Removes the connection, and the password, its key and credentials that were kept beside it. */
export async function removeConnection(path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(keyFile(path), { force: true });
  await rm(passwordFile(path), { force: true });
  await rm(credentialsFile(path), { force: true });
}

/** Where `--persist-credentials` keeps the password. */
export function passwordFile(config: string): string {
  return `${config}.password`;
}

/** Where the key lies that was derived from that password. */
export function keyFile(config: string): string {
  return `${config}.key`;
}

function credentialsFile(config: string): string {
  return `${config}.credentials`;
}

export async function writePrivateFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.tmp.${randomBytes(8).toString("hex")}`;
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await chmod(temporary, 0o600);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
