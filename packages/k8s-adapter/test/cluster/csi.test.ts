import { CLAIMS, PODS } from "../../src/kube/core-types.ts";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { cluster, createNamespace, type Namespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CONTENTS, SNAPSHOTS } from "../../src/csi/snapshot-objects.ts";
import { LABEL } from "../../src/velero/labels.ts";
import {
  type Backup,
  type BackupRepository,
  type DataDownload,
  type DataUpload,
  VELERO,
} from "../../src/velero/resources.ts";
import { apply, k, startTestServer, type TestServer } from "./server.ts";

/** Snapshots of volumes by a real CSI driver, and their data moved into a repository and back. */

let own: Namespace;
let server: TestServer;
beforeAll(async () => {
  own = await createNamespace("csi-server");
  const settings = { uploaderType: "restic" } as const; // which the data mover has never heeded
  server = await startTestServer({ namespace: own.name, settings });
  await available(own.name);
});
const available = async (namespace: string): Promise<string> =>
  await k(
    ...["wait", "-n", namespace, "backupstoragelocation/default", "--timeout=60s"],
    "--for=jsonpath={.status.phase}=Available",
  );
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await own?.[Symbol.asyncDispose]();
});

const exec = async (namespace: string, script: string): Promise<string> =>
  await kubectl(cluster, ["exec", "-n", namespace, "app", "--", "sh", "-c", script]);
const FILL = `cd /data && mkdir -p sub/empty && echo hello > sub/a.txt && ln -s sub/a.txt link &&
  dd if=/dev/urandom of=big bs=1024 count=512 2>/dev/null && chmod 600 big && chown 1234:5678 big &&
  touch -d '2020-02-03 04:05:06' sub/a.txt`;
const LOOK = `cd /data && find . -mindepth 1 | sort | while read f; do
  stat -c '%n %F %a %u:%g %Y' "$f"; [ -f "$f" ] && [ ! -L "$f" ] && md5sum "$f"; done; true`;

function application(namespace: string): object[] {
  return [
    {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data", namespace },
      spec: {
        storageClassName: "csi",
        accessModes: ["ReadWriteOnce"],
        resources: { requests: { storage: "16Mi" } },
      },
    },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "app", namespace },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: "main",
            image: cluster.image,
            command: ["sleep", "3600"],
            volumeMounts: [{ name: "data", mountPath: "/data" }],
          },
        ],
        volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
      },
    },
  ];
}

/** An application that runs and has data: what its data looks like. */
async function start(namespace: string): Promise<string> {
  await apply(...application(namespace));
  await ready(namespace);
  await exec(namespace, FILL);
  return await exec(namespace, LOOK);
}

const ready = async (namespace: string): Promise<string> =>
  await k("wait", "-n", namespace, "pod/app", "--for=condition=Ready", "--timeout=90s");

const backUp = async (name: string, spec: object): Promise<Backup> =>
  (await server.run(VELERO.backups, { kind: "Backup", metadata: { name }, spec })) as Backup;
const restore = async (name: string, backupName: string, namespaceMapping = {}): Promise<void> => {
  const spec = { backupName, namespaceMapping };
  const done = await server.run(VELERO.restores, { kind: "Restore", metadata: { name }, spec });
  expect(done["status"]).toMatchObject({ phase: "Completed" });
};

const storedSnapshots = async (): Promise<string[]> =>
  await readdir(join(cluster.csiData, "snapshots"));
const names = async (type: typeof PODS, namespace?: string): Promise<string[]> =>
  (await server.kube.listAll(type, { namespace })).items.map(({ metadata }) => metadata.name);
const until = async (holds: () => Promise<boolean>): Promise<void> => {
  while (!(await holds())) {
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
};
const backupDeleted = async (name: string): Promise<void> => {
  const request = { kind: "DeleteBackupRequest", metadata: { name }, spec: { backupName: name } };
  const metadata = { ...request.metadata, namespace: own.name };
  const apiVersion = "velero.io/v1";
  await server.kube.create(VELERO.deleteBackupRequests, { ...request, apiVersion, metadata });
  await until(async () => !(await names(VELERO.backups, own.name)).includes(name));
};

test("claims 2, 6 and 20: a snapshot by the labelled class, a claim restored from it, and deletion with the backup", async () => {
  await using app = await createNamespace("csi-app");
  const before = await start(app.name);
  const foreign = {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshot",
    metadata: { name: "foreign", namespace: app.name },
    spec: { volumeSnapshotClassName: "csi-retain", source: { persistentVolumeClaimName: "data" } },
  };
  const earlier = new Set(await storedSnapshots());
  const backup = await backUp("snap", { includedNamespaces: [app.name] });
  expect(backup.status).toMatchObject({
    phase: "Completed",
    csiVolumeSnapshotsAttempted: 1,
    csiVolumeSnapshotsCompleted: 1,
    backupItemOperationsAttempted: 1,
    backupItemOperationsCompleted: 1,
  });
  const made = (await storedSnapshots()).filter((handle) => !earlier.has(handle));
  expect(made.length).toBe(1);
  await until(async () => (await names(SNAPSHOTS, app.name)).length === 0);
  const log = await k("get", "volumesnapshotclass", "csi", "-o", "jsonpath={.metadata.labels}");
  expect(log).toContain("velero.io/csi-volumesnapshot-class");

  // With a snapshot of somebody else's, which no backup takes up.
  await apply(foreign);
  const second = await backUp("no-snap", {
    includedNamespaces: [app.name],
    snapshotVolumes: false,
  });
  expect(second.status).toMatchObject({ phase: "Completed" });
  expect(second.status?.csiVolumeSnapshotsAttempted).toBeUndefined();
  await k("delete", "-n", app.name, "volumesnapshot/foreign");

  await using other = await createNamespace("csi-other");
  await restore("from-snap", "snap", { [app.name]: other.name });
  await ready(other.name);
  expect(await exec(other.name, LOOK)).toBe(before);
  const source = "jsonpath={.spec.dataSource.kind}";
  expect(await k("get", "-n", other.name, "pvc/data", "-o", source)).toBe("VolumeSnapshot");

  await backupDeleted("snap");
  expect(await storedSnapshots()).not.toContain(made[0]);
});

test("claims 11 and 20: without a class the claim is an error, without the feature there is no snapshot", async () => {
  await using app = await createNamespace("csi-none");
  const driver = `${app.name}.example`;
  const claim = {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", namespace: app.name },
    spec: {
      storageClassName: app.name,
      volumeName: app.name,
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "1Mi" } },
    },
  };
  await apply(
    {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name: app.name },
      provisioner: driver,
    },
    {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: app.name },
      spec: {
        storageClassName: app.name,
        capacity: { storage: "1Mi" },
        accessModes: ["ReadWriteOnce"],
        persistentVolumeReclaimPolicy: "Retain",
        csi: { driver, volumeHandle: app.name },
      },
    },
    claim,
  );
  const bound = ["--for=jsonpath={.status.phase}=Bound", "--timeout=60s"];
  await k("wait", "-n", app.name, "pvc/data", ...bound);
  const includedNamespaces = [app.name];
  const failed = await backUp("no-class", { includedNamespaces });
  expect(failed.status).toMatchObject({
    phase: "PartiallyFailed",
    errors: 1,
    csiVolumeSnapshotsAttempted: 1,
  });
  await using offNamespace = await createNamespace("csi-off");
  await using off = await startTestServer({
    namespace: offNamespace.name,
    settings: { csi: false },
  });
  await available(offNamespace.name);
  const done = await off.run(VELERO.backups, {
    kind: "Backup",
    metadata: { name: "off" },
    spec: { includedNamespaces },
  });
  expect(done["status"]).toMatchObject({ phase: "Completed" });
  await k("delete", "pv", app.name, "--wait=false");
  await k("delete", "storageclass", app.name);
});

test("data is moved out of a snapshot and back, and nothing is left", async () => {
  await using app = await createNamespace("csi-moved");
  const before = await start(app.name);
  const earlier = await storedSnapshots();
  const spec = { includedNamespaces: [app.name], snapshotMoveData: true };
  const backup = await backUp("moved", spec);
  expect(backup.status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 1 });
  const [upload] = (await server.kube.listAll(VELERO.dataUploads, { namespace: own.name }))
    .items as readonly DataUpload[];
  expect(upload?.status).toMatchObject({ phase: "Completed", node: cluster.nodeName });
  expect(upload?.metadata.labels?.[LABEL.asyncOperationId]).toMatch(/^du-/);
  const { volumeNamespace, repositoryType } = (
    await server.kube.get(VELERO.backupRepositories, {
      namespace: own.name,
      name: `${app.name}-default-kopia`,
    })
  )["spec"] as BackupRepository["spec"];
  expect({ volumeNamespace, repositoryType }).toEqual({
    volumeNamespace: app.name,
    repositoryType: "kopia",
  });
  const nothingLeft = async (): Promise<boolean> =>
    (await names(SNAPSHOTS, own.name)).length === 0 &&
    (await names(SNAPSHOTS, app.name)).length === 0 &&
    (await names(CLAIMS, own.name)).length === 0 &&
    (await names(PODS, own.name)).join() === "node-agent" &&
    !(await names(CONTENTS)).includes(upload?.metadata.name ?? "") &&
    (await storedSnapshots()).length <= earlier.length;
  await until(nothingLeft);

  await using other = await createNamespace("csi-moved-to");
  await restore("from-moved", "moved", { [app.name]: other.name });
  await ready(other.name);
  expect(await exec(other.name, LOOK)).toBe(before);
  const [download] = (await server.kube.listAll(VELERO.dataDownloads, { namespace: own.name }))
    .items as readonly DataDownload[];
  expect(download?.status).toMatchObject({ phase: "Completed" });
  await until(nothingLeft);

  await server.restart();
  await exec(app.name, "echo more > /data/more");
  const again = await backUp("moved-again", spec);
  expect(again.status).toMatchObject({ phase: "Completed" });
  const uploads = (await server.kube.listAll(VELERO.dataUploads, { namespace: own.name }))
    .items as readonly DataUpload[];
  const latest = uploads.find(({ metadata }) => metadata.name !== upload?.metadata.name);
  expect(latest?.status?.incrementalBytes).toBeLessThan(100_000);
  await backupDeleted("moved");
  await until(async () => (await names(VELERO.dataUploads, own.name)).length === 1);
});
