import { type CallOptions, errorMessage } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import { isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { formatDuration, formatTime } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type BackupRepository, VELERO } from "../velero/resources.ts";
import { maintainIfDue } from "./maintenance.ts";
import { ensureVolumeRepository, openVolumeRepository } from "./volume-repository.ts";

/**
 * BackupRepository: one Kopia repository for the volumes of one namespace in one location. Made when it is first needed,
 * maintained from time to time (spec section 4.4).
 */

const POLL_MS = 500;
const RETRY_NOT_READY_MS = 300_000;
const CHECK_MS = 300_000;

export interface RepositoryKey {
  readonly volumeNamespace: string;
  readonly location: string;
}

/** Finds or makes the resource, and waits until it is ready. Throws when it is not in time, with what its status says. */
export async function readyBackupRepository(
  context: Context,
  { volumeNamespace, location }: RepositoryKey,
  { signal }: CallOptions = {},
): Promise<BackupRepository> {
  const { kube, namespace, environment, settings } = context;
  const name = `${volumeNamespace}-${location}-kopia`;
  const labels = {
    [LABEL.volumeNamespace]: labelValue(volumeNamespace),
    [LABEL.storageLocation]: labelValue(location),
    [LABEL.repositoryType]: "kopia",
  };
  const deadlineMs = environment.nowMs() + settings.resourceTimeoutMs;
  for (;;) {
    const found = await findOne(context, labels, { signal });
    if (found?.status?.phase === "Ready") {
      return found;
    }
    if (found === undefined) {
      const repository: BackupRepository = {
        apiVersion: "velero.io/v1",
        kind: "BackupRepository",
        metadata: { namespace, name, labels },
        spec: {
          volumeNamespace,
          backupStorageLocation: location,
          repositoryType: "kopia",
          maintenanceFrequency: formatDuration(settings.defaultRepoMaintenanceMs),
        },
      };
      await kube
        .create(VELERO.backupRepositories, repository, { signal })
        .catch((error: unknown) => {
          if (!isKubeError(error, "already-exists")) {
            throw error;
          }
        });
    }
    if (environment.nowMs() >= deadlineMs) {
      const why = found?.status?.message ?? "no server has looked at it";
      throw new Error(`backup repository ${name} is not ready: ${why}`);
    }
    await environment.sleep(POLL_MS, { signal });
  }
}

async function findOne(
  { kube, namespace }: Context,
  labels: Readonly<Record<string, string>>,
  { signal }: CallOptions,
): Promise<BackupRepository | undefined> {
  const labelSelector = Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  const options = { namespace, labelSelector, signal };
  const { items } = await kube.listAll(VELERO.backupRepositories, options);
  if (items.length > 1) {
    const names = items.map(({ metadata }) => metadata.name).join(", ");
    throw new Error(
      `more than one backup repository for the same namespace and location: ${names}`,
    );
  }
  return items[0] as BackupRepository | undefined; // by its type
}

/** Connects what is new, tries again what is not ready, and maintains what is. */
export function backupRepositoryController(): Controller {
  return {
    name: "backup-repository",
    type: VELERO.backupRepositories,
    workers: 2,
    resyncMs: CHECK_MS,
    async reconcile(context, object, { signal }) {
      const repository = object as BackupRepository; // by its type
      if (repository.spec.repositoryType === "restic") {
        await setStatus(context, repository, {
          phase: "NotReady",
          message: "restic repositories are not written, and cannot be read by this server",
        });
        return undefined;
      }
      if (repository.status?.phase !== "Ready") {
        return await connect(context, repository, { signal });
      }
      return await maintainIfDue(context, repository, { signal });
    },
  };
}

async function connect(
  context: Context,
  repository: BackupRepository,
  { signal }: CallOptions,
): Promise<{ againMs: number } | undefined> {
  const { backupStorageLocation, volumeNamespace } = repository.spec;
  try {
    await using location = await context.locations.open(backupStorageLocation, { signal });
    await ensureVolumeRepository(context, { location, volumeNamespace, signal });
    await using opened = await openVolumeRepository(context, {
      location,
      volumeNamespace,
      readOnly: true,
      signal,
    });
    await setStatus(context, repository, {
      phase: "Ready",
      message: null,
      lastMaintenanceTime: formatTime(opened.environment.nowMs()),
    });
    return undefined;
  } catch (error) {
    signal?.throwIfAborted();
    await setStatus(context, repository, { phase: "NotReady", message: errorMessage(error) });
    return { againMs: RETRY_NOT_READY_MS };
  }
}

async function setStatus(
  { kube, namespace }: Context,
  { metadata }: KubeObject,
  status: object,
): Promise<void> {
  await kube.mergePatch(VELERO.backupRepositories, { namespace, name: metadata.name }, { status });
}
