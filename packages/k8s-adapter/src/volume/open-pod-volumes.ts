import { PODS } from "../kube/core-types.ts";
import { type CallOptions, errorMessage } from "@varve/core";
import type { BackupRun } from "../backup/action.ts";
import type { KubeObject } from "../kube/kube-api.ts";
import type { RestoreRun } from "../restore/action.ts";
import type { Context } from "../server/context.ts";
import { parseDuration } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type PodVolumeBackup, type PodVolumeRestore, VELERO } from "../velero/resources.ts";
import { readyBackupRepository } from "./backup-repositories.ts";
import { type EligibleVolume, eligibleVolumes } from "./eligible-volumes.ts";
import { nodeOf, podFields, volumesOf } from "./pod-spec.ts";
import type { PodVolumes } from "./pod-volumes.ts";
import { isRestic } from "./restore-wait.ts";
import { waitForCopies } from "./wait-for-copies.ts";

/** File-system backup on the server's side: resources for the node-agents, and the wait for them (spec section 4). */
export function openPodVolumes({ pollMs = 1000 }: { readonly pollMs?: number } = {}): PodVolumes {
  return new ServerPodVolumes(pollMs);
}

const TIMEOUT_ANNOTATION = "velero.io/pod-volume-timeout";

class ServerPodVolumes implements PodVolumes {
  readonly #pollMs: number;

  constructor(pollMs: number) {
    this.#pollMs = pollMs;
  }

  async backUp(
    run: BackupRun,
    pod: KubeObject,
    names: readonly string[],
    { signal }: CallOptions,
  ): Promise<{
    readonly started: readonly PodVolumeBackup[];
    readonly skipped: readonly { readonly volume: string; readonly reason: string }[];
  }> {
    const { context, backup, log } = run;
    const fields = podFields(pod);
    const { eligible, ineligible } = await eligibleVolumes(context.kube, pod, { names, signal });
    for (const { volume, reason, isError } of ineligible) {
      const message = `volume ${volume} is not backed up: ${reason}`;
      log[isError ? "error" : "warn"](message, fields);
    }
    if (eligible.length === 0) {
      return { started: [], skipped: ineligible };
    }
    try {
      await requireNodeAgent(context, nodeOf(pod), { signal });
      await readyBackupRepository(
        context,
        {
          volumeNamespace: pod.metadata.namespace ?? "",
          location: backup.spec.storageLocation ?? context.settings.defaultStorageLocation,
        },
        { signal },
      );
    } catch (error) {
      signal?.throwIfAborted();
      log.error("volumes are not backed up", { ...fields, error: errorMessage(error) });
      return { started: [], skipped: ineligible };
    }
    const earlier = await earlierOf<PodVolumeBackup>(context, "podVolumeBackups", {
      labels: { [LABEL.backupUid]: backup.metadata.uid ?? "" },
      pod,
      signal,
    });
    const started: PodVolumeBackup[] = [];
    for (const target of eligible) {
      const known = earlier.get(target.volume.name);
      started.push(
        known ??
          ((await context.kube.create(
            VELERO.podVolumeBackups,
            newPodVolumeBackup(run, pod, target),
            { signal },
          )) as PodVolumeBackup), // by its type
      );
    }
    return { started, skipped: ineligible };
  }

  async wait(
    { context, backup, log }: BackupRun,
    started: readonly PodVolumeBackup[],
    { signal }: CallOptions,
  ): Promise<readonly PodVolumeBackup[]> {
    return await waitForCopies(context, started, {
      type: "podVolumeBackups",
      timeoutMs: timeoutOf(backup, context),
      pollMs: this.#pollMs,
      log,
      signal,
    });
  }

  async restore(
    run: RestoreRun,
    pod: KubeObject,
    {
      backups,
      sourceNamespace,
      signal,
    }: CallOptions & {
      readonly backups: readonly PodVolumeBackup[];
      readonly sourceNamespace: string;
    },
  ): Promise<void> {
    const { context, restore, backup, log } = run;
    const volumes = new Map(volumesOf(pod).map((volume) => [volume.name, volume]));
    const stored = backups.filter(
      ({ spec, status }) => volumes.has(spec.volume) && (status?.snapshotID ?? "") !== "",
    );
    for (const { spec } of stored.filter((copy) => isRestic(copy.spec))) {
      const message = `volume ${spec.volume} stays empty: its copy is in a restic repository, which cannot be read`;
      log.error(message, podFields(pod));
    }
    const copies = stored.filter(({ spec }) => !isRestic(spec));
    if (copies.length === 0) {
      return;
    }
    try {
      const earlier = await earlierOf<PodVolumeRestore>(context, "podVolumeRestores", {
        labels: { [LABEL.restoreUid]: restore.metadata.uid ?? "" },
        pod,
        signal,
      });
      const started = [...earlier.values()];
      const missing = copies.filter(({ spec }) => !earlier.has(spec.volume));
      if (missing.length > 0) {
        const location = backup.spec.storageLocation ?? context.settings.defaultStorageLocation;
        const key = { volumeNamespace: sourceNamespace, location };
        await readyBackupRepository(context, key, { signal });
        const scheduled = await this.#scheduled(context, pod, { signal });
        await requireNodeAgent(context, nodeOf(scheduled), { signal });
        for (const copy of missing) {
          const claim = volumes.get(copy.spec.volume)?.claim;
          const resource = newPodVolumeRestore(run, scheduled, { copy, sourceNamespace, claim });
          const made = await context.kube.create(VELERO.podVolumeRestores, resource, { signal });
          started.push(made as PodVolumeRestore); // by its type
        }
      }
      await waitForCopies(context, started, {
        type: "podVolumeRestores",
        timeoutMs: timeoutOf(restore, context),
        pollMs: this.#pollMs,
        log,
        signal,
      });
    } catch (error) {
      signal?.throwIfAborted();
      const fields = podFields(pod);
      log.error("volumes are not restored", { ...fields, error: errorMessage(error) });
    }
  }

  async #scheduled(
    { kube, environment, settings }: Context,
    { metadata }: KubeObject,
    { signal }: CallOptions,
  ): Promise<KubeObject> {
    const deadlineMs = environment.nowMs() + settings.resourceTimeoutMs;
    for (;;) {
      const pod = await kube.get(PODS, metadata, { signal });
      if (nodeOf(pod) !== undefined) {
        return pod;
      }
      if (environment.nowMs() >= deadlineMs) {
        throw new Error("the pod was not scheduled in time");
      }
      await environment.sleep(this.#pollMs, { signal });
    }
  }
}

function timeoutOf({ metadata }: KubeObject, { settings }: Context): number {
  return (
    parseDuration(metadata.annotations?.[TIMEOUT_ANNOTATION] ?? "") ?? settings.fsBackupTimeoutMs
  );
}

/** Those for volumes of this pod that a run which was cut off has begun: they are not begun twice. */
async function earlierOf<T extends PodVolumeBackup | PodVolumeRestore>(
  { kube, namespace }: Context,
  type: "podVolumeBackups" | "podVolumeRestores",
  {
    labels,
    pod,
    signal,
  }: CallOptions & { readonly labels: Readonly<Record<string, string>>; readonly pod: KubeObject },
): Promise<Map<string, T>> {
  const labelSelector = Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join();
  const { items } = await kube.listAll(VELERO[type], { namespace, labelSelector, signal });
  const all = items as readonly T[]; // by their type
  return new Map(
    all
      .filter(({ spec, status = {} }) => {
        const isUseless = status.phase === "Failed" || status.phase?.startsWith("Cancel") === true;
        return spec.pod.uid === pod.metadata.uid && !isUseless;
      })
      .map((found) => [found.spec.volume, found]),
  );
}

/** Throws unless a node-agent runs where the pod runs. */
async function requireNodeAgent(
  { kube, namespace }: Context,
  node: string | undefined,
  { signal }: CallOptions,
): Promise<void> {
  const { items } = await kube.listAll(PODS, {
    namespace,
    labelSelector: "role=node-agent",
    fieldSelector: `spec.nodeName=${node ?? ""},status.phase=Running`,
    signal,
  });
  if (items.length === 0) {
    throw new Error(`no node-agent runs on node ${node ?? "(none)"}`);
  }
}

function newPodVolumeBackup(
  { context, backup }: BackupRun,
  pod: KubeObject,
  { volume, claim }: EligibleVolume,
): PodVolumeBackup {
  const { name: backupName, uid: backupUid = "" } = backup.metadata;
  const { name, namespace = "", uid = "" } = pod.metadata;
  const { parallelFilesUpload } = backup.spec.uploaderConfig ?? {};
  const pvcUid = claim?.metadata.uid;
  return {
    apiVersion: "velero.io/v1",
    kind: "PodVolumeBackup",
    metadata: {
      name: "", // the server makes one
      generateName: `${backupName}-`,
      namespace: context.namespace,
      labels: {
        [LABEL.backupName]: labelValue(backupName),
        [LABEL.backupUid]: backupUid,
        ...(pvcUid === undefined ? {} : { [LABEL.pvcUid]: pvcUid }),
      },
      ...(claim === undefined
        ? {}
        : { annotations: { "velero.io/pvc-name": claim.metadata.name } }),
      ownerReferences: [
        {
          apiVersion: "velero.io/v1",
          kind: "Backup",
          name: backupName,
          uid: backupUid,
          controller: true,
        },
      ],
    },
    spec: {
      node: nodeOf(pod) ?? "",
      pod: { kind: "Pod", namespace, name, uid },
      volume: volume.name,
      backupStorageLocation: backup.spec.storageLocation ?? context.settings.defaultStorageLocation,
      repoIdentifier: "",
      uploaderType: "kopia",
      tags: {
        backup: backupName,
        "backup-uid": backupUid,
        ns: namespace,
        pod: name,
        "pod-uid": uid,
        volume: volume.name,
        ...(pvcUid === undefined ? {} : { "pvc-uid": pvcUid }),
      },
      ...(parallelFilesUpload === undefined
        ? {}
        : { uploaderSettings: { ParallelFilesUpload: String(parallelFilesUpload) } }),
    },
  };
}

function newPodVolumeRestore(
  { context, restore, backup }: RestoreRun,
  pod: KubeObject,
  {
    copy,
    sourceNamespace,
    claim,
  }: {
    readonly copy: PodVolumeBackup;
    readonly sourceNamespace: string;
    readonly claim: string | undefined;
  },
): PodVolumeRestore {
  const { name: restoreName, uid: restoreUid = "" } = restore.metadata;
  const { name, namespace = "", uid = "" } = pod.metadata;
  const { parallelFilesDownload, writeSparseFiles } = restore.spec.uploaderConfig ?? {};
  const uploaderSettings = {
    ...(typeof writeSparseFiles === "boolean"
      ? { WriteSparseFiles: String(writeSparseFiles) }
      : {}),
    ...(parallelFilesDownload === undefined
      ? {}
      : { ParallelFilesDownload: String(parallelFilesDownload) }),
  };
  return {
    apiVersion: "velero.io/v1",
    kind: "PodVolumeRestore",
    metadata: {
      name: "", // the server makes one
      generateName: `${restoreName}-`,
      namespace: context.namespace,
      labels: {
        [LABEL.restoreName]: labelValue(restoreName),
        [LABEL.restoreUid]: restoreUid,
        [LABEL.podUid]: uid,
      },
      ...(claim === undefined ? {} : { annotations: { "velero.io/pvc-name": claim } }),
      ownerReferences: [
        {
          apiVersion: "velero.io/v1",
          kind: "Restore",
          name: restoreName,
          uid: restoreUid,
          controller: true,
        },
      ],
    },
    spec: {
      pod: { kind: "Pod", namespace, name, uid },
      volume: copy.spec.volume,
      backupStorageLocation: backup.spec.storageLocation ?? context.settings.defaultStorageLocation,
      repoIdentifier: "",
      snapshotID: copy.status?.snapshotID ?? "",
      ...(copy.status?.progress?.totalBytes === undefined
        ? {}
        : { snapshotSize: copy.status.progress.totalBytes }),
      sourceNamespace,
      uploaderType: "kopia",
      ...(Object.keys(uploaderSettings).length === 0 ? {} : { uploaderSettings }),
    },
  };
}
