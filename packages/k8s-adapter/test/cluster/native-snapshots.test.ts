import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { parseBlobId } from "@varve/core/blob";
import { openS3Bucket } from "@varve/storage-s3";
import { cluster, createNamespace, type Namespace } from "@varve/testenv/kube-cluster.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KubeObject } from "../../src/kube/kube-api.ts";
import type {
  SnapshotLocationSettings,
  VolumeSnapshotter,
} from "../../src/native-snapshots/volume-snapshotter.ts";
import { type Backup, type Restore, VELERO } from "../../src/velero/resources.ts";
import { apply, k, startTestServer, type TestServer } from "./server.ts";

/** Snapshots by a provider whose volumes are folders of this machine, and whose snapshots are copies of these. */

const PROVIDER = "folders.test";

let root: string;
let own: Namespace;
let server: TestServer;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "varve-native-"));
  await mkdir(join(root, "snapshots"));
  own = await createNamespace("native-server");
  const volumeSnapshotters = {
    [PROVIDER]: (location: SnapshotLocationSettings) => Promise.resolve(openFolders(location)),
  };
  server = await startTestServer({ namespace: own.name, more: { volumeSnapshotters } });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await own?.[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

interface FolderVolume extends KubeObject {
  spec: { hostPath?: { path: string } };
}

function openFolders({ config, credential }: SnapshotLocationSettings): VolumeSnapshotter {
  if (credential !== "open sesame") {
    throw new Error("these folders are closed");
  }
  const pathOf = (volume: KubeObject): string =>
    (volume as FolderVolume).spec.hostPath?.path ?? "/"; // the schema of a volume
  const at = (folder: "volumes" | "snapshots", id: string): string => join(root, folder, id);
  return {
    volumeIdOf: (volume) =>
      dirname(pathOf(volume)) === join(root, "volumes") ? basename(pathOf(volume)) : undefined,
    withVolumeId: (volume, id) => {
      const { spec, ...rest } = volume as FolderVolume; // the schema of a volume
      return { ...rest, spec: { ...spec, hostPath: { path: at("volumes", id) } } };
    },
    volumeInfo: () => Promise.resolve({ type: "folder", iops: 100 }),
    async createSnapshot(id, { tags }) {
      if (config["full"] === "true") {
        throw new Error("there is no room");
      }
      const text = JSON.stringify([id, tags["velero.io/backup-uid"], tags["velero.io/pv"]]);
      const snapshot = createHash("sha256").update(text).digest("hex").slice(0, 16);
      await cp(at("volumes", id), at("snapshots", snapshot), { recursive: true });
      return snapshot;
    },
    async createVolume(snapshot) {
      const id = `of-${snapshot}`;
      await cp(at("snapshots", snapshot), at("volumes", id), { recursive: true });
      return id;
    },
    deleteSnapshot: (id) => rm(at("snapshots", id), { recursive: true, force: true }),
  };
}

const location = (name: string, config: Record<string, string> = {}): object => ({
  apiVersion: "velero.io/v1",
  kind: "VolumeSnapshotLocation",
  metadata: { name, namespace: own.name },
  spec: { provider: PROVIDER, config, credential: { name: "folders", key: "word" } },
});

async function backUp(name: string, spec: object): Promise<Backup> {
  const backup = { kind: "Backup", metadata: { name }, spec };
  return (await server.run(VELERO.backups, backup)) as Backup;
}

/** A claim of a volume that is a folder, and a pod that writes what it is told. */
async function start(namespace: string, text: string): Promise<void> {
  const path = join(root, "volumes", namespace);
  await mkdir(path, { recursive: true });
  const storage = { storage: "1Mi" };
  const accessModes = ["ReadWriteOnce"];
  await apply(
    {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: namespace, labels: { "topology.kubernetes.io/zone": "here" } },
      spec: {
        storageClassName: "",
        capacity: storage,
        accessModes,
        persistentVolumeReclaimPolicy: "Retain",
        claimRef: { namespace, name: "data" },
        hostPath: { path },
      },
    },
    {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data", namespace },
      spec: {
        storageClassName: "",
        volumeName: namespace,
        accessModes,
        resources: { requests: storage },
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
            command: ["sh", "-c", `[ -e /data/text ] || echo ${text} > /data/text; sleep 3600`],
            volumeMounts: [{ name: "data", mountPath: "/data" }],
          },
        ],
        volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
      },
    },
  );
  await ready(namespace);
}

const ready = async (namespace: string): Promise<string> =>
  await k("wait", "-n", namespace, "pod/app", "--for=condition=Ready", "--timeout=90s");
const read = async (namespace: string): Promise<string> =>
  (await k("exec", "-n", namespace, "app", "--", "cat", "/data/text")).trim();

async function storedFile(backup: string, file: string): Promise<unknown> {
  const { endpoint, region, accessKeyId, secretAccessKey } = server.s3;
  await using bucket = await openS3Bucket({
    ...{ endpoint, region, bucket: server.bucket, forcePathStyle: true },
    credentials: { kind: "keys", accessKeyId, secretAccessKey },
  });
  const store = bucket.store(`cluster-a/backups/${backup}/`);
  return JSON.parse(gunzipSync(await store.get(parseBlobId(`${backup}-${file}`))).toString());
}

test("claims 2 and 11: volumes by snapshots of their provider, restored from them, and deleted with the backup", async () => {
  await using app = await createNamespace("native-app");
  await start(app.name, "before");
  await apply(
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "folders", namespace: own.name },
      stringData: { word: "open sesame" },
    },
    location("one"),
    location("full", { full: "true" }),
  );
  const includedNamespaces = [app.name];

  // Two locations of a provider: one has to be chosen, and only one can be.
  for (const volumeSnapshotLocations of [undefined, ["one", "full"]]) {
    const name = `two-${volumeSnapshotLocations?.length ?? 0}`;
    const refused = await backUp(name, { includedNamespaces, volumeSnapshotLocations });
    expect(refused.status).toMatchObject({
      phase: "FailedValidation",
      validationErrors: [expect.stringContaining(`provider ${PROVIDER}`)],
    });
  }
  const failed = await backUp("failed", { includedNamespaces, volumeSnapshotLocations: ["full"] });
  expect(failed.status).toMatchObject({
    phase: "PartiallyFailed",
    errors: 1,
    volumeSnapshotsAttempted: 1,
  });
  expect(failed.status?.volumeSnapshotsCompleted).toBeUndefined();

  await k("delete", "-n", own.name, "volumesnapshotlocation/full");
  const backup = await backUp("native", { includedNamespaces });
  expect(backup.status).toMatchObject({
    phase: "Completed",
    volumeSnapshotsAttempted: 1,
    volumeSnapshotsCompleted: 1,
  });
  expect(backup.spec.volumeSnapshotLocations).toEqual(["one"]);
  const [snapshot = ""] = await readdir(join(root, "snapshots"));
  expect(await storedFile("native", "volumesnapshots.json.gz")).toEqual([
    {
      spec: {
        backupName: "native",
        backupUID: backup.metadata.uid,
        location: "one",
        persistentVolumeName: app.name,
        providerVolumeID: app.name,
        volumeType: "folder",
        volumeAZ: "here",
        volumeIOPS: 100,
      },
      status: { providerSnapshotID: snapshot, phase: "Completed" },
    },
  ]);
  expect(await storedFile("native", "volumeinfo.json.gz")).toMatchObject([
    {
      pvName: app.name,
      backupMethod: "NativeSnapshot",
      result: "succeeded",
      nativeSnapshotInfo: { snapshotHandle: snapshot, iops: "100", Phase: "Completed" },
    },
  ]);

  await k("exec", "-n", app.name, "app", "--", "sh", "-c", "echo after > /data/text");
  await using other = await createNamespace("native-other");
  const spec = { backupName: "native", namespaceMapping: { [app.name]: other.name } };
  const restore = { kind: "Restore", metadata: { name: "native" }, spec };
  const done = (await server.run(VELERO.restores, restore)) as Restore;
  expect(done.status).toMatchObject({ phase: "Completed" });
  await ready(other.name);
  expect([await read(app.name), await read(other.name)]).toEqual(["after", "before"]);
  const volume = await k("get", "-n", other.name, "pvc/data", "-o", "jsonpath={.spec.volumeName}");
  expect(volume).toMatch(/^velero-clone-[0-9a-f-]{36}$/);
  const original = String.raw`jsonpath={.metadata.annotations.velero\.io/original-pv-name}`;
  expect(await k("get", `pv/${volume}`, "-o", original)).toBe(app.name);

  const request = { kind: "DeleteBackupRequest", metadata: { name: "native" } };
  await server.kube.create(VELERO.deleteBackupRequests, {
    ...request,
    apiVersion: "velero.io/v1",
    metadata: { name: "native", namespace: own.name },
    spec: { backupName: "native" },
  });
  await k("wait", "-n", own.name, "backup/native", "--for=delete", "--timeout=60s");
  expect(await readdir(join(root, "snapshots"))).toEqual([]);
  await k("delete", "pv", app.name, volume, "--wait=false");
});
