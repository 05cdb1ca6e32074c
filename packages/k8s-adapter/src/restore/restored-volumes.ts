import type { BlobStore, CallOptions } from "@varve/core/blob";
import type { VolumeInfo } from "../backup/volume-info.ts";
import type { KubeObject } from "../kube/kube-api.ts";
import { BACKUP_FILES, readGzippedJson } from "../location/backup-files.ts";
import type { PodVolumeBackup } from "../velero/resources.ts";

/** What becomes of persistent volumes: spec section 9.4. */
export type VolumeFate =
  /** The claim gets a new volume; data comes from its copy, or there is none. */
  | "provision"
  /** The same volume is bound again. */
  | "keep"
  /** From a snapshot of the provider, through its plug-in. */
  | "native-snapshot";

export class RestoredVolumes {
  readonly #infos: ReadonlyMap<string, VolumeInfo>;
  readonly #copiedClaims: ReadonlySet<string>;

  constructor(infos: readonly VolumeInfo[], copies: readonly PodVolumeBackup[]) {
    this.#infos = new Map(infos.flatMap((info) => (info.pvName ? [[info.pvName, info]] : [])));
    // Backups of Velero before 1.13 have no infos.
    this.#copiedClaims = new Set(
      copies.flatMap(({ metadata, spec }) => {
        const claim = metadata.annotations?.["velero.io/pvc-name"];
        return claim === undefined ? [] : [`${spec.pod.namespace}/${claim}`];
      }),
    );
  }

  /** Reads `-volumeinfo.json.gz`, which older backups lack. Throws what stores throw, and `corrupt`. */
  static async read(
    store: BlobStore,
    backup: string,
    { copies, signal }: CallOptions & { readonly copies: readonly PodVolumeBackup[] },
  ): Promise<RestoredVolumes> {
    const file = BACKUP_FILES.BackupVolumeInfos(backup);
    const value = await readGzippedJson(store, file, { signal });
    return new RestoredVolumes(Array.isArray(value) ? (value as VolumeInfo[]) : [], copies);
  }

  info(volumeName: string): VolumeInfo | undefined {
    return this.#infos.get(volumeName);
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
