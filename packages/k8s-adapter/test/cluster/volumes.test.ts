import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { cluster, createNamespace, type Namespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Backup,
  type BackupSpec,
  type PodVolumeBackup,
  VELERO,
} from "../../src/velero/resources.ts";
import { apply, k, startTestServer, type TestServer } from "./server.ts";

/** Which volumes are copied, what is said of the others, and what a copy adds to the bucket, which is a folder here. */

const MARKER = "a-text-that-nobody-may-read";
const MIB = 1 << 20;
const folder = mkdtempSync(join(tmpdir(), "varve-volumes-"));
let own: Namespace;
let app: Namespace;
let server: TestServer;

beforeAll(async () => {
  [own, app] = await Promise.all([createNamespace("volumes"), createNamespace("data")]);
  const settings = { uploaderType: "restic" } as const; // as an old installation has it
  [server] = await Promise.all([
    startTestServer({ namespace: own.name, fspath: folder, settings }),
    apply(...application(app.name)),
  ]);
  await k("wait", "-n", app.name, "pod/app", "pod/elsewhere", "--for=condition=Ready");
  const bound = "--for=jsonpath={.status.phase}=Bound";
  await k("wait", "-n", app.name, "pvc", "--all", bound, "--timeout=60s");
  await exec(`cd /data && echo ${MARKER} > ${MARKER} && head -c 4194304 /dev/urandom > big && mkdir many &&
    for i in $(seq 64); do head -c 65536 /dev/urandom > many/$i; done; echo page > /claimed/page`);
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await Promise.all([own?.[Symbol.asyncDispose](), app?.[Symbol.asyncDispose]()]);
  rmSync(folder, { recursive: true });
});

const exec = async (script: string): Promise<string> =>
  await kubectl(cluster, ["exec", "-n", app.name, "app", "--", "sh", "-c", script]);

const backUp = async (name: string, spec: BackupSpec = {}): Promise<Backup> => {
  const more = { includedNamespaces: [app.name], snapshotVolumes: false, ...spec };
  const backup = { kind: "Backup", metadata: { name }, spec: more };
  return (await server.run(VELERO.backups, backup)) as Backup; // by its type
};

async function copiesOf(backup: string): Promise<readonly PodVolumeBackup[]> {
  const { items } = await server.kube.listAll(VELERO.podVolumeBackups, {
    namespace: own.name,
    labelSelector: `velero.io/backup-name=${backup}`,
  });
  return items as readonly PodVolumeBackup[]; // by their type
}

const volumesOf = async (backup: string): Promise<readonly string[]> =>
  (await copiesOf(backup)).map(({ spec }) => `${spec.pod.name}/${spec.volume}`).toSorted();

/** A file of a backup, as text. */
const fileOf = (backup: string, suffix: string): string =>
  gunzipSync(readFileSync(join(folder, "backups", backup, `${backup}${suffix}.gz`))).toString();

const storedFiles = (): readonly Buffer[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => readFileSync(join(parentPath, name)));

const storedBytes = (): number => storedFiles().reduce((sum, { length }) => sum + length, 0);

test("claims 21, 21a, 21b and 21c: volumes that cannot be copied are told of, those of other pods are copied, the old spellings work", async () => {
  const old = await backUp("old", { defaultVolumesToRestic: true });
  expect(old).toMatchObject({
    spec: { defaultVolumesToRestic: true, defaultVolumesToFsBackup: true },
    status: { phase: "PartiallyFailed", errors: 1 },
  });
  expect(await volumesOf("old")).toEqual(["app/claimed", "app/data"]);
  const copies = await copiesOf("old");
  expect(copies.map(({ spec }) => spec.uploaderType)).toEqual(["kopia", "kopia"]);
  expect(copies.map(({ status }) => status?.phase)).toEqual(["Completed", "Completed"]);
  const log = fileOf("old", "-logs");
  for (const kind of ["hostPath", "secret", "configMap", "projected", "downwardAPI"]) {
    expect(log).toContain(`${kind} volumes are not copied`);
  }
  const results = fileOf("old", "-results");
  expect(results).toContain("its pod is not scheduled");
  expect(results).toMatch(/no node-agent runs on node [^(]/);
  expect(results).toContain("restic, which is not written: Kopia copies the volumes");
  expect(fileOf("old", "-volumeinfo.json")).toContain("podvolume: its pod is not scheduled;");
  const pods = ["app", "elsewhere", "pending"].map((name) => `${app.name}/${name}`);
  expect(JSON.parse(fileOf("old", "-resource-list.json"))["v1/Pod"]).toEqual(pods);
  expect(readdirSync(folder).toSorted()).toEqual(["backups", "kopia"]);

  await k("delete", "-n", app.name, "pod/elsewhere", "--force", "--grace-period=0");
  const current = await backUp("current", { defaultVolumesToFsBackup: true });
  expect(current).toMatchObject({ status: { phase: "Completed" } });
  expect(await volumesOf("current")).toEqual(await volumesOf("old"));
  await backUp("none", { defaultVolumesToFsBackup: false });
  expect(await volumesOf("none")).toEqual([]);
});

test("claim 21a: what lies in restic repositories is refused with a message, and no pod waits for it", async () => {
  const repository = {
    apiVersion: "velero.io/v1",
    kind: "BackupRepository",
    metadata: { name: "old", namespace: own.name },
    spec: {
      ...{ volumeNamespace: "old", backupStorageLocation: "default", repositoryType: "restic" },
      ...{ resticIdentifier: "s3:x", maintenanceFrequency: "168h" },
    },
  };
  await apply(repository);
  const notReady = "--for=jsonpath={.status.phase}=NotReady";
  await k("wait", "-n", own.name, "backuprepository/old", notReady, "--timeout=30s");
  const message = "jsonpath={.status.message}";
  expect(await k("get", "-n", own.name, "backuprepository/old", "-o", message)).toContain("restic");

  const patch = { spec: { uploaderType: "restic" } };
  for (const { metadata } of await copiesOf("current")) {
    const name = { namespace: own.name, name: metadata.name };
    await server.kube.mergePatch(VELERO.podVolumeBackups, name, patch);
  }
  await using other = await createNamespace("restic");
  const restored = await server.run(VELERO.restores, {
    kind: "Restore",
    metadata: { name: "from-restic" },
    spec: {
      backupName: "current",
      namespaceMapping: { [app.name]: other.name },
      labelSelector: { matchLabels: { app: "app" } },
    },
  });
  expect(restored).toMatchObject({ status: { phase: "PartiallyFailed", errors: 2 } });
  const file = join(folder, "restores/from-restic/restore-from-restic-results.gz");
  expect(gunzipSync(readFileSync(file)).toString()).toContain("restic repository");
  const init = "jsonpath={.spec.initContainers}";
  expect(await k("get", "-n", other.name, "pod/app", "-o", init)).toBe("");
});

test("claims 39, 41, 42 and 43: each backup adds what is new, nothing can be read without the password", async () => {
  const spec = { defaultVolumesToFsBackup: true };
  /** How much the bucket and the repository grew. */
  const growth = async (name: string): Promise<readonly [stored: number, incremental: number]> => {
    const before = storedBytes();
    expect(await backUp(name, spec)).toMatchObject({ status: { phase: "Completed" } });
    const copies = await copiesOf(name);
    const data = copies.find((copy) => copy.spec.volume === "data");
    expect(data?.status?.progress?.totalBytes).toBeGreaterThan(8 * MIB);
    return [storedBytes() - before, data?.status?.incrementalBytes ?? 0];
  };
  const first = (await copiesOf("old")).find((copy) => copy.spec.volume === "data");
  expect(first?.status?.incrementalBytes).toBeGreaterThan(8 * MIB);
  const little = 0.01 * 8 * MIB;

  const unchanged = await growth("unchanged");
  expect(Math.max(...unchanged)).toBeLessThan(little);
  await exec("head -c 65536 /dev/urandom > /data/many/7");
  for (const bytes of await growth("one-file")) {
    expect(bytes).toBeGreaterThan(65_536);
    expect(bytes).toBeLessThan(65_536 + little);
  }
  await exec("cd /data && for i in 1 2 3; do cp big copy$i; done");
  expect(Math.max(...(await growth("copies")))).toBeLessThan(little);
  await exec("cd /data && mkdir -p other/place && mv many other/place/");
  expect(Math.max(...(await growth("moved")))).toBeLessThan(little);

  const files = storedFiles();
  expect(files.length).toBeGreaterThan(50);
  expect(files.filter((bytes) => bytes.includes(MARKER)).length).toBe(0);
  await apply({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "velero-repo-credentials", namespace: own.name },
    stringData: { "repository-password": "another" },
  });
  const refused = await backUp("refused", spec);
  expect(refused).toMatchObject({ status: { phase: "PartiallyFailed", errors: 2 } });
  expect(fileOf("refused", "-results")).toContain("password");
});

interface Volume {
  readonly name: string;
  readonly [source: string]: unknown;
}

function application(namespace: string): object[] {
  const claim = (name: string, storageClassName: string): object => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name, namespace, labels: { app: "app" } },
    spec: {
      storageClassName,
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "16Mi" } },
    },
  });
  const pod = (name: string, volumes: readonly Volume[], more = {}): object => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { app: name } },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "main",
          image: cluster.image,
          command: ["sleep", "3600"],
          volumeMounts: volumes.map((volume) => ({
            name: volume.name,
            mountPath: `/${volume.name}`,
          })),
        },
      ],
      volumes,
      ...more,
    },
  });
  const scratch = { name: "scratch", emptyDir: {} };
  const field = { path: "name", fieldRef: { fieldPath: "metadata.name" } };
  return [
    claim("claimed", "csi"),
    claim("waiting", "csi-immediate"),
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "conf", namespace },
      data: { a: "b" },
    },
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "key", namespace },
      stringData: { a: "b" },
    },
    pod("app", [
      { name: "data", emptyDir: {} },
      { name: "claimed", persistentVolumeClaim: { claimName: "claimed" } },
      { name: "host", hostPath: { path: "/tmp" } },
      { name: "conf", configMap: { name: "conf" } },
      { name: "key", secret: { secretName: "key" } },
      { name: "made", projected: { sources: [{ configMap: { name: "conf" } }] } },
      { name: "down", downwardAPI: { items: [field] } },
    ]),
    pod(
      "pending",
      [scratch, { name: "waiting", persistentVolumeClaim: { claimName: "waiting" } }],
      { nodeSelector: { nowhere: "true" } },
    ),
    pod("elsewhere", [scratch], { nodeName: "kwok-node-0" }),
  ];
}
