import type { KubeObject } from "../kube/kube-api.ts";

/** A pod that does nothing but hold a claim's volume mounted on its node, where the agent copies it. */

export const HELD_VOLUME = "data";

export interface HolderPod {
  /** Any image that has the command. */
  readonly image: string;
  readonly command: readonly string[];
}

export const DEFAULT_HOLDER: HolderPod = {
  image: "varve/k8s-adapter:latest",
  command: ["node", "-e", "setInterval(() => {}, 2 ** 30)"],
};

/** Named like its owner, and so is its claim; in the owner's namespace. */
export function holderPod(
  { metadata, apiVersion = "", kind = "" }: KubeObject,
  {
    label,
    holder,
    node,
  }: {
    /** Its value is the owner's name. */
    readonly label: string;
    readonly holder: HolderPod;
    /** Where it must run; left out: where the volume can be. */
    readonly node?: string | undefined;
  },
): KubeObject {
  const { name, namespace = "", uid = "" } = metadata;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace,
      labels: { [label]: name.slice(0, 63).replace(/[^A-Za-z0-9]+$/, "") },
      ownerReferences: [{ apiVersion, kind, name, uid, controller: true }],
    },
    spec: {
      ...(node === undefined ? { affinity: BESIDE_AGENTS } : {}),
      ...(node === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": node } }),
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 65_534,
        seccompProfile: { type: "RuntimeDefault" },
      },
      containers: [
        {
          name: "holder",
          image: holder.image,
          imagePullPolicy: "IfNotPresent",
          command: holder.command,
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
          volumeMounts: [{ name: HELD_VOLUME, mountPath: "/data" }],
        },
      ],
      volumes: [{ name: HELD_VOLUME, persistentVolumeClaim: { claimName: name } }],
    },
  };
}

/** A volume that is mounted where no agent runs would not be copied. */
const BESIDE_AGENTS = {
  podAffinity: {
    preferredDuringSchedulingIgnoredDuringExecution: [
      {
        weight: 100,
        podAffinityTerm: {
          topologyKey: "kubernetes.io/hostname",
          labelSelector: {
            matchExpressions: [{ key: "role", operator: "In", values: ["node-agent"] }],
          },
        },
      },
    ],
  },
};
