import {
  adaptiveStore,
  type BlobStore,
  type LimitedStore,
  limitStore,
  meteredStore,
  retryStore,
  type StoreLimits,
  VarveError,
  withRetries,
} from "@varve/core/blob";
import { AZURE } from "./azure-storage.ts";
import { FILESYSTEM } from "./filesystem-storage.ts";
import { GCS } from "./gcs-storage.ts";
import { S3 } from "./s3-storage.ts";
import type {
  OpenStoreOptions,
  StorageConfig,
  StorageLocation,
  StorageType,
} from "./storage-type.ts";

/**
 * The places where blobs may lie. Everything that knows one kind of storage from another is in this table: another kind
 * is another row. What a row needs of a vendor's SDK it imports when it is opened.
 */
export const STORAGE_TYPES: readonly StorageType[] = [FILESYSTEM, S3, AZURE, GCS];

// Whoever mistypes a host waits this often for it.
const OPENING_ATTEMPTS = 4;

/** Throws `corrupt` for a type that varve does not know. */
export function storageType(name: string): StorageType {
  const type = findStorageType(name);
  if (type === undefined) {
    throw new VarveError("corrupt", `the connection file names a storage ${JSON.stringify(name)}`);
  }
  return type;
}

export function findStorageType(name: string): StorageType | undefined {
  return STORAGE_TYPES.find((known) => known.name === name);
}

/**
 * The store of a location, which is tried again when it fails for a moment, and asked no more than `limits` allow.
 * Throws `storage-failed`, `access-denied`.
 */
export async function openStore(
  location: StorageLocation,
  options: OpenStoreOptions & {
    readonly limits?: StoreLimits | undefined;
    /** Count what is asked of it, each attempt. */
    readonly metered?: boolean | undefined;
  },
): Promise<LimitedStore> {
  const { environment, limits = {}, metered = false } = options;
  const type = storageType(location.type);
  const { config } = withVariables(location);
  const open = (): Promise<BlobStore> => type.open(config, options);
  const what = `open ${type.describe(config)}`;
  const store = await withRetries(what, { environment, attempts: OPENING_ATTEMPTS }, open);
  const adaptive = adaptiveStore(store, { environment });
  const asked = retryStore(metered ? meteredStore(adaptive) : adaptive, { environment });
  return limitStore(asked, { environment, limits });
}

/** Secrets come from the environment unless some were given; never half of them from here and half from there. */
export function withVariables(location: StorageLocation): StorageLocation {
  const { secrets } = storageType(location.type);
  const { config } = location;
  const names = Object.keys(secrets);
  if (names.some((name) => config[name] !== undefined)) {
    return location;
  }
  const found = names
    .map((name) => [name, process.env[secrets[name] ?? ""]])
    .filter(([, value]) => value !== undefined);
  return { ...location, config: { ...config, ...Object.fromEntries(found) } };
}

/** The configuration in two: what anybody may see, and what nobody may. */
export function splitSecrets({ type, config }: StorageLocation): {
  readonly visible: StorageConfig;
  readonly secret: StorageConfig;
} {
  const { secrets } = storageType(type);
  const members = Object.entries(config).filter(([, value]) => value !== undefined);
  return {
    visible: Object.fromEntries(members.filter(([name]) => !Object.hasOwn(secrets, name))),
    secret: Object.fromEntries(members.filter(([name]) => Object.hasOwn(secrets, name))),
  };
}
