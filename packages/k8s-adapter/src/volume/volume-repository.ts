import {
  type CallOptions,
  createRepository,
  errorMessage,
  isVarveError,
  openCacheFolder,
  openRepository,
  parseBlobId,
  type Repository,
  VarveError,
} from "@varve/core";
import type { BlobStore } from "@varve/core/blob";
import type { Location } from "../location/location.ts";
import type { Context } from "../server/context.ts";
import { repositoryPassword } from "./repository-password.ts";

/**
 * The Kopia repository of one namespace's volumes, as Velero's uploader makes it and expects it (spec section 4.4):
 * Kopia's default algorithms, the client `default@default` who also owns maintenance, and a marker that says that it is
 * whole.
 */

export const VOLUME_CLIENT = { username: "default", hostname: "default" } as const;

const FORMAT = parseBlobId("kopia.repository");
const MARKER = parseBlobId("udmrepo.Repository");
/** Velero's own: the two cut alike, and find each other's contents. */
const SPLITTER = "DYNAMIC-4M-BUZHASH";

export interface VolumeRepositoryOptions extends CallOptions {
  readonly location: Location;
  readonly volumeNamespace: string;
}

/** Makes the repository where there is none, and completes one that was cut off. Throws `read-only`, `corrupt` and what stores throw. */
export async function ensureVolumeRepository(
  context: Context,
  { location, volumeNamespace, signal }: VolumeRepositoryOptions,
): Promise<void> {
  const store = location.repository(volumeNamespace);
  const [format, marker] = await Promise.all([
    uniqueIdIn(store, FORMAT, { signal }),
    uniqueIdIn(store, MARKER, { signal }),
  ]);
  if (format !== undefined && (marker === format || location.readOnly)) {
    return;
  }
  if (marker !== undefined && format !== undefined) {
    throw new VarveError("corrupt", `${store.label}: ${MARKER} belongs to another repository`);
  }
  const password = await repositoryPassword(context, { signal });
  if (format === undefined) {
    // Core refuses a folder with other blobs, which may be a repository that has lost its format; not what a creation
    // that was killed has left.
    await createRepository(store, {
      password,
      splitter: SPLITTER,
      formatCopy: false, // Velero's folders hold what Velero knows
      environment: context.environment,
      client: VOLUME_CLIENT,
      signal,
    });
  }
  const uniqueId = format ?? (await uniqueIdIn(store, FORMAT, { signal }));
  const text = JSON.stringify({ uniqueID: uniqueId });
  await store.put(MARKER, [new TextEncoder().encode(text)], { signal });
}

/** Opens it; dispose it. Throws what `openRepository` throws. */
export async function openVolumeRepository(
  context: Context,
  {
    location,
    volumeNamespace,
    workers = 0,
    readOnly = location.readOnly,
    work,
    signal,
  }: VolumeRepositoryOptions & {
    readonly workers?: number | undefined;
    readonly work?: "maintenance" | undefined;
    readonly readOnly?: boolean | undefined;
  },
): Promise<Repository> {
  const { environment, settings } = context;
  const { cacheFolder, cacheMaxBytes: maxBytes, maxMemoryBytes } = settings;
  const password = await repositoryPassword(context, { signal });
  return await openRepository(location.repository(volumeNamespace), {
    password,
    client: VOLUME_CLIENT,
    readOnly,
    workers,
    work,
    environment,
    maxMemoryBytes,
    cache:
      cacheFolder === undefined
        ? undefined
        : openCacheFolder(cacheFolder, { maxBytes, environment }),
    signal,
  });
}

async function uniqueIdIn(
  store: BlobStore,
  id: typeof FORMAT,
  { signal }: CallOptions,
): Promise<string | undefined> {
  let text: string;
  try {
    text = new TextDecoder().decode(await store.get(id, { signal }));
  } catch (error) {
    if (isVarveError(error, "blob-not-found")) {
      return undefined;
    }
    throw error;
  }
  try {
    const { uniqueID } = JSON.parse(text) as { uniqueID?: unknown };
    if (typeof uniqueID === "string") {
      return uniqueID;
    }
  } catch (error) {
    throw new VarveError("corrupt", `${id}: ${errorMessage(error)}`, { cause: error });
  }
  throw new VarveError("corrupt", `${id}: no unique id`);
}
