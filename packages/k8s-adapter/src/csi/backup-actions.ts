import { VOLUMES } from "../kube/core-types.ts";
import { type CallOptions, errorMessage } from "@varve/core";
import type {
  BackupAction,
  BackupRun,
  OperationProgress,
  RelatedItem,
  VolumeReport,
} from "../backup/action.ts";
import { MUST_INCLUDE } from "../backup/builtin-actions.ts";
import { pvInfo, type VolumeInfo } from "../backup/volume-info.ts";
import type { KubeObject, ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import { formatTime } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { parseQuantity } from "../velero/quantity.ts";
import {
  begunDataUpload,
  cancelDataUpload,
  dataUploadProgress,
  movedVolumeInfos,
  startDataUpload,
} from "./data-uploads.ts";
import type { SnapshotClass } from "./snapshot-class.ts";
import {
  type Claim,
  find,
  SNAPSHOTS,
  type Volume,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from "./snapshot-objects.ts";
import {
  annotate,
  contentOf,
  removeSnapshot,
  restoreSizeBytes,
  SNAPSHOT,
  takeSnapshot,
  type TakenSnapshot,
} from "./volume-snapshots.ts";

/** CSI snapshots of the claims of a backup, and the data mover that copies them: spec sections 5.1 and 5.3. */
export interface CsiBackupOptions {
  /** Between looks at a snapshot that is being taken, default 5 seconds. */
  readonly pollMs?: number | undefined;
}

export function csiBackupActions({
  pollMs = 5000,
}: CsiBackupOptions = {}): readonly BackupAction[] {
  return [claimAction(pollMs), snapshotAction, contentAction, classAction];
}

const CSI_GROUP = "snapshot.storage.k8s.io";
const ofType =
  (name: string) =>
  (type: ResourceType): boolean =>
    groupResource(type) === name;

/** What one run has done: told at its end. */
interface RunState {
  attempted: number;
  completed: number;
  readonly infos: VolumeInfo[];
}

function claimAction(pollMs: number): BackupAction {
  const states = new WeakMap<BackupRun, RunState>();
  const stateOf = (run: BackupRun): RunState => {
    const state = states.get(run) ?? { attempted: 0, completed: 0, infos: [] };
    states.set(run, state);
    return state;
  };
  return {
    name: "velero.io/csi-pvc-backupper",
    appliesTo: ofType("persistentvolumeclaims"),
    async execute(run, { object }, { signal }) {
      const claim: Claim = object;
      const volume = await snapshotVolume(run, claim, { signal });
      if (volume === undefined) {
        return { object };
      }
      const isMoved = run.backup.spec.snapshotMoveData === true;
      const begun = isMoved ? await begunDataUpload(run, claim, { signal }) : undefined;
      if (begun !== undefined) {
        return { object, operation: begun };
      }
      const state = stateOf(run);
      state.attempted += isMoved ? 0 : 1;
      let taken: TakenSnapshot;
      try {
        taken = await takeSnapshot(run, claim, { pollMs, signal });
      } catch (error) {
        signal?.throwIfAborted();
        state.infos.push(failedInfo(run, volume, { claim, message: errorMessage(error) }));
        throw error;
      }
      if (isMoved) {
        const operation = await startDataUpload(run, taken, { claim, signal });
        return { object, operation };
      }
      state.completed++;
      state.infos.push(snapshotInfo(run, volume, { claim, taken }));
      nameSnapshot(run, claim, taken);
      const { namespace, name } = taken.snapshot.metadata;
      return {
        object,
        related: [{ groupResource: `volumesnapshots.${CSI_GROUP}`, namespace, name }],
      };
    },
    progress: async (run, id, options) => await dataUploadProgress(run.context, id, options),
    cancel: async (run, id, options) => await cancelDataUpload(run.context, id, options),
    async report(run, options): Promise<VolumeReport> {
      if (run.finalizing === true) {
        return { infos: await movedVolumeInfos(run, options) };
      }
      const { attempted, completed, ...state } = stateOf(run);
      const infos = [...state.infos, ...(await movedVolumeInfos(run, options))];
      return { infos, csiSnapshotsAttempted: attempted, csiSnapshotsCompleted: completed };
    },
  };
}

/** The volume of a claim that is to have a snapshot. */
async function snapshotVolume(
  { context, volumes, finalizing, log }: BackupRun,
  claim: Claim,
  { signal }: CallOptions,
): Promise<Volume | undefined> {
  const { volumeName: name = "" } = claim.spec ?? {};
  if (finalizing === true || volumes === undefined || claim.status?.phase !== "Bound") {
    return undefined;
  }
  const volume = await find<Volume>(context.kube, VOLUMES, { name }, { signal });
  const choice = await volumes.forClaim(claim, volume, { signal });
  if (volume === undefined || volume.spec?.csi === undefined || choice.treatment !== "snapshot") {
    return undefined;
  }
  const fields = {
    resource: "persistentvolumeclaims",
    namespace: claim.metadata.namespace,
    name: claim.metadata.name,
  };
  if (!context.settings.csi) {
    log.info("no snapshot is made of the claim's volume: CSI is switched off", fields);
    return undefined;
  }
  if (context.catalog.resolve(`volumesnapshots.${CSI_GROUP}`) === undefined) {
    log.warn("no snapshot is made of the claim's volume: the cluster has none", fields);
    return undefined;
  }
  return volume;
}

/** Where a restore finds the snapshot, and how large a volume it needs. */
function nameSnapshot(
  { backup }: BackupRun,
  { metadata, spec = {} }: Claim,
  { snapshot, content }: TakenSnapshot,
): void {
  const { name } = snapshot.metadata;
  metadata.labels = {
    ...metadata.labels,
    [SNAPSHOT.name]: labelValue(name),
    [LABEL.backupName]: labelValue(backup.metadata.name),
  };
  metadata.annotations = {
    ...metadata.annotations,
    [SNAPSHOT.name]: name,
    [MUST_INCLUDE]: "true",
  };
  const restoreSize = restoreSizeBytes(content);
  const requested = parseQuantity(spec.resources?.requests?.storage ?? "") ?? 0;
  if (restoreSize > requested) {
    spec.resources = { ...spec.resources, requests: { storage: String(restoreSize) } };
  }
}

interface InfoParts {
  readonly claim: Claim;
}

function infoBase({ backup }: BackupRun, volume: Volume, { claim }: InfoParts) {
  return {
    pvcName: claim.metadata.name,
    pvcNamespace: claim.metadata.namespace,
    pvName: volume.metadata.name,
    snapshotDataMoved: backup.spec.snapshotMoveData === true,
    preserveLocalSnapshot: false,
    skipped: false,
    pvInfo: pvInfo(volume),
  } as const;
}

function failedInfo(
  run: BackupRun,
  volume: Volume,
  { claim, message }: InfoParts & { readonly message: string },
): VolumeInfo {
  return {
    ...infoBase(run, volume, { claim }),
    skipped: true,
    skippedReason: message,
    result: "failed",
  };
}

function snapshotInfo(
  run: BackupRun,
  volume: Volume,
  { claim, taken }: InfoParts & { readonly taken: TakenSnapshot },
): VolumeInfo {
  const { snapshot, content, handle } = taken;
  return {
    ...infoBase(run, volume, { claim }),
    backupMethod: "CSISnapshot",
    startTimestamp: snapshot.metadata.creationTimestamp ?? undefined,
    result: "succeeded",
    csiSnapshotInfo: {
      snapshotHandle: handle,
      size: restoreSizeBytes(content),
      driver: content.spec?.driver ?? "",
      vscName: content.metadata.name,
      ReadyToUse: content.status?.readyToUse ?? false,
    },
  };
}

/** Only what this backup has made comes here: snapshots are in no backup by themselves. */
const snapshotAction: BackupAction = {
  name: "velero.io/csi-volumesnapshot-backupper",
  appliesTo: ofType(`volumesnapshots.${CSI_GROUP}`),
  async execute({ context, finalizing }, { object }, options) {
    const snapshot: VolumeSnapshot = object;
    const content = await contentOf(context.kube, snapshot, options);
    annotate(snapshot, content);
    if (finalizing === true || content === undefined) {
      return { object };
    }
    const { namespace, name } = snapshot.metadata;
    const className = snapshot.spec?.volumeSnapshotClassName;
    const contentItem = {
      groupResource: `volumesnapshotcontents.${CSI_GROUP}`,
      name: content.metadata.name,
    };
    mustInclude(object);
    return {
      object,
      related: [
        ...(className === undefined
          ? []
          : [{ groupResource: `volumesnapshotclasses.${CSI_GROUP}`, name: className }]),
        contentItem,
      ],
      operation: {
        id: `${namespace ?? ""}/${name}/${formatTime(context.environment.nowMs())}`,
        postItems: [
          { groupResource: `volumesnapshots.${CSI_GROUP}`, namespace, name },
          contentItem,
        ],
      },
    };
  },
  async progress({ context: { kube } }, id, options): Promise<OperationProgress> {
    const [namespace = "", name = ""] = id.split("/");
    const snapshot = await find<VolumeSnapshot>(kube, SNAPSHOTS, { namespace, name }, options);
    if (snapshot === undefined) {
      return { completed: true, error: `VolumeSnapshot ${namespace}/${name} is gone` };
    }
    const content = await contentOf(kube, snapshot, options);
    if (snapshot.status?.readyToUse === true && content?.status?.readyToUse === true) {
      return { completed: true };
    }
    const error = content?.status?.error?.message;
    return error === undefined ? { completed: false } : { completed: true, error };
  },
  /** The snapshot in the storage stays; with its data moved, it was only needed until then. */
  async finish({ context, backup }, { signal }) {
    if (
      !context.settings.csi ||
      context.catalog.resolve(`volumesnapshots.${CSI_GROUP}`) === undefined
    ) {
      return;
    }
    const { items } = await context.kube.listAll(SNAPSHOTS, {
      labelSelector: `${LABEL.backupName}=${labelValue(backup.metadata.name)}`,
      signal,
    });
    const deletionPolicy = backup.spec.snapshotMoveData === true ? "Delete" : "Retain";
    for (const { metadata } of items.filter((each) => isMadeByBackup(each))) {
      await removeSnapshot(context, metadata, { deletionPolicy, signal });
    }
  },
};

/** A restore labels what it makes with the backup's name, too, and other namespaces are other servers'. */
export function isMadeByBackup(snapshot: VolumeSnapshot): boolean {
  return (
    snapshot.metadata.name.startsWith("velero-") &&
    snapshot.metadata.labels?.[LABEL.restoreName] === undefined &&
    snapshot.spec?.source?.persistentVolumeClaimName !== undefined
  );
}

const contentAction: BackupAction = {
  name: "velero.io/csi-volumesnapshotcontent-backupper",
  appliesTo: ofType(`volumesnapshotcontents.${CSI_GROUP}`),
  execute({ backup }, { object }) {
    const content: VolumeSnapshotContent = object;
    const { annotations = {} } = content.metadata;
    content.metadata.labels = {
      ...content.metadata.labels,
      [LABEL.backupName]: labelValue(backup.metadata.name),
    };
    const secret = secretItem(
      annotations["snapshot.storage.kubernetes.io/deletion-secret-name"],
      annotations["snapshot.storage.kubernetes.io/deletion-secret-namespace"],
    );
    if (secret.length > 0) {
      mustInclude(object);
    }
    return Promise.resolve({ object, related: secret });
  },
};

const classAction: BackupAction = {
  name: "velero.io/csi-volumesnapshotclass-backupper",
  appliesTo: ofType(`volumesnapshotclasses.${CSI_GROUP}`),
  execute(_run, { object }) {
    const { parameters = {} } = object as SnapshotClass; // its schema
    const secrets = ["snapshotter", "snapshotter-list"].flatMap((use) =>
      secretItem(
        parameters[`csi.storage.k8s.io/${use}-secret-name`],
        parameters[`csi.storage.k8s.io/${use}-secret-namespace`],
      ),
    );
    if (secrets.length > 0) {
      mustInclude(object);
    }
    return Promise.resolve({ object, related: secrets });
  },
};

/** Names that are patterns cannot be followed. */
function secretItem(name: string | undefined, namespace: string | undefined): RelatedItem[] {
  const isName = (text: string | undefined): text is string =>
    text !== undefined && text !== "" && !text.includes("$");
  return isName(name) && isName(namespace) ? [{ groupResource: "secrets", namespace, name }] : [];
}

function mustInclude({ metadata }: KubeObject): void {
  metadata.annotations = { ...metadata.annotations, [MUST_INCLUDE]: "true" };
}
