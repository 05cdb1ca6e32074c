import { createHash } from "node:crypto";
import type { CallOptions } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import type { BackupRun } from "../backup/action.ts";
import type { Context } from "../server/context.ts";
import { durationMs } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { snapshotClassFor } from "./snapshot-class.ts";
import {
  API_VERSION,
  type Claim,
  CONTENTS,
  ensure,
  find,
  SNAPSHOTS,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from "./snapshot-objects.ts";

/** The life of a VolumeSnapshot that a backup makes: spec sections 5.1 steps 1, 2 and 4. */

/** Annotations by which a snapshot is found again without its content. */
export const SNAPSHOT = {
  handle: "velero.io/csi-volumesnapshot-handle",
  restoreSize: "velero.io/csi-volumesnapshot-restore-size",
  driver: "velero.io/csi-driver-name",
  deletionPolicy: "velero.io/csi-vsc-deletion-policy",
  name: "velero.io/volume-snapshot-name",
} as const;

export interface TakenSnapshot {
  readonly snapshot: VolumeSnapshot;
  readonly content: VolumeSnapshotContent;
  readonly handle: string;
}

/**
 * Makes one and waits until the storage has taken it; not until it is ready. A run that begins anew finds the one it had
 * made. Throws when there is no class, and when it fails or is not there in time: it is deleted then.
 */
export async function takeSnapshot(
  { context, backup }: BackupRun,
  claim: Claim,
  { pollMs, signal }: CallOptions & { readonly pollMs: number },
): Promise<TakenSnapshot> {
  const { kube, settings } = context;
  const snapshotClass = await snapshotClassFor(context, claim, { backup, signal });
  const { namespace, name, labels = {}, uid } = claim.metadata;
  const suffix = sha256(`${backup.metadata.uid ?? ""}/${uid ?? ""}`).slice(0, 10);
  const object: VolumeSnapshot = {
    apiVersion: API_VERSION,
    kind: "VolumeSnapshot",
    metadata: {
      name: `velero-${name.slice(0, 230)}-${suffix}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { ...labels, [LABEL.backupName]: labelValue(backup.metadata.name) },
    },
    spec: {
      volumeSnapshotClassName: snapshotClass.metadata.name,
      source: { persistentVolumeClaimName: name },
    },
  };
  await ensure(kube, SNAPSHOTS, object, { signal });
  try {
    const timeoutMs = durationMs(backup.spec.csiSnapshotTimeout, settings.csiSnapshotTimeoutMs);
    return await untilTaken(context, object, { timeoutMs, pollMs, signal });
  } catch (error) {
    signal?.throwIfAborted();
    await removeSnapshot(context, object.metadata, { deletionPolicy: "Delete", signal });
    throw error;
  }
}

async function untilTaken(
  { kube, environment }: Context,
  { metadata: { namespace, name } }: KubeObject,
  {
    timeoutMs,
    pollMs,
    signal,
  }: CallOptions & { readonly timeoutMs: number; readonly pollMs: number },
): Promise<TakenSnapshot> {
  const deadlineMs = environment.nowMs() + timeoutMs;
  for (let waitMs = Math.min(pollMs, 200); ; waitMs = Math.min(pollMs, waitMs * 2)) {
    const snapshot = await find<VolumeSnapshot>(kube, SNAPSHOTS, { namespace, name }, { signal });
    if (snapshot === undefined) {
      throw new Error(`VolumeSnapshot ${namespace ?? ""}/${name} is gone`);
    }
    const content = await contentOf(kube, snapshot, { signal });
    const handle = content?.status?.snapshotHandle ?? "";
    if (content !== undefined && handle !== "") {
      return { snapshot, content, handle };
    }
    if (environment.nowMs() >= deadlineMs) {
      // Drivers try again after an error: only time tells that it is final.
      const why = content?.status?.error?.message ?? snapshot.status?.error?.message;
      throw new Error(
        `VolumeSnapshot ${namespace ?? ""}/${name} was not taken in time${why === undefined ? "" : `: ${why}`}`,
      );
    }
    await environment.sleep(waitMs, { signal });
  }
}

export async function contentOf(
  kube: Context["kube"],
  { status }: VolumeSnapshot,
  options: CallOptions,
): Promise<VolumeSnapshotContent | undefined> {
  const name = status?.boundVolumeSnapshotContentName ?? "";
  return name === "" ? undefined : await find(kube, CONTENTS, { name }, options);
}

/** Takes a snapshot's objects out of the cluster: `Retain` leaves what the storage has. One that is gone is no error. */
export async function removeSnapshot(
  { kube }: Context,
  { namespace, name }: KubeObject["metadata"],
  { deletionPolicy, signal }: CallOptions & { readonly deletionPolicy: "Retain" | "Delete" },
): Promise<void> {
  const snapshot = await find<VolumeSnapshot>(kube, SNAPSHOTS, { namespace, name }, { signal });
  const content = snapshot && (await contentOf(kube, snapshot, { signal }));
  if (content !== undefined && content.spec?.deletionPolicy !== deletionPolicy) {
    const patch = { spec: { deletionPolicy } };
    await kube.mergePatch(CONTENTS, { name: content.metadata.name }, patch, { signal });
  }
  await kube.delete(SNAPSHOTS, { namespace, name }, { signal });
  if (content !== undefined && deletionPolicy === "Retain") {
    await kube.delete(CONTENTS, { name: content.metadata.name }, { signal });
  }
}

/** What a restore needs of a snapshot, written onto it. */
export function annotate(
  snapshot: VolumeSnapshot,
  content: VolumeSnapshotContent | undefined,
): void {
  const { handle, restoreSize, driver, deletionPolicy } = SNAPSHOT;
  const values = {
    [handle]: content?.status?.snapshotHandle,
    [driver]: content?.spec?.driver,
    [deletionPolicy]: content?.spec?.deletionPolicy,
    [restoreSize]: snapshot.status?.restoreSize,
  };
  snapshot.metadata.annotations = { ...snapshot.metadata.annotations };
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined && value !== "") {
      snapshot.metadata.annotations[key] = value;
    }
  }
}

/** Bytes that a volume made of it must have; 0 when the storage does not say. */
export function restoreSizeBytes({ status }: VolumeSnapshotContent): number {
  const size = Number(status?.restoreSize ?? 0); // a number, or a lossless one
  return Number.isSafeInteger(size) && size > 0 ? size : 0;
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
