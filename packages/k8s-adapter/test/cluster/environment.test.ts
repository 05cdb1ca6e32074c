import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cluster, createNamespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl, startKube } from "@varve/testenv/kube.ts";
import { expect, test } from "vitest";
import { applyDefinitions } from "./definitions.ts";

/** That the Kubernetes of the tests is one: an API, a node whose volumes are seen here, volumes with snapshots. */

const k = (...args: string[]): Promise<string> => kubectl(cluster, args);
const apply = (...items: unknown[]): Promise<string> =>
  kubectl(cluster, ["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items }));
const get = async (namespace: string, object: string, path: string): Promise<string> =>
  k("get", "-n", namespace, object, "-o", `jsonpath={${path}}`);

function pod(metadata: { name: string; namespace: string }, volume: unknown, image: string) {
  const command = ["sleep", "3600"];
  const volumeMounts = [{ name: "data", mountPath: "/data" }];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata,
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "main", image, command, volumeMounts }],
      volumes: [{ name: "data", ...Object(volume) }],
    },
  };
}

function claim(metadata: { name: string; namespace: string }, dataSource?: unknown) {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata,
    spec: {
      storageClassName: "csi",
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "16Mi" } },
      dataSource,
    },
  };
}

test("Velero's resource definitions are served, with their columns", async () => {
  await applyDefinitions(cluster);
  await using namespace = await createNamespace("crds");
  await apply({
    apiVersion: "velero.io/v1",
    kind: "BackupStorageLocation",
    metadata: { name: "main", namespace: namespace.name },
    spec: { provider: "aws", default: true, objectStorage: { bucket: "backups" } },
  });
  const table = await k("get", "-n", namespace.name, "backupstoragelocations");
  expect(table).toMatch(/^NAME +PHASE +LAST VALIDATED +AGE +DEFAULT\nmain +\S+ +true\n$/);
});

test("a pod runs on the real node, and its volume is seen from here", async () => {
  await using namespace = await createNamespace("pod");
  await apply(pod({ name: "p", namespace: namespace.name }, { emptyDir: {} }, cluster.image));
  await k("wait", "-n", namespace.name, "pod/p", "--for=condition=Ready", "--timeout=60s");
  expect(await get(namespace.name, "pod/p", ".spec.nodeName")).toBe(cluster.nodeName);
  await k("exec", "-n", namespace.name, "p", "--", "sh", "-c", "echo one > /data/f");
  const uid = await get(namespace.name, "pod/p", ".metadata.uid");
  const volume = join(cluster.podsDir, uid, "volumes/kubernetes.io~empty-dir/data");
  expect(await readFile(join(volume, "f"), "utf8")).toBe("one\n");
  await expect(k("exec", "-n", namespace.name, "p", "--", "false")).rejects.toThrow("code 1");
});

test("a claim's volume has snapshots, and a claim made of one has its data", async () => {
  await using namespace = await createNamespace("csi");
  const at = (name: string) => ({ name, namespace: namespace.name });
  const uses = (claimName: string) => ({ persistentVolumeClaim: { claimName } });
  await apply(claim(at("source")), pod(at("writer"), uses("source"), cluster.image));
  await k("wait", "-n", namespace.name, "pod/writer", "--for=condition=Ready", "--timeout=60s");
  await k("exec", "-n", namespace.name, "writer", "--", "sh", "-c", "echo one > /data/f");
  await apply({
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshot",
    metadata: at("snap"),
    spec: {
      volumeSnapshotClassName: "csi",
      source: { persistentVolumeClaimName: "source" },
    },
  });
  const ready = ["--for=jsonpath={.status.readyToUse}=true", "--timeout=60s"];
  await k("wait", "-n", namespace.name, "volumesnapshot/snap", ...ready);
  const dataSource = { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "snap" };
  await k("exec", "-n", namespace.name, "writer", "--", "sh", "-c", "echo two > /data/f");
  await apply(claim(at("copy"), dataSource), pod(at("reader"), uses("copy"), cluster.image));
  await k("wait", "-n", namespace.name, "pod/reader", "--for=condition=Ready", "--timeout=60s");
  expect(await k("exec", "-n", namespace.name, "reader", "--", "cat", "/data/f")).toBe("one\n");
  const volumes = await readdir(join(cluster.csiData, "volumes"));
  expect(volumes.length).toBeGreaterThanOrEqual(2);
});

test("stopping leaves no process, mount or folder, though a pod still runs", async () => {
  const kube = await startKube({ realNode: true, kwokNodes: 0 });
  const folder = dirname(kube.kubeconfigPath);
  const object = pod(
    { name: "p", namespace: "default" },
    { emptyDir: { medium: "Memory" } },
    kube.image,
  );
  await kubectl(kube, ["apply", "-f", "-"], JSON.stringify(object));
  await kubectl(kube, ["wait", "pod/p", "--for=condition=Ready", "--timeout=60s"]);
  expect(await leftOf(folder)).toContain("mount");
  await kube.stop();
  await kube.stop();
  expect(await leftOf(folder)).toEqual([]);
});

/** What there is of a cluster in that folder: "process", "mount", "folder". */
async function leftOf(folder: string): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return [
    ...(commands.some((command) => command.includes(folder)) ? ["process"] : []),
    ...((await readFile("/proc/self/mountinfo", "utf8")).includes(folder) ? ["mount"] : []),
    ...(existsSync(folder) ? ["folder"] : []),
  ];
}
