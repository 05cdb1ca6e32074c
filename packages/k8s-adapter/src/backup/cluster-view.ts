import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeObject, type ResourceType } from "../kube/kube-api.ts";
import { LABEL } from "../velero/labels.ts";
import type { BackupRun, VolumeChoices } from "./action.ts";
import { type BackupFilters, type CollectedItem, itemKey, whyLeftOut } from "./collect-items.ts";
import type { ResourcePolicy } from "./resource-policy.ts";
import type { Spill } from "./spill.ts";
import {
  chooseForPodVolume,
  chooseForVolume,
  OPT_IN,
  OPT_OUT,
  podClaims,
  podVolumes,
  type PodVolume,
  type VolumeChoice,
  type VolumeRules,
} from "./volume-choice.ts";

/** Objects of the cluster as one backup sees them: those it has listed, and others as they are asked for. */
export class ClusterView implements VolumeChoices {
  readonly #run: BackupRun;
  readonly #filters: BackupFilters;
  readonly #spill: Spill;
  readonly #collected: ReadonlyMap<string, CollectedItem>;
  readonly #rules: VolumeRules;
  /** By namespace: what is known of pods that use claims. */
  readonly #pods = new Map<string, Promise<readonly KubeObject[]>>();

  constructor(
    run: BackupRun,
    {
      filters,
      items,
      spill,
      policy,
    }: {
      readonly filters: BackupFilters;
      readonly items: readonly CollectedItem[];
      readonly spill: Spill;
      readonly policy: ResourcePolicy | undefined;
    },
  ) {
    this.#run = run;
    this.#filters = filters;
    this.#spill = spill;
    this.#collected = new Map(items.map((item) => [itemKey(item), item]));
    this.#rules = { spec: run.backup.spec, policy };
  }

  /** As it was listed, else as it is now; undefined when it is not there. */
  async object(
    type: ResourceType,
    { namespace, name }: { readonly namespace?: string | undefined; readonly name: string },
    options: CallOptions,
  ): Promise<KubeObject | undefined> {
    const collected = this.#collected.get(itemKey({ type, namespace, name }));
    if (collected !== undefined) {
      return await this.#spill.read(collected.slot);
    }
    try {
      return await this.#run.context.kube.get(type, { namespace, name }, options);
    } catch (error) {
      if (isKubeError(error, "not-found")) {
        return undefined;
      }
      throw error;
    }
  }

  /** Of a core type, by its plural. */
  async core(
    resource: string,
    name: { readonly namespace?: string | undefined; readonly name: string },
    options: CallOptions,
  ): Promise<KubeObject | undefined> {
    const type = this.#run.context.catalog.resolve(resource);
    return type === undefined ? undefined : await this.object(type, name, options);
  }

  /** Running pods that use a claim and may be stored: name, annotations and volumes only. */
  async podsOfClaim(
    { namespace, name }: { readonly namespace: string; readonly name: string },
    options: CallOptions,
  ): Promise<readonly KubeObject[]> {
    const pods = this.#pods.get(namespace) ?? this.#listPods(namespace, options);
    this.#pods.set(namespace, pods);
    return (await pods).filter((pod) => podClaims(pod).includes(name));
  }

  async #listPods(namespace: string, { signal }: CallOptions): Promise<readonly KubeObject[]> {
    const type = this.#run.context.catalog.resolve("pods");
    const pods: KubeObject[] = [];
    if (type === undefined) {
      return pods;
    }
    for await (const pod of this.#run.context.kube.list(type, { namespace, signal })) {
      const status = pod["status"] as { phase?: string } | undefined; // the API server's schema
      if (
        status?.phase === "Running" &&
        podClaims(pod).length > 0 &&
        whyLeftOut(this.#filters, type, pod) === undefined
      ) {
        const { annotations = {}, name, labels } = pod.metadata;
        const kept = Object.fromEntries(
          [OPT_IN, OPT_OUT].flatMap((key) => {
            const value = annotations[key];
            return value === undefined ? [] : [[key, value]];
          }),
        );
        const marked = labels?.[LABEL.excludeFromBackup];
        pods.push({
          metadata: {
            name,
            namespace,
            annotations: kept,
            ...(marked === undefined ? {} : { labels: { [LABEL.excludeFromBackup]: marked } }),
          },
          spec: { volumes: podVolumes(pod) },
        });
      }
    }
    return pods;
  }

  /** What is done with a volume of a pod, with its claim and PV where it has them. */
  async forPodVolume(
    pod: KubeObject,
    source: PodVolume,
    options: CallOptions,
  ): Promise<VolumeChoice & { readonly claim?: KubeObject | undefined }> {
    const claimName = source.persistentVolumeClaim?.claimName;
    if (claimName === undefined) {
      return chooseForPodVolume(this.#rules, pod, source, {});
    }
    const claims = this.#run.context.catalog.resolve("persistentvolumeclaims");
    if (claims === undefined || !this.#filters.resources.allows(claims)) {
      return { treatment: "none", reason: "claims are not included" };
    }
    const { namespace } = pod.metadata;
    const claim = await this.object(claims, { namespace, name: claimName }, options);
    const volume = await this.volumeOf(claim, options);
    return { ...chooseForPodVolume(this.#rules, pod, source, { claim, volume }), claim };
  }

  async forClaim(
    claim: KubeObject,
    volume: KubeObject | undefined,
    options: CallOptions,
  ): Promise<VolumeChoice> {
    const { namespace = "", name } = claim.metadata;
    const reasons: string[] = [];
    for (const pod of await this.podsOfClaim({ namespace, name }, options)) {
      for (const source of podVolumes(pod)) {
        if (source.persistentVolumeClaim?.claimName === name) {
          const choice = chooseForPodVolume(this.#rules, pod, source, { claim, volume });
          if (choice.treatment === "fs-backup") {
            return choice;
          }
          reasons.push(...(choice.reason === undefined ? [] : [choice.reason]));
        }
      }
    }
    const choice =
      volume === undefined
        ? ({ treatment: "none", reason: "the claim has no volume" } as const)
        : chooseForVolume(this.#rules, volume, claim);
    const [reason] = [...(choice.reason === undefined ? [] : [choice.reason]), ...reasons];
    return { treatment: choice.treatment, ...(reason === undefined ? {} : { reason }) };
  }

  async volumeOf(
    claim: KubeObject | undefined,
    options: CallOptions,
  ): Promise<KubeObject | undefined> {
    const spec = claim?.["spec"] as { volumeName?: string } | undefined; // the API server's schema
    const name = spec?.volumeName ?? "";
    return name === "" ? undefined : await this.core("persistentvolumes", { name }, options);
  }
}
