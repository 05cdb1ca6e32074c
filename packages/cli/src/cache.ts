import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { type CacheFolder, type Environment, openCacheFolder } from "@varve/core";
import type { Connection } from "./connection.ts";
import { storageType } from "./storage.ts";

/** What is kept on this machine of repositories that are far away. */

export interface CacheChoice {
  readonly path: string;
  readonly maxBytes: number;
}

/** Kopia's for metadata, in MiB. */
const DEFAULT_CACHE_MIB = 5000;

/**
 * Where to keep it: `VARVE_CACHE_DIRECTORY`, what the connection says, else a folder of the user's for such things.
 * `undefined` with a bound of 0, and for a folder of this machine, unless it was asked for: it may be a share.
 */
export function chooseCache({ storage, caching = {} }: Connection): CacheChoice | undefined {
  const { maxMetadataCacheSizeBytes: maxBytes = DEFAULT_CACHE_MIB * 1024 * 1024 } = caching;
  const asked = process.env["VARVE_CACHE_DIRECTORY"] || caching.cacheDirectory; // the empty text is nothing
  if (maxBytes === 0 || (asked === undefined && storageType(storage.type).isNear === true)) {
    return undefined;
  }
  const base = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return { path: resolve(asked ?? join(base, "varve")), maxBytes };
}

export function openCache(
  connection: Connection,
  environment: Environment,
): CacheFolder | undefined {
  const choice = chooseCache(connection);
  return choice && openCacheFolder(choice.path, { maxBytes: choice.maxBytes, environment });
}
