import type { CallOptions } from "@varve/core";
import type { KubeObject } from "../kube/kube-api.ts";
import type { PodVolumeBackup } from "../velero/resources.ts";
import type { PodVolumes } from "../volume/pod-volumes.ts";
import type { BackupRun } from "./action.ts";
import type { ClusterView } from "./cluster-view.ts";
import { podVolumes } from "./volume-choice.ts";
import { podVolumeInfo, skippedVolumeInfo, type VolumeInfo } from "./volume-info.ts";

/** The file-system backups of one run: which volumes, begun, waited for, told of (semantics spec sections 2.6 and 4.1). */
export class PodCopies {
  readonly #run: BackupRun;
  readonly #view: ClusterView;
  readonly #podVolumes: PodVolumes;
  /** Claims that a pod copies already: `namespace/name`. */
  readonly #claims = new Set<string>();
  readonly #started = new Map<string, PodVolumeBackup>();
  readonly #final = new Map<string, PodVolumeBackup>();
  readonly #volumes = new Map<string, KubeObject>();
  /** Of claims: why the pod's file system was not taken. */
  readonly #reasons = new Map<string, string>();

  constructor(
    run: BackupRun,
    { view, podVolumes }: { readonly view: ClusterView; readonly podVolumes: PodVolumes },
  ) {
    this.#run = run;
    this.#view = view;
    this.#podVolumes = podVolumes;
  }

  /** The volumes of a pod that are copied from its file system; a claim that several pods use is copied once. */
  async choose(pod: KubeObject, options: CallOptions): Promise<readonly string[]> {
    const { namespace = "", name } = pod.metadata;
    const chosen: string[] = [];
    for (const source of podVolumes(pod)) {
      const choice = await this.#view.forPodVolume(pod, source, options);
      const claim = source.persistentVolumeClaim?.claimName;
      const key = claim === undefined ? undefined : `${namespace}/${claim}`;
      if (choice.treatment !== "fs-backup") {
        if (choice.reason !== undefined) {
          this.#run.log.info(`volume ${source.name} is not copied: ${choice.reason}`, {
            resource: "pods",
            namespace,
            name,
          });
          if (key !== undefined) {
            this.#reasons.set(key, choice.reason);
          }
        }
      } else if (key === undefined || !this.#claims.has(key)) {
        chosen.push(source.name);
        if (key !== undefined) {
          this.#claims.add(key);
        }
      }
    }
    return chosen;
  }

  async start(pod: KubeObject, volumes: readonly string[], options: CallOptions): Promise<void> {
    if (volumes.length === 0) {
      return;
    }
    const { started, skipped } = await this.#podVolumes.backUp(this.#run, pod, volumes, options);
    if (this.#started.size === 0 && started.length > 0) {
      this.#tellUploader();
    }
    for (const pvb of started) {
      this.#started.set(pvb.metadata.name, pvb);
    }
    for (const { volume, reason } of skipped) {
      const source = podVolumes(pod).find(({ name }) => name === volume);
      const claim = source?.persistentVolumeClaim?.claimName;
      if (claim !== undefined) {
        this.#claims.delete(`${pod.metadata.namespace ?? ""}/${claim}`);
        this.#reasons.set(`${pod.metadata.namespace ?? ""}/${claim}`, reason);
      }
    }
  }

  #tellUploader(): void {
    const { context, log } = this.#run;
    if (context.settings.uploaderType === "restic") {
      log.warn(
        "the uploader that is set is restic, which is not written: Kopia copies the volumes",
      );
    }
  }

  volumeStored(volume: KubeObject): void {
    this.#volumes.set(volume.metadata.name, volume);
  }

  /** Waits for those of these pods, or for all. */
  async wait(pods: readonly KubeObject[] | "all", options: CallOptions): Promise<void> {
    const uids = pods === "all" ? undefined : new Set(pods.map(({ metadata }) => metadata.uid));
    const open = [...this.#started.values()].filter(
      ({ metadata, spec }) =>
        !this.#final.has(metadata.name) && (uids === undefined || uids.has(spec.pod.uid)),
    );
    if (open.length === 0) {
      return;
    }
    for (const pvb of await this.#podVolumes.wait(this.#run, open, options)) {
      this.#final.set(pvb.metadata.name, pvb);
    }
  }

  /** As they ended. */
  get podVolumeBackups(): readonly PodVolumeBackup[] {
    return [...this.#started.values()].map((pvb) => this.#final.get(pvb.metadata.name) ?? pvb);
  }

  /** Of every copy, and of every stored PV that nothing was done with. `known`: what actions tell of. */
  async volumeInfos(
    known: readonly VolumeInfo[],
    options: CallOptions,
  ): Promise<readonly VolumeInfo[]> {
    const infos: VolumeInfo[] = [...known];
    for (const pvb of this.podVolumeBackups) {
      const { namespace } = pvb.spec.pod;
      const claim = pvb.metadata.annotations?.["velero.io/pvc-name"];
      const volume =
        claim === undefined
          ? undefined
          : await this.#view.volumeOf(
              await this.#view.core("persistentvolumeclaims", { namespace, name: claim }, options),
              options,
            );
      infos.push(podVolumeInfo(pvb, volume));
    }
    const told = new Set(infos.map(({ pvName }) => pvName));
    for (const volume of this.#volumes.values()) {
      if (!told.has(volume.metadata.name)) {
        infos.push(await this.#skipped(volume, options));
      }
    }
    return infos;
  }

  async #skipped(volume: KubeObject, options: CallOptions): Promise<VolumeInfo> {
    const spec = volume["spec"] as { claimRef?: { namespace?: string; name?: string } } | undefined; // the API server's schema
    const { namespace, name } = spec?.claimRef ?? {};
    const claim = namespace === undefined || name === undefined ? undefined : { namespace, name };
    const object =
      claim === undefined
        ? undefined
        : await this.#view.core("persistentvolumeclaims", claim, options);
    const choice =
      object === undefined ? undefined : await this.#view.forClaim(object, volume, options);
    const podReason = claim && this.#reasons.get(`${claim.namespace}/${claim.name}`);
    const snapshotReason =
      choice === undefined || choice.treatment === "snapshot"
        ? "no applicable volumesnapshotter found"
        : (choice.reason ?? "not satisfy the criteria for VolumePolicy or the legacy snapshot way");
    const reason = `${podReason === undefined ? "" : `podvolume: ${podReason};`}volumeSnapshot: ${snapshotReason};`;
    return skippedVolumeInfo(volume, claim, reason);
  }
}
