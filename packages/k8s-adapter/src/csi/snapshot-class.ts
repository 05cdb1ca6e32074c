import { STORAGE_CLASSES } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { type Claim, find, SNAPSHOT_CLASSES } from "./snapshot-objects.ts";

/** Which VolumeSnapshotClass a claim's snapshot is made with: spec section 5.2. */

export const CLASS_LABEL = "velero.io/csi-volumesnapshot-class";
const DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class";

export interface SnapshotClass extends KubeObject {
  driver?: string;
  deletionPolicy?: string;
  parameters?: Record<string, string>;
}

/** The storage class's driver decides; annotations of the claim and the backup may name a class. Throws why there is none. */
export function chooseSnapshotClass(
  classes: readonly SnapshotClass[],
  {
    driver,
    claim,
    backup,
  }: { readonly driver: string; readonly claim: KubeObject; readonly backup: KubeObject },
): SnapshotClass {
  const fitting = classes.filter((each) => each.driver === driver);
  const named = (name: string | undefined): SnapshotClass | undefined =>
    fitting.find(({ metadata }) => metadata.name === name);
  const backupKey = `${CLASS_LABEL}_${driver.toLowerCase()}`;
  const chosen =
    named(claim.metadata.annotations?.[CLASS_LABEL]) ??
    named(backup.metadata.annotations?.[backupKey]) ??
    fitting.find(({ metadata }) => metadata.labels?.[CLASS_LABEL] !== undefined) ??
    fitting.find(({ metadata }) => metadata.annotations?.[DEFAULT_CLASS] === "true") ??
    (fitting.length === 1 ? fitting[0] : undefined);
  if (chosen === undefined) {
    const seen = fitting.length === 0 ? "none" : `${fitting.length}, none of them labelled`;
    throw new Error(
      `no VolumeSnapshotClass for driver ${driver} (there is ${seen}): label one ${CLASS_LABEL}=true`,
    );
  }
  return chosen;
}

/** Throws for a claim that has no storage class, too. */
export async function snapshotClassFor(
  { kube }: Context,
  claim: Claim,
  { backup, signal }: CallOptions & { readonly backup: KubeObject },
): Promise<SnapshotClass> {
  const name = claim.spec?.storageClassName ?? "";
  if (name === "") {
    throw new Error(`claim ${claim.metadata.name} has no storage class, by which to find a driver`);
  }
  const storageClass = await find(kube, STORAGE_CLASSES, { name }, { signal });
  const driver = storageClass?.["provisioner"];
  if (typeof driver !== "string") {
    throw new Error(`there is no storage class ${name}`);
  }
  return chooseSnapshotClass(await snapshotClasses(kube, { signal }), { driver, claim, backup });
}

export async function snapshotClasses(
  kube: Context["kube"],
  options: CallOptions,
): Promise<readonly SnapshotClass[]> {
  return (await kube.listAll(SNAPSHOT_CLASSES, options)).items;
}
