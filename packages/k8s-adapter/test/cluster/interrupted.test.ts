import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cluster, createNamespace, type Namespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SNAPSHOTS } from "../../src/csi/snapshot-objects.ts";
import { CLAIMS, PODS, VOLUMES } from "../../src/kube/core-types.ts";
import type { KubeObject, ResourceRef } from "../../src/kube/kube-api.ts";
import { VELERO } from "../../src/velero/resources.ts";
import { type Processes, testProcesses } from "./processes.ts";
import { apply, k, locationAvailable, startTestServer, type TestServer } from "./server.ts";

/** Copies that are canceled, or lose their node, in the middle: the bucket holds them up there until that is done. */

let own: Namespace;
let server: TestServer;
let processes: Processes;
const folder = mkdtempSync(join(tmpdir(), "varve-lost-node-"));
beforeAll(async () => {
  own = await createNamespace("interrupted");
  server = await startTestServer({ namespace: own.name, runs: false });
  processes = testProcesses(server);
  await processes.restart();
  await locationAvailable(own.name);
});
afterAll(async () => {
  await processes?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await own?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Copy extends KubeObject {
  status?: { phase?: string; message?: string; snapshotID?: string; node?: string };
}

/** The one that was made for a backup or restore. */
async function copyOf(type: ResourceRef, of: string): Promise<Copy> {
  const kind = /restore|download/.test(type.resource) ? "restore" : "backup";
  const labelSelector = `velero.io/${kind}-name=${of}`;
  const { items } = await server.kube.listAll(type, { namespace: own.name, labelSelector });
  expect(items.length).toBe(1);
  return items[0] as Copy; // by its type
}

async function create(type: ResourceRef, name: string, spec: object): Promise<void> {
  const kind = type.resource === "backups" ? "Backup" : "Restore";
  const metadata = { name, namespace: own.name };
  await server.kube.create(type, { apiVersion: "velero.io/v1", kind, metadata, spec });
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** From now on packs of files are not answered for, once `passed` of them were; resolves when one is held back. */
async function heldBack(method: "GET" | "PUT", { passed }: { passed: number }): Promise<void> {
  let seen = 0;
  const isPack = /\/kopia\/[^/]+\/p[0-9a-f]{32}-s/;
  server.proxy.setFaults({
    rates: { hang: 1 },
    only: ({ operation, url }) => operation === method && isPack.test(url) && ++seen > passed,
  });
  await until(() => seen > passed);
}

/** Cancels the copy when it is held back; it and what it is for are ended before the bucket answers again. */
async function cancel(
  [type, name]: readonly [ResourceRef, string],
  copies: ResourceRef,
  held: Promise<void>,
): Promise<void> {
  await held;
  const { metadata, status } = await copyOf(copies, name);
  expect(status).toMatchObject({ phase: "InProgress" });
  const where = { namespace: own.name, name: metadata.name };
  await server.kube.mergePatch(copies, where, { spec: { cancel: true } });
  const ended = await server.ended(type, name);
  expect(ended).toMatchObject({ status: { phase: "PartiallyFailed" } });
  const canceled = await copyOf(copies, name);
  expect(canceled.status).toMatchObject({ phase: "Canceled", message: "it was canceled" });
  expect(canceled.status?.snapshotID).toBeUndefined();
  server.proxy.setFaults({});
}

const names = async (type: ResourceRef, namespace: string): Promise<string[]> =>
  (await server.kube.listAll(type, { namespace })).items.map(({ metadata }) => metadata.name);

/** Of the data mover. */
async function isNothingLeft(): Promise<boolean> {
  const claimed = (await server.kube.listAll(VOLUMES)).items.some(
    ({ spec }) => Object(Object(spec).claimRef).namespace === own.name,
  );
  return (
    !claimed &&
    (await names(PODS, own.name)).join() === "node-agent" &&
    (await names(CLAIMS, own.name)).length === 0 &&
    (await names(SNAPSHOTS, own.name)).length === 0
  );
}

test("each kind of copy that is canceled in the middle ends as Canceled at once and leaves nothing; one whose node is lost is taken over", {
  timeout: 400_000,
}, async () => {
  await using app = await createNamespace("held");
  const { name: namespace } = app;
  const claim = { persistentVolumeClaim: { claimName: "data" } };
  await apply(claimOf(namespace), podOf(namespace, claim));
  await k("wait", "-n", namespace, "pod/p", "--for=condition=Ready", "--timeout=90s");
  const exec = ["exec", "-n", namespace, "p", "--", "sh", "-c"];
  const write = async (files: number): Promise<unknown> =>
    await kubectl(cluster, [
      ...exec,
      `for i in $(seq ${files}); do dd if=/dev/urandom of=/data/$i bs=1M count=10; done 2>/dev/null`,
    ]);
  const fs = { includedNamespaces: [namespace], defaultVolumesToFsBackup: true };
  const move = { includedNamespaces: [namespace], snapshotMoveData: true };

  await write(8);
  let held = heldBack("PUT", { passed: 1 });
  await create(VELERO.backups, "fs-not", fs);
  await cancel([VELERO.backups, "fs-not"], VELERO.podVolumeBackups, held);
  held = heldBack("PUT", { passed: 1 });
  await create(VELERO.backups, "move-not", move);
  await cancel([VELERO.backups, "move-not"], VELERO.dataUploads, held);
  await until(isNothingLeft);

  // As another agent finds it when the node is lost while its agent copies.
  held = heldBack("PUT", { passed: 1 });
  await create(VELERO.backups, "move", move);
  await held;
  await processes.kill();
  const upload = await copyOf(VELERO.dataUploads, "move");
  expect(upload.status).toMatchObject({ phase: "InProgress", node: cluster.nodeName });
  const where = { namespace: own.name, name: upload.metadata.name };
  await server.kube.mergePatch(VELERO.dataUploads, where, { status: { node: "lost" } });
  server.proxy.setFaults({});
  await processes.restart();
  const moved = await server.ended(VELERO.backups, "move");
  expect(moved).toMatchObject({ status: { phase: "Completed" } });
  await until(isNothingLeft);
  await create(VELERO.backups, "fs", fs);
  expect(await server.ended(VELERO.backups, "fs")).toMatchObject({
    status: { phase: "Completed" },
  });

  for (const [name, type] of [
    ["fs", VELERO.podVolumeRestores],
    ["move", VELERO.dataDownloads],
  ] as const) {
    await using target = await createNamespace("held-back");
    held = heldBack("GET", { passed: 1 });
    const namespaceMapping = { [namespace]: target.name };
    await create(VELERO.restores, name, { backupName: name, namespaceMapping });
    await cancel([VELERO.restores, name], type, held);
    await until(isNothingLeft);
  }
});

test("a copy whose node is gone ends as Failed with that reason, and the backup as PartiallyFailed", async () => {
  await using app = await createNamespace("lost");
  const node = `lost-${app.name}`;
  await apply({
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: node,
      labels: { "kubernetes.io/hostname": node, "kubernetes.io/os": "linux" },
      annotations: { "kwok.x-k8s.io/node": "fake" },
    },
    spec: { unschedulable: true }, // pods of other files must not come here
  });
  const agent = podOf(own.name, { emptyDir: {} }, { nodeName: node });
  agent.metadata = { ...agent.metadata, name: "lost-agent", labels: { role: "node-agent" } };
  await apply(podOf(app.name, { emptyDir: {} }, { nodeName: node }), agent);
  const ready = ["--for=condition=Ready", "--timeout=60s"];
  await k("wait", "-n", own.name, "pod/lost-agent", ...ready);
  await k("wait", "-n", app.name, "pod/p", ...ready);
  const { metadata } = await server.kube.get(PODS, { namespace: app.name, name: "p" });
  const volume = join(folder, metadata.uid ?? "", "volumes/kubernetes.io~empty-dir/data");
  mkdirSync(volume, { recursive: true });
  writeFileSync(join(volume, "file"), randomBytes(30 * 2 ** 20));

  processes.start("agent", { nodeName: node, podsFolder: folder });
  const held = heldBack("PUT", { passed: 0 });
  const spec = { includedNamespaces: [app.name], defaultVolumesToFsBackup: true };
  await create(VELERO.backups, "lost", spec);
  await held;
  expect((await copyOf(VELERO.podVolumeBackups, "lost")).status?.phase).toBe("InProgress");
  await processes.kill();
  await k("delete", "node", node);
  server.proxy.setFaults({});
  processes.start("server");
  const ended = await server.ended(VELERO.backups, "lost");
  expect(ended).toMatchObject({ status: { phase: "PartiallyFailed" } });
  expect((await copyOf(VELERO.podVolumeBackups, "lost")).status).toMatchObject({
    phase: "Failed",
    message: expect.stringMatching(/is gone$/),
  });
});

function claimOf(namespace: string): object {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", namespace },
    spec: {
      storageClassName: "csi",
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "128Mi" } },
    },
  };
}

function podOf(namespace: string, volume: object, more: object = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace },
    spec: {
      terminationGracePeriodSeconds: 0,
      ...more,
      containers: [
        {
          name: "main",
          image: cluster.image,
          command: ["sleep", "3600"],
          volumeMounts: [{ name: "data", mountPath: "/data" }],
        },
      ],
      volumes: [{ name: "data", ...volume }],
    },
  };
}
