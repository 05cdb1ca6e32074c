import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { type StoreLimits, VarveError } from "@varve/core/blob";
import { keptCredentials } from "./connection.ts";
import { LIMITS } from "./limits.ts";
import { findStorageType, storageType } from "./storage.ts";
import type { KopiaConfig, StorageConfig, StorageLocation } from "./storage-type.ts";

/**
 * Where a repository is, for another machine: Kopia's token (base64 of a JSON document), and the part of a connection file that
 * Kopia and varve have in common. Both may hold secrets, so no error quotes them.
 */
export interface NamedPlace {
  readonly location: StorageLocation;
  readonly password?: string | undefined;
}

const VERSION = "1";

/** Holds every member of the location's configuration: leave out what the reader must not know. */
export function encodeToken({ location, password }: NamedPlace): string {
  const { type, config, limits } = location;
  const kopiaConfig = { ...config, ...storageType(type).toKopia?.(config), ...limits };
  const document = { version: VERSION, storage: { type, config: kopiaConfig }, password };
  return Buffer.from(JSON.stringify(document)).toString("base64url");
}

/** Throws `invalid-argument` for what is no token, `unsupported` for one of a later version or of a storage that varve does not know. */
export function decodeToken(token: string): NamedPlace {
  const base64 = token.replaceAll(/\s/g, "");
  const { version, storage, password } = /^[\w-]+$/.test(base64)
    ? membersOf(Buffer.from(base64, "base64url").toString())
    : {};
  if (typeof version !== "string") {
    throw new VarveError("invalid-argument", "this is no token of a repository");
  }
  if (version !== VERSION) {
    throw new VarveError("unsupported", "the token is of another version");
  }
  return {
    location: locationOf(storage, "the token"),
    password: typeof password === "string" && password !== "" ? password : undefined,
  };
}

/** Where tokens and connection files may come from; one of them. */
export interface PlaceSources {
  readonly file?: string | undefined;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly tokenStdin?: boolean | undefined;
}

/** Throws `invalid-argument`, `unsupported`. */
export async function readPlace(sources: PlaceSources): Promise<NamedPlace> {
  const { file, token, tokenFile, tokenStdin } = sources;
  if (Object.keys(sources).length !== 1) {
    throw new VarveError(
      "invalid-argument",
      "give one of --file, --token, --token-file, --token-stdin",
    );
  }
  if (file !== undefined) {
    return { location: await readConnectedPlace(file) };
  }
  if (tokenFile !== undefined) {
    return decodeToken(await readText(tokenFile));
  }
  return decodeToken(tokenStdin === true ? await text(process.stdin) : (token ?? ""));
}

/** Of a connection file of Kopia or varve, with the keys that varve kept beside its own. */
async function readConnectedPlace(path: string): Promise<StorageLocation> {
  const { storage } = membersOf(await readText(path));
  const { type, config, limits } = locationOf(storage, path);
  return { type, config: { ...config, ...(await keptCredentials(path)) }, limits };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new VarveError("invalid-argument", `cannot read ${path}`, { cause });
  }
}

function locationOf(storage: unknown, where: string): StorageLocation {
  const { type, config } = recordOf(storage);
  if (typeof type !== "string") {
    throw new VarveError("invalid-argument", `${where} names no storage`);
  }
  const known = findStorageType(type);
  if (known === undefined) {
    const shown = JSON.stringify(type.slice(0, 40));
    throw new VarveError(
      "unsupported",
      `${where} names a storage that varve does not know: ${shown}`,
    );
  }
  const given = recordOf(config);
  const byName = new Map(known.members.map((member) => [member.toLowerCase(), member]));
  const taken: Record<string, StorageConfig[string]> = {};
  for (const [name, value] of Object.entries(given)) {
    const member = byName.get(name.toLowerCase());
    if (member !== undefined && isSaid(value)) {
      taken[member] = value;
    }
  }
  const limits = Object.fromEntries(
    LIMITS.map(({ member }) => [member, given[member]]).filter(([, limit]) => Number(limit) > 0),
  ) as StoreLimits; // its members, and numbers
  return { type, config: { ...taken, ...known.fromKopia?.(given) }, limits };
}

/** Kopia writes many members that say nothing: empty, 0 or null. */
function isSaid(value: unknown): value is string | number | true {
  return (
    (typeof value === "string" || typeof value === "number" || value === true) && Boolean(value)
  );
}

function membersOf(json: string): KopiaConfig {
  try {
    return recordOf(JSON.parse(json));
  } catch {
    return {}; // the cause would quote what may be a secret
  }
}

function recordOf(value: unknown): KopiaConfig {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
