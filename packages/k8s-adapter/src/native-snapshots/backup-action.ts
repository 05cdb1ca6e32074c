import { type CallOptions, errorMessage } from "@varve/core";
import type { BackupAction, BackupRun } from "../backup/action.ts";
import { pvInfo, type VolumeInfo } from "../backup/volume-info.ts";
import { CLAIMS } from "../kube/core-types.ts";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import { formatTime } from "../velero/duration.ts";
import { LABEL } from "../velero/labels.ts";
import type { NativeSnapshot } from "./native-snapshot.ts";
import { openSnapshotter } from "./snapshot-locations.ts";
import type { VolumeSnapshotter, VolumeSnapshotters } from "./volume-snapshotter.ts";

/** Takes snapshots of the volumes that a backup stores, where nothing else copies them: spec section 2.6. */
export function nativeSnapshotBackupAction(snapshotters: VolumeSnapshotters): BackupAction {
  const states = new WeakMap<BackupRun, Taken[]>();
  return {
    name: "velero.io/native-snapshot",
    appliesTo: (type) => groupResource(type) === "persistentvolumes",
    async execute(run, { object }, options) {
      const claim = await snapshotClaim(run, object, options);
      const found = claim && (await findSnapshotter(run, snapshotters, object, options));
      if (claim === undefined || found === undefined) {
        return { object };
      }
      if (run.backup.spec.snapshotMoveData === true) {
        const fields = { resource: "persistentvolumes", name: object.metadata.name };
        run.log.warn("a snapshot of the provider stays where it is: it cannot be moved", fields);
      }
      const taken = states.get(run) ?? [];
      states.set(run, taken);
      const { error, ...snapshot } = await take(run, { volume: object, claim, ...found }, options);
      taken.push(snapshot);
      if (error !== undefined) {
        throw error; // the volume is not stored, as it could not be restored
      }
      return { object };
    },
    report(run) {
      const taken = states.get(run) ?? [];
      return Promise.resolve({
        infos: taken.map(({ info }) => info),
        nativeSnapshots: taken.map(({ snapshot }) => snapshot),
      });
    },
  };
}

interface Taken {
  readonly snapshot: NativeSnapshot;
  readonly info: VolumeInfo;
}

interface VolumeSpec {
  readonly csi?: unknown;
  readonly claimRef?: { readonly namespace?: string; readonly name?: string };
  readonly nodeAffinity?: {
    readonly required?: {
      readonly nodeSelectorTerms?: readonly {
        readonly matchExpressions?: readonly {
          readonly key?: string;
          readonly values?: readonly string[];
        }[];
      }[];
    };
  };
}

function specOf(volume: KubeObject): VolumeSpec {
  return volume["spec"] ?? {};
}

/** Of a volume that is to have one; a CSI driver's has another kind of snapshot. */
async function snapshotClaim(
  { context, backup, volumes, finalizing }: BackupRun,
  volume: KubeObject,
  options: CallOptions,
): Promise<KubeObject | undefined> {
  const { claimRef: { namespace, name } = {}, csi } = specOf(volume);
  const isOfCsi = csi !== undefined && context.settings.csi;
  const isWanted = finalizing !== true && volumes !== undefined && !isOfCsi;
  if (!isWanted || name === undefined || (backup.spec.volumeSnapshotLocations ?? []).length === 0) {
    return undefined;
  }
  try {
    const claim = await context.kube.get(CLAIMS, { namespace, name }, options);
    const { treatment } = await volumes.forClaim(claim, volume, options);
    return treatment === "snapshot" ? claim : undefined;
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return undefined;
    }
    throw error;
  }
}

interface Found {
  readonly location: string;
  readonly snapshotter: VolumeSnapshotter;
  readonly volumeId: string;
}

/** The first location whose provider knows the volume. */
async function findSnapshotter(
  { context, backup, log }: BackupRun,
  snapshotters: VolumeSnapshotters,
  volume: KubeObject,
  options: CallOptions,
): Promise<Found | undefined> {
  const { name } = volume.metadata;
  for (const location of backup.spec.volumeSnapshotLocations ?? []) {
    const snapshotter = await openSnapshotter(context, snapshotters, location, options);
    const volumeId = snapshotter.volumeIdOf(volume) ?? "";
    if (volumeId !== "") {
      return { location, snapshotter, volumeId };
    }
  }
  log.info("no provider of a VolumeSnapshotLocation knows the volume", {
    resource: "persistentvolumes",
    name,
  });
  return undefined;
}

async function take(
  { context, backup }: BackupRun,
  {
    volume,
    claim,
    location,
    snapshotter,
    volumeId,
  }: Found & { readonly volume: KubeObject; readonly claim: KubeObject },
  { signal }: CallOptions,
): Promise<Taken & { readonly error?: unknown }> {
  const zone = zoneOf(volume);
  const { name, uid = "", labels } = backup.metadata;
  const tags = {
    ...labels,
    "velero.io/backup": name,
    [LABEL.backupUid]: uid,
    "velero.io/pv": volume.metadata.name,
  };
  const startTimestamp = formatTime(context.environment.nowMs());
  let type = "";
  let iops: number | undefined;
  let status: NativeSnapshot["status"];
  let error: unknown;
  try {
    ({ type, iops } = await snapshotter.volumeInfo(volumeId, { zone, signal }));
    const providerSnapshotID = await snapshotter.createSnapshot(volumeId, { zone, tags, signal });
    status = { providerSnapshotID, phase: "Completed" };
  } catch (caught) {
    signal?.throwIfAborted();
    error = new Error(`snapshot of volume ${volumeId}: ${errorMessage(caught)}`, { cause: caught });
    status = { phase: "Failed" };
  }
  const spec = {
    backupName: name,
    backupUID: uid,
    location,
    persistentVolumeName: volume.metadata.name,
    providerVolumeID: volumeId,
    volumeType: type,
    ...(zone === undefined ? {} : { volumeAZ: zone }),
    ...(iops === undefined ? {} : { volumeIOPS: iops }),
  };
  const info: VolumeInfo = {
    pvcName: claim.metadata.name,
    pvcNamespace: claim.metadata.namespace,
    pvName: volume.metadata.name,
    backupMethod: "NativeSnapshot",
    snapshotDataMoved: false,
    preserveLocalSnapshot: false,
    skipped: false,
    startTimestamp,
    completionTimestamp: formatTime(context.environment.nowMs()),
    result: error === undefined ? "succeeded" : "failed",
    nativeSnapshotInfo: {
      snapshotHandle: status.providerSnapshotID ?? "",
      volumeType: type,
      volumeAZ: zone ?? "",
      iops: iops === undefined ? "" : String(iops),
      Phase: status.phase,
    },
    pvInfo: pvInfo(volume),
  };
  return { snapshot: { spec, status }, info, error };
}

const ZONES = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

/** By its labels, else by the nodes that it can be on. */
function zoneOf(volume: KubeObject): string | undefined {
  const labelled = ZONES.map((key) => volume.metadata.labels?.[key]).find((zone) => zone);
  const terms = specOf(volume).nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return (
    labelled ??
    terms
      .flatMap(({ matchExpressions = [] }) => matchExpressions)
      .find(({ key = "" }) => ZONES.includes(key))?.values?.[0]
  );
}
