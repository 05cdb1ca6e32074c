import type { BlobStore, CallOptions } from "@varve/core/blob";
import type { VolumeInfo } from "../backup/volume-info.ts";
import type { KubeObject } from "../kube/kube-api.ts";
import { BACKUP_FILES, readGzippedJson } from "../location/backup-files.ts";
import { readNativeSnapshots } from "../native-snapshots/native-snapshot.ts";
import type { VolumeFromSnapshot } from "../native-snapshots/restore-volume.ts";
import type { PodVolumeBackup } from "../velero/resources.ts";

/** What becomes of persistent volumes: spec section 9.4. */
export type VolumeFate =
  /** The claim gets a new volume; data comes from its copy, or there is none. */
  | "provision"
  /** The same volume is bound again. */
  | "keep"
  /** From a snapshot of the provider, through its plug-in. */
  | "native-snapshot";

type TakenSnapshot = VolumeFromSnapshot["snapshot"];

export class RestoredVolumes {
  readonly #infos: ReadonlyMap<string, VolumeInfo>;
  readonly #copiedClaims: ReadonlySet<string>;
  readonly #snapshots: ReadonlyMap<string, TakenSnapshot>;

  constructor(
    infos: readonly VolumeInfo[],
    copies: readonly PodVolumeBackup[],
    snapshots: readonly TakenSnapshot[] = [],
  ) {
    this.#snapshots = new Map(snapshots.map((each) => [each.spec.persistentVolumeName, each]));
    this.#infos = new Map(infos.flatMap((info) => (info.pvName ? [[info.pvName, info]] : [])));
    // Backups of Velero before 1.13 have no infos.
    this.#copiedClaims = new Set(
      copies.flatMap(({ metadata, spec }) => {
        const claim = metadata.annotations?.["velero.io/pvc-name"];
        return claim === undefined ? [] : [`${spec.pod.namespace}/${claim}`];
      }),
    );
  }

  /** Reads `-volumeinfo.json.gz`, which older backups lack, and `-volumesnapshots.json.gz`. Throws what stores throw, and `corrupt`. */
  static async read(
    store: BlobStore,
    backup: string,
    { copies, signal }: CallOptions & { readonly copies: readonly PodVolumeBackup[] },
  ): Promise<RestoredVolumes> {
    const file = BACKUP_FILES.BackupVolumeInfos(backup);
    const value = await readGzippedJson(store, file, { signal });
    const snapshots = await readNativeSnapshots(store, backup, { signal });
    const infos = Array.isArray(value) ? (value as VolumeInfo[]) : [];
    return new RestoredVolumes(infos, copies, snapshots);
  }

  info(volumeName: string): VolumeInfo | undefined {
    return this.#infos.get(volumeName);
  }

  /** Of its provider, as the backup says. */
  snapshot(volumeName: string): TakenSnapshot | undefined {
    return this.#snapshots.get(volumeName);
  }

  fate(volume: KubeObject): VolumeFate {
    const spec = (volume["spec"] ?? {}) as {
      claimRef?: { namespace?: string; name?: string };
      persistentVolumeReclaimPolicy?: string;
    };
    const { namespace = "", name = "" } = spec.claimRef ?? {};
    switch (this.#infos.get(volume.metadata.name)?.backupMethod) {
      case "PodVolumeBackup":
      case "CSISnapshot":
        return "provision";
      case "NativeSnapshot":
        return "native-snapshot";
      default:
        if (this.#snapshots.has(volume.metadata.name)) {
          return "native-snapshot";
        }
        return this.#copiedClaims.has(`${namespace}/${name}`) ||
          spec.persistentVolumeReclaimPolicy === "Delete"
          ? "provision"
          : "keep";
    }
  }
}

/** A kept volume waits for the claim of its new namespace, whichever uid that gets. */
export function releaseClaim(volume: KubeObject, mapping: Readonly<Record<string, string>>): void {
  const { claimRef } = (volume["spec"] ?? {}) as { claimRef?: Record<string, unknown> };
  if (claimRef !== undefined) {
    delete claimRef["uid"];
    delete claimRef["resourceVersion"];
    const { namespace } = claimRef;
    if (typeof namespace === "string") {
      claimRef["namespace"] = mapping[namespace] ?? namespace;
    }
  }
}
