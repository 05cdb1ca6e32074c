import { CLAIMS } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import type { KubeObject, ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { RestoreAction, RestoreRun } from "../restore/action.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import type { DataUpload } from "../velero/resources.ts";
import {
  cancelDataDownload,
  dataDownloadProgress,
  keepUploadResult,
  startDataDownload,
} from "./data-downloads.ts";
import { DATA_UPLOAD_NAME } from "./data-uploads.ts";
import { HELD_BACK } from "./expose-claim.ts";
import { snapshotClasses } from "./snapshot-class.ts";
import {
  API_VERSION,
  type Claim,
  CONTENTS,
  ensure,
  find,
  SNAPSHOT_CLASSES,
  snapshotSource,
  type VolumeSnapshot,
} from "./snapshot-objects.ts";
import { sha256, SNAPSHOT } from "./volume-snapshots.ts";

/** Claims from their snapshots, or from the data that was moved out of these: spec sections 5.3 and 5.4. */
export function csiRestoreActions(): readonly RestoreAction[] {
  return [claimAction, snapshotAction, contentAction, classAction, dataUploadAction];
}

const ofType =
  (name: string) =>
  (type: ResourceType): boolean =>
    groupResource(type) === name;

const CSI_GROUP = "snapshot.storage.k8s.io";

/** The same each time that a restore comes by, and another for every restore. */
function staticName({ restore }: RestoreRun, snapshot: string): string {
  return sha256(`${restore.metadata.uid ?? ""}/${snapshot}`);
}

function targetNamespace({ restore }: RestoreRun, namespace = ""): string {
  return restore.spec.namespaceMapping?.[namespace] ?? namespace;
}

const claimAction: RestoreAction = {
  name: "velero.io/csi-pvc-restorer",
  appliesTo: ofType("persistentvolumeclaims"),
  async execute(run, { object, fromBackup }, { signal }) {
    const { context, restore } = run;
    const { namespace = "", name, annotations = {} } = fromBackup.metadata;
    const snapshot = annotations[SNAPSHOT.name];
    const upload = annotations[DATA_UPLOAD_NAME];
    const claim: Claim = object;
    if (!context.settings.csi || (snapshot === undefined && upload === undefined)) {
      return { object };
    }
    const where = { namespace: targetNamespace(run, namespace), name };
    const existing = await find<Claim>(context.kube, CLAIMS, where, { signal });
    const isOurs =
      existing?.metadata.labels?.[LABEL.restoreName] === labelValue(restore.metadata.name);
    if (existing !== undefined && !isOurs) {
      return { object }; // left as it is
    }
    forgetVolume(claim);
    if (restore.spec.restorePVs === false) {
      return { object };
    }
    if (upload !== undefined) {
      const key = `${where.namespace}.${name}.${sha256(restore.metadata.uid ?? "").slice(0, 5)}`;
      claim.spec = { ...claim.spec, selector: { matchLabels: { [HELD_BACK]: labelValue(key) } } };
      const target = { ...where, claimUid: fromBackup.metadata.uid ?? "" };
      const operationId = await startDataDownload(run, fromBackup, { target, signal });
      return { object, operationId };
    }
    const source = snapshotSource(staticName(run, snapshot ?? ""));
    claim.spec = { ...claim.spec, dataSource: source, dataSourceRef: source };
    return {
      object,
      related: [{ groupResource: `volumesnapshots.${CSI_GROUP}`, namespace, name: snapshot ?? "" }],
    };
  },
  progress: async ({ context }, id, options) => await dataDownloadProgress(context, id, options),
  cancel: async ({ context }, id, options) => await cancelDataDownload(context, id, options),
};

/** It gets a new one. */
function forgetVolume({ metadata, spec = {} }: Claim): void {
  delete spec.volumeName;
  delete spec.dataSource;
  delete spec.dataSourceRef;
  delete metadata.labels?.[SNAPSHOT.name];
}

/** Bound by name to a content that is made beside it, over the snapshot that the storage still has. */
const snapshotAction: RestoreAction = {
  name: "velero.io/csi-volumesnapshot-restorer",
  appliesTo: ofType(`volumesnapshots.${CSI_GROUP}`),
  async execute(run, { object, fromBackup }, { signal }) {
    const { context, restore } = run;
    const snapshot: VolumeSnapshot = object;
    const { annotations = {} } = fromBackup.metadata;
    const [handle, driver] = [annotations[SNAPSHOT.handle], annotations[SNAPSHOT.driver]];
    const name = staticName(run, fromBackup.metadata.name);
    if (!context.settings.csi || restore.spec.restorePVs === false) {
      return { object, skip: true };
    }
    if (handle === undefined || driver === undefined) {
      throw new Error("the snapshot does not say where the storage has it");
    }
    const namespace = targetNamespace(run, fromBackup.metadata.namespace);
    if (await isClaimThere(run, fromBackup, { namespace, signal })) {
      return { object, skip: true };
    }
    const [snapshotClass] = (await snapshotClasses(context.kube, { signal })).filter(
      (each) => each.driver === driver,
    );
    const classNamed =
      snapshotClass === undefined ? {} : { volumeSnapshotClassName: snapshotClass.metadata.name };
    const content: KubeObject = {
      apiVersion: API_VERSION,
      kind: "VolumeSnapshotContent",
      metadata: {
        name,
        labels: { [LABEL.restoreName]: labelValue(restore.metadata.name) },
      },
      spec: {
        deletionPolicy: "Retain",
        driver,
        source: { snapshotHandle: handle },
        ...classNamed,
        volumeSnapshotRef: { kind: "VolumeSnapshot", namespace, name },
      },
    };
    await ensure(context.kube, CONTENTS, content, { signal });
    snapshot.metadata.name = name;
    snapshot.metadata.finalizers = [];
    snapshot.spec = { ...classNamed, source: { volumeSnapshotContentName: name } };
    return { object };
  },
};

async function isClaimThere(
  { context, restore }: RestoreRun,
  { spec }: VolumeSnapshot,
  { namespace, signal }: CallOptions & { readonly namespace: string },
): Promise<boolean> {
  const name = spec?.source?.persistentVolumeClaimName;
  if (name === undefined) {
    return false;
  }
  const claim = await find<Claim>(context.kube, CLAIMS, { namespace, name }, { signal });
  const madeBy = claim?.metadata.labels?.[LABEL.restoreName];
  return claim !== undefined && madeBy !== labelValue(restore.metadata.name);
}

/** Made with the snapshot. */
const contentAction: RestoreAction = {
  name: "velero.io/csi-volumesnapshotcontent-restorer",
  appliesTo: ofType(`volumesnapshotcontents.${CSI_GROUP}`),
  execute: (_run, { object }) => Promise.resolve({ object, skip: true }),
};

const classAction: RestoreAction = {
  name: "velero.io/csi-volumesnapshotclass-restorer",
  appliesTo: ofType(`volumesnapshotclasses.${CSI_GROUP}`),
  async execute({ context }, { object }, { signal }) {
    const { name } = object.metadata;
    const isThere =
      (await find(context.kube, SNAPSHOT_CLASSES, { name }, { signal })) !== undefined;
    return { object, skip: isThere || !context.settings.csi };
  },
};

/** Never an object again: what it tells of is kept for the claim that comes after it. */
const dataUploadAction: RestoreAction = {
  name: "velero.io/dataupload-restorer",
  appliesTo: ofType("datauploads.velero.io"),
  async execute(run, { object, fromBackup }, options) {
    if (run.context.settings.csi && run.restore.spec.restorePVs !== false) {
      await keepUploadResult(run, fromBackup as DataUpload, options); // its schema; what is read of it is checked
    }
    return { object, skip: true };
  },
};
