import type { KubeObject } from "../kube/kube-api.ts";

/** The parts of pods, claims and volumes that say where data is; checked here, as they may come from a tarball. */

export interface PodVolume {
  readonly name: string;
  /** The member that says what it is: `emptyDir`, `persistentVolumeClaim`, `hostPath`, … */
  readonly kind: string;
  /** Of the claim, for `persistentVolumeClaim`. */
  readonly claim: string | undefined;
}

export interface Container {
  readonly name: string;
  readonly volumeMounts?: readonly { readonly name: string }[];
  readonly volumeDevices?: readonly { readonly name: string }[];
}

interface PodParts {
  readonly spec?: {
    readonly nodeName?: string;
    readonly volumes?: readonly Record<string, unknown>[] | null;
    readonly containers?: readonly Container[] | null;
    readonly initContainers?: readonly Container[] | null;
  };
  readonly status?: {
    readonly phase?: string;
    readonly initContainerStatuses?: readonly {
      readonly name: string;
      readonly state?: {
        readonly running?: unknown;
        readonly waiting?: unknown;
        readonly terminated?: { readonly exitCode?: number };
      };
    }[];
  };
}

const parts = (pod: KubeObject): PodParts => pod as unknown as PodParts; // a pod, by its type

export function volumesOf(pod: KubeObject): PodVolume[] {
  return (parts(pod).spec?.volumes ?? []).map((volume) => {
    const kind = Object.keys(volume).find((key) => key !== "name") ?? "emptyDir";
    const { claimName } = (volume["persistentVolumeClaim"] ?? {}) as { claimName?: string };
    return { name: String(volume["name"]), kind, claim: claimName };
  });
}

export function nodeOf(pod: KubeObject): string | undefined {
  const { nodeName = "" } = parts(pod).spec ?? {};
  return nodeName === "" ? undefined : nodeName;
}

export function podPhase(pod: KubeObject): string {
  return parts(pod).status?.phase ?? "";
}

export function containersOf(pod: KubeObject): readonly Container[] {
  const { containers, initContainers } = parts(pod).spec ?? {};
  return [...(initContainers ?? []), ...(containers ?? [])];
}

/** Whether a container sees the volume as files, as a device, or no container has it. */
export function volumeMode(pod: KubeObject, volume: string): "Filesystem" | "Block" | undefined {
  const named = ({ name }: { readonly name: string }): boolean => name === volume;
  const containers = containersOf(pod);
  if (containers.some(({ volumeMounts = [] }) => volumeMounts.some(named))) {
    return "Filesystem";
  }
  return containers.some(({ volumeDevices = [] }) => volumeDevices.some(named))
    ? "Block"
    : undefined;
}

export function initContainerState(
  pod: KubeObject,
  name: string,
): "waiting" | "running" | "succeeded" | "failed" | undefined {
  const found = parts(pod).status?.initContainerStatuses?.find((status) => status.name === name);
  const { running, terminated, waiting } = found?.state ?? {};
  if (running !== undefined) {
    return "running";
  }
  if (terminated !== undefined) {
    return terminated.exitCode === 0 ? "succeeded" : "failed";
  }
  return waiting === undefined ? undefined : "waiting";
}

/** What a log entry about a pod says of it. */
export function podFields({ metadata: { namespace, name } }: KubeObject): {
  resource: string;
  namespace: string | undefined;
  name: string;
} {
  return { resource: "pods", namespace, name };
}
