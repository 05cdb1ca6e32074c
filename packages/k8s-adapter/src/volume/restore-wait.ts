import { CONFIG_MAPS } from "../kube/core-types.ts";
import { parse } from "yaml";
import type { KubeObject } from "../kube/kube-api.ts";
import type { RestoreAction } from "../restore/action.ts";
import type { Context } from "../server/context.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { type PodVolumeBackup, VELERO } from "../velero/resources.ts";
import { volumesOf } from "./pod-spec.ts";

/**
 * The init container that holds a restored pod back until its volumes are filled: spec section 4.6. By default it meets
 * Pod Security's `restricted` profile.
 */

export const RESTORE_WAIT = "restore-wait";
/** Velero's older name for it. */
const RESTIC_WAIT = "restic-wait";

const CONFIG_SELECTOR = "velero.io/plugin-config,velero.io/pod-volume-restore=RestoreItemAction";
const NOT_RESTORED = new Set(["projected", "downwardAPI"]);
const RESTRICTED = {
  runAsUser: 1000,
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
} as const;

export const restoreWaitAction: RestoreAction = {
  name: "velero.io/pod-volume-restore",
  appliesTo: ({ group, resource }) => group === "" && resource === "pods",
  async execute({ context, restore, backup }, { object, fromBackup }, { signal }) {
    const spec = (object["spec"] ?? {}) as PodSpec;
    const others = (spec.initContainers ?? []).filter(
      ({ name }) => name !== RESTORE_WAIT && name !== RESTIC_WAIT,
    );
    const { namespace = "", name } = fromBackup.metadata;
    const copies = await podVolumeBackupsOf(context, backup.metadata.name, { signal });
    const filled = copies
      .filter((copy) => copy.spec.pod.namespace === namespace && copy.spec.pod.name === name)
      .filter(({ spec, status }) => (status?.snapshotID ?? "") !== "" && !isRestic(spec))
      .map((copy) => copy.spec.volume);
    const volumes = volumesOf(object).filter(
      (volume) => filled.includes(volume.name) && !NOT_RESTORED.has(volume.kind),
    );
    if (volumes.length === 0) {
      object["spec"] = withInitContainers(spec, others);
      return { object };
    }
    const config = await readConfig(context, { signal });
    const container = {
      name: RESTORE_WAIT,
      image: config["image"] ?? context.settings.restoreWait.image,
      command:
        config["command"] === undefined
          ? context.settings.restoreWait.command
          : [config["command"]],
      args: [restore.metadata.uid ?? ""],
      env: [
        fieldVariable("POD_NAMESPACE", "metadata.namespace"),
        fieldVariable("POD_NAME", "metadata.name"),
      ],
      volumeMounts: volumes.map((volume) => ({
        name: volume.name,
        mountPath: `/restores/${volume.name}`,
      })),
      resources: {
        requests: { cpu: config["cpuRequest"] ?? "100m", memory: config["memRequest"] ?? "128Mi" },
        limits: { cpu: config["cpuLimit"] ?? "100m", memory: config["memLimit"] ?? "128Mi" },
      },
      securityContext: securityContext(config, spec),
    };
    object["spec"] = withInitContainers(spec, [container, ...others]);
    return { object };
  },
};

/** No agent fills a volume from such a copy, so nothing waits for it. */
export function isRestic({ uploaderType }: PodVolumeBackup["spec"]): boolean {
  return uploaderType === "restic";
}

interface PodSpec {
  readonly initContainers?: readonly { readonly name: string }[];
  readonly containers?: readonly { readonly securityContext?: object }[];
}

function withInitContainers(spec: PodSpec, initContainers: readonly { name: string }[]): object {
  const { initContainers: _, ...rest } = spec;
  return initContainers.length === 0 ? rest : { ...rest, initContainers };
}

function fieldVariable(name: string, fieldPath: string): object {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** The PodVolumeBackups of a backup, as the cluster has them: made here, or by the sync of a location. */
export async function podVolumeBackupsOf(
  { kube, namespace }: Context,
  backupName: string,
  { signal }: { readonly signal?: AbortSignal | undefined },
): Promise<readonly PodVolumeBackup[]> {
  const { items } = await kube.listAll(VELERO.podVolumeBackups, {
    namespace,
    labelSelector: `${LABEL.backupName}=${labelValue(backupName)}`,
    signal,
  });
  return items as readonly PodVolumeBackup[]; // by their type
}

async function readConfig(
  { kube, namespace }: Context,
  { signal }: { readonly signal?: AbortSignal | undefined },
): Promise<Readonly<Record<string, string>>> {
  const options = { namespace, labelSelector: CONFIG_SELECTOR, signal };
  const { items } = await kube.listAll(CONFIG_MAPS, options);
  const [first] = items as readonly (KubeObject & { data?: Record<string, string> })[];
  return first?.data ?? {};
}

/** The configured one, else that of the pod's first container, else one that every profile admits. */
function securityContext(config: Readonly<Record<string, string>>, spec: PodSpec): object {
  const { secCtx, secCtxRunAsUser, secCtxRunAsGroup, secCtxAllowPrivilegeEscalation } = config;
  if (secCtx !== undefined) {
    return (parse(secCtx) ?? {}) as object; // the server checks it when the pod is created
  }
  if (secCtxRunAsUser !== undefined || secCtxRunAsGroup !== undefined) {
    return {
      ...(secCtxRunAsUser === undefined ? {} : { runAsUser: Number(secCtxRunAsUser) }),
      ...(secCtxRunAsGroup === undefined ? {} : { runAsGroup: Number(secCtxRunAsGroup) }),
      allowPrivilegeEscalation: secCtxAllowPrivilegeEscalation === "true",
    };
  }
  const ofFirst = spec.containers?.[0]?.securityContext;
  return ofFirst !== undefined && Object.keys(ofFirst).length > 0 ? ofFirst : RESTRICTED;
}
