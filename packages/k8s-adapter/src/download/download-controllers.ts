import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { errorMessage, isVarveError } from "@varve/core";
import type { CallOptions } from "@varve/core/blob";
import { isKubeError } from "../kube/kube-api.ts";
import { BACKUP_FILES, RESTORE_FILES } from "../location/backup-files.ts";
import type { Location } from "../location/location.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { formatTime, parseTime } from "../velero/duration.ts";
import {
  type Backup,
  type DownloadRequest,
  type Restore,
  type ServerStatusRequest,
  VELERO,
} from "../velero/resources.ts";

/** Answers the small requests of command-line clients (spec section 1.4): where to read a file, and who serves. */

const URL_SECONDS = 600;
const STATUS_KEPT_MS = 60_000;

function downloadController(): Controller {
  return {
    name: "download-request",
    type: VELERO.downloadRequests,
    workers: 2,
    async reconcile(context, object, options) {
      const request = object as DownloadRequest; // of this type, by the API
      const { metadata, status } = request;
      const madeMs = parseTime(metadata.creationTimestamp) ?? 0;
      // One that cannot be served has no place to say so, and goes after the same time.
      const endMs = parseTime(status?.expiration) ?? madeMs + URL_SECONDS * 1000;
      const leftMs = endMs - context.environment.nowMs();
      if (leftMs <= 0) {
        const { name, uid } = metadata;
        const where = { namespace: context.namespace, name };
        await context.kube.delete(VELERO.downloadRequests, where, { uid, ...options });
        return undefined;
      }
      if (status?.phase !== "Processed") {
        await answer(context, request, options);
      }
      return { againMs: leftMs };
    },
  };
}

async function answer(
  context: Context,
  { metadata: { name }, spec: { target } }: DownloadRequest,
  options: CallOptions,
): Promise<void> {
  const { kube, namespace, environment } = context;
  const isOfRestore = target.kind in RESTORE_FILES;
  const files: Readonly<Record<string, (name: string) => string>> = isOfRestore
    ? RESTORE_FILES
    : BACKUP_FILES;
  const file = files[target.kind]?.(target.name);
  const locationName = await locationOf(context, { name: target.name, isOfRestore, ...options });
  if (file === undefined || locationName === undefined) {
    const message = `download request ${name}: there is no ${target.kind} of ${target.name}`;
    environment.log({ level: "warning", message });
    await kube.mergePatch(
      VELERO.downloadRequests,
      { namespace, name },
      { status: { phase: "Processed" } },
      options,
    );
    return;
  }
  await using location = await context.locations.open(locationName, options);
  const folder = `${location.prefix}${isOfRestore ? "restores" : "backups"}/${target.name}/`;
  let downloadURL: string;
  try {
    downloadURL = await urlOf(location, folder + file, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    const message = `download request ${name}: ${errorMessage(error)}`;
    environment.log({ level: "warning", message });
    return;
  }
  const expiration = formatTime(environment.nowMs() + URL_SECONDS * 1000);
  const patch = { status: { phase: "Processed", downloadURL, expiration } };
  await kube.mergePatch(VELERO.downloadRequests, { namespace, name }, patch, options);
}

async function urlOf(
  { bucket, resource }: Location,
  file: string,
  options: CallOptions,
): Promise<string> {
  try {
    return await bucket.readUrl(file, { seconds: URL_SECONDS, ...options });
  } catch (error) {
    const { fspath } = resource.spec.config ?? {};
    if (!isVarveError(error, "unsupported") || fspath === undefined) {
      throw error;
    }
    // A folder has no links that end: who sees it reads the file itself.
    return pathToFileURL(join(fspath, file)).href;
  }
}

/** `undefined`: there is no such backup or restore. A restore lies where its backup does. */
async function locationOf(
  { kube, namespace, settings }: Context,
  { name, isOfRestore, signal }: CallOptions & { name: string; isOfRestore: boolean },
): Promise<string | undefined> {
  try {
    let backupName: string | undefined = name;
    if (isOfRestore) {
      const restore = (await kube.get(VELERO.restores, { namespace, name }, { signal })) as Restore; // of this type, by the API
      ({ backupName } = restore.spec);
    }
    if (backupName === undefined) {
      return undefined;
    }
    const where = { namespace, name: backupName };
    const backup = (await kube.get(VELERO.backups, where, { signal })) as Backup; // likewise
    return backup.spec.storageLocation ?? settings.defaultStorageLocation;
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return undefined;
    }
    throw error;
  }
}

export interface ServerFacts {
  readonly version: string;
  /** Actions and stores that the server has, as Velero lists its plugins. */
  readonly plugins: readonly { readonly name: string; readonly kind: string }[];
}

const STORES = ["aws", "azure", "gcp", "fs"].map((name) => ({
  name: `velero.io/${name}`,
  kind: "ObjectStore",
}));

function statusController({ version, plugins }: ServerFacts): Controller {
  return {
    name: "server-status-request",
    type: VELERO.serverStatusRequests,
    async reconcile(context, object, options) {
      const { metadata, status } = object as ServerStatusRequest; // of this type, by the API
      const { kube, namespace, environment } = context;
      const where = { namespace, name: metadata.name };
      if (status?.phase !== "Processed") {
        const answered: NonNullable<ServerStatusRequest["status"]> = {
          phase: "Processed",
          processedTimestamp: formatTime(environment.nowMs()),
          serverVersion: version,
          plugins: [...STORES, ...plugins],
        };
        await kube.mergePatch(VELERO.serverStatusRequests, where, { status: answered }, options);
        return { againMs: STATUS_KEPT_MS };
      }
      const endMs = (parseTime(status.processedTimestamp) ?? 0) + STATUS_KEPT_MS;
      const leftMs = endMs - environment.nowMs();
      if (leftMs > 0) {
        return { againMs: leftMs };
      }
      const { uid } = metadata;
      await kube.delete(VELERO.serverStatusRequests, where, { uid, ...options });
      return undefined;
    },
  };
}

/** What answers DownloadRequests and ServerStatusRequests. */
export function downloadControllers(facts: ServerFacts): Controller[] {
  return [downloadController(), statusController(facts)];
}
