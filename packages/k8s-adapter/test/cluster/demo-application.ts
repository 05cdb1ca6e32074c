import { cluster } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";

/** An application with everything that backups are about: objects, a claim, a volume of a pod, files of all kinds. */

export const exec = async (namespace: string, pod: string, script: string): Promise<string> =>
  await kubectl(cluster, ["exec", "-n", namespace, pod, "-c", "main", "--", "sh", "-c", script]);

/** Fills the volumes of `db`. */
export const FILL = `cd /data && mkdir -p sub/empty && echo hello > sub/a.txt && ln -s sub/a.txt link && ln -s nowhere dangling &&
  dd if=/dev/urandom of=big bs=1024 count=512 2>/dev/null && chmod 600 big && chown 1234:5678 big && touch -d '2020-02-03 04:05:06' sub/a.txt &&
  mkdir .snapshot && echo old > .snapshot/x && echo cached > /cache/c`;
/** Tells all of them: kinds, modes, owners, times, targets, hashes. */
export const LOOK = `cd /data && find . -mindepth 1 ! -path './.velero*' ! -path './.snapshot*' | sort | while read f; do
  stat -c '%n %F %a %u:%g %Y' "$f"; [ -L "$f" ] && readlink "$f"; [ -f "$f" ] && [ ! -L "$f" ] && md5sum "$f"; done; cat /cache/c; true`;

export function application(namespace: string): object[] {
  const labels = { app: "shop" };
  return [
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "settings", namespace, labels },
      data: { mode: '<fast> & "safe"' },
    },
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "keys", namespace, labels },
      stringData: { password: "hunter2" },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "db", namespace, labels },
      spec: { selector: labels, ports: [{ port: 5432 }] },
    },
    {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data", namespace, labels },
      spec: {
        storageClassName: "csi",
        accessModes: ["ReadWriteOnce"],
        resources: { requests: { storage: "16Mi" } },
      },
    },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "db", namespace, labels },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: "main",
            image: cluster.image,
            command: ["sleep", "3600"],
            volumeMounts: [
              { name: "data", mountPath: "/data" },
              { name: "cache", mountPath: "/cache" },
            ],
          },
        ],
        volumes: [
          { name: "data", persistentVolumeClaim: { claimName: "data" } },
          { name: "cache", emptyDir: {} },
        ],
      },
    },
    restrictedPod(namespace),
  ];
}

/** One that the profile `restricted` admits. */
function restrictedPod(namespace: string): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web", namespace, labels: { app: "web" } },
    spec: {
      terminationGracePeriodSeconds: 0,
      securityContext: { fsGroup: 1000 },
      containers: [
        {
          name: "main",
          image: cluster.image,
          command: ["sleep", "3600"],
          securityContext: {
            runAsUser: 1000,
            runAsNonRoot: true,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
            seccompProfile: { type: "RuntimeDefault" },
          },
          volumeMounts: [{ name: "work", mountPath: "/pages" }],
        },
      ],
      volumes: [{ name: "work", emptyDir: {} }],
    },
  };
}
