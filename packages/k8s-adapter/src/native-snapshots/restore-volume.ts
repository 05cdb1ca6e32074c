import { createHash } from "node:crypto";
import type { CallOptions } from "@varve/core";
import { VOLUMES } from "../kube/core-types.ts";
import { ignoreMissing, type KubeObject } from "../kube/kube-api.ts";
import type { RestoreRun } from "../restore/action.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import type { NativeSnapshot } from "./native-snapshot.ts";
import { openSnapshotter } from "./snapshot-locations.ts";
import type { VolumeSnapshotters } from "./volume-snapshotter.ts";

/** Volumes from snapshots of their providers: spec section 9.4. */

/** Of one volume: which snapshot, and where its claim was in the backup. */
export interface VolumeFromSnapshot {
  readonly snapshot: NativeSnapshot & { readonly snapshotId: string };
  readonly claimNamespace: string | undefined;
}

/** The volume as it is to be created, maybe under another name; `volume` may be changed. */
export type RestoreVolume = (
  run: RestoreRun,
  volume: KubeObject,
  source: VolumeFromSnapshot,
  options: CallOptions,
) => Promise<KubeObject>;

export function volumeRestorer(
  snapshotters: VolumeSnapshotters,
  { pollMs }: { readonly pollMs: number },
): RestoreVolume {
  return async (run, volume, { snapshot, claimNamespace = "" }, { signal }) => {
    const { context, restore } = run;
    const { namespaceMapping = {} } = restore.spec;
    const isMapped = (namespaceMapping[claimNamespace] ?? claimNamespace) !== claimNamespace;
    let existing = await findVolume(run, volume.metadata.name, { signal });
    if (existing !== undefined && !isOurs(run, existing)) {
      if (isMapped) {
        rename(run, volume);
        existing = await findVolume(run, volume.metadata.name, { signal });
      } else {
        existing = await whenGone(run, existing, { pollMs, signal });
      }
    }
    if (existing !== undefined) {
      return volume; // this restore has made it before it was cut off, or it is met as anything that is there
    }
    const { location, volumeType, volumeAZ: zone, volumeIOPS: iops } = snapshot.spec;
    const snapshotter = await openSnapshotter(context, snapshotters, location, { signal });
    const volumeId = await snapshotter.createVolume(snapshot.snapshotId, {
      type: volumeType,
      iops,
      zone,
      signal,
    });
    return snapshotter.withVolumeId(volume, volumeId);
  };
}

/** As real Velero names it, and the same each time that the restore comes by. */
function rename({ restore }: RestoreRun, volume: KubeObject): void {
  const { metadata } = volume;
  const text = `${restore.metadata.uid ?? ""}/${metadata.name}`;
  const hex = createHash("sha256").update(text).digest("hex");
  const uuid = /^(.{8})(.{4})(.{4})(.{4})(.{12})/.exec(hex)?.slice(1).join("-") ?? hex;
  metadata.annotations = {
    ...metadata.annotations,
    "velero.io/original-pv-name": metadata.name,
  };
  metadata.name = `velero-clone-${uuid}`;
}

/** A volume that is let go of is waited for; what is there in the end. */
async function whenGone(
  run: RestoreRun,
  found: KubeObject,
  { pollMs, signal }: CallOptions & { readonly pollMs: number },
): Promise<KubeObject | undefined> {
  const { environment, settings } = run.context;
  const deadlineMs = environment.nowMs() + settings.terminatingResourceTimeoutMs;
  let existing: KubeObject | undefined = found;
  while (existing !== undefined && isLeaving(existing) && environment.nowMs() < deadlineMs) {
    await environment.sleep(pollMs, { signal });
    existing = await findVolume(run, found.metadata.name, { signal });
  }
  return existing;
}

function isLeaving({ metadata, status }: KubeObject): boolean {
  const { phase } = Object(status) as { phase?: unknown };
  return metadata.deletionTimestamp !== undefined || phase === "Released";
}

function isOurs({ restore }: RestoreRun, { metadata }: KubeObject): boolean {
  return metadata.labels?.[LABEL.restoreName] === labelValue(restore.metadata.name);
}

async function findVolume(
  { context }: RestoreRun,
  name: string,
  options: CallOptions,
): Promise<KubeObject | undefined> {
  return await context.kube.get(VOLUMES, { name }, options).catch(ignoreMissing);
}
