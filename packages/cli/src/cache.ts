import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { type CacheFolder, type Environment, openCacheFolder } from "@varve/core";
import type { Connection } from "./connection.ts";
import { storageType } from "./storage.ts";

/** What is kept on this machine: of sources, what the last backup found in them; of repositories that are far away, indexes and metadata. */

export interface CacheChoice {
  readonly path: string;
  readonly maxBytes: number;
  /** Whether it is also for blobs: not of a folder of this machine, unless it was asked for; that may be a share. */
  readonly keepsBlobs: boolean;
}

/** Kopia's for metadata, in MiB. */
const DEFAULT_CACHE_MIB = 5000;

/**
 * Where to keep it: `VARVE_CACHE_DIRECTORY`, what the connection says, else a folder of the user's for such things.
 * `undefined` with a bound of 0.
 */
export function chooseCache({ storage, caching = {} }: Connection): CacheChoice | undefined {
  const { maxMetadataCacheSizeBytes: maxBytes = DEFAULT_CACHE_MIB * 1024 * 1024 } = caching;
  const asked = process.env["VARVE_CACHE_DIRECTORY"] || caching.cacheDirectory; // the empty text is nothing
  if (maxBytes === 0) {
    return undefined;
  }
  const base = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const keepsBlobs = asked !== undefined || storageType(storage.type).isNear !== true;
  return { path: resolve(asked ?? join(base, "varve")), maxBytes, keepsBlobs };
}

/** As `openRepository` takes them. */
export function openCaches(
  connection: Connection,
  environment: Environment,
): { readonly cache?: CacheFolder; readonly notes?: CacheFolder } {
  const choice = chooseCache(connection);
  if (choice === undefined) {
    return {};
  }
  const notes = openCacheFolder(choice.path, { maxBytes: choice.maxBytes, environment });
  return choice.keepsBlobs ? { cache: notes, notes } : { notes };
}
