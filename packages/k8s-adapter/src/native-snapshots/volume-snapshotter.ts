import type { CallOptions } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";

/**
 * Snapshots of volumes by whoever provides them, for volumes that no CSI driver snapshots: a port with the calls of
 * Velero's VolumeSnapshotter plug-ins. The host gives one for every provider that it knows to `runServer`; which of them
 * a Backup uses is said by its VolumeSnapshotLocations. What a call throws is told in the log of the backup or restore.
 */
export interface VolumeSnapshotter {
  /** Of a PersistentVolume, as the provider names it; undefined for volumes of others. */
  volumeIdOf(volume: KubeObject): string | undefined;
  /** The same PersistentVolume over another volume of the provider; `volume` may be changed and given back. */
  withVolumeId(volume: KubeObject, volumeId: string): KubeObject;
  volumeInfo(
    volumeId: string,
    options: CallOptions & { readonly zone: string | undefined },
  ): Promise<ProviderVolumeInfo>;
  /**
   * Resolves with the provider's name of the snapshot, once what is written from then on is no part of it. A backup that
   * was cut off asks again with the same tags: it is then to be given the snapshot that is there, or else that one stays
   * behind when the backup is deleted.
   */
  createSnapshot(
    volumeId: string,
    options: CallOptions & {
      readonly zone: string | undefined;
      /** The labels of the Backup, and `velero.io/backup`, `velero.io/backup-uid`, `velero.io/pv`. */
      readonly tags: Readonly<Record<string, string>>;
    },
  ): Promise<string>;
  /** Resolves with the name of a new volume. */
  createVolume(
    snapshotId: string,
    options: CallOptions & ProviderVolumeInfo & { readonly zone: string | undefined },
  ): Promise<string>;
  /** A snapshot that is not there is success. */
  deleteSnapshot(snapshotId: string, options: CallOptions): Promise<void>;
}

export interface ProviderVolumeInfo {
  /** As the provider calls it. */
  readonly type: string;
  readonly iops?: number | undefined;
}

/** What a VolumeSnapshotLocation says. */
export interface SnapshotLocationSettings {
  readonly name: string;
  readonly config: Readonly<Record<string, string>>;
  /** What the key of the secret holds that it names. */
  readonly credential: string | undefined;
}

/** Called for every volume; throws what is wrong with the settings. */
export type OpenVolumeSnapshotter = (
  location: SnapshotLocationSettings,
  options: CallOptions,
) => Promise<VolumeSnapshotter>;

/** By `spec.provider` of VolumeSnapshotLocations. */
export type VolumeSnapshotters = Readonly<Record<string, OpenVolumeSnapshotter>>;
