import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cluster, createNamespace, type Namespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HELD_BACK } from "../../src/csi/expose-claim.ts";
import { CONTENTS, SNAPSHOTS } from "../../src/csi/snapshot-objects.ts";
import { CLAIMS, CONFIG_MAPS, PODS, VOLUMES } from "../../src/kube/core-types.ts";
import type { KubeObject, ResourceRef } from "../../src/kube/kube-api.ts";
import {
  type DataDownload,
  type DataUpload,
  type PodVolumeBackup,
  type PodVolumeRestore,
  VELERO,
} from "../../src/velero/resources.ts";
import { type Processes, testProcesses } from "./processes.ts";
import { apply, k, locationAvailable, startTestServer, type TestServer } from "./server.ts";

/** `kill -9` of the real processes in the middle of things: the next ones go on, and nothing is done twice or stays behind. */

let own: Namespace;
let folder: string;
let server: TestServer;
let processes: Processes;
beforeAll(async () => {
  own = await createNamespace("killed");
  folder = mkdtempSync(join(tmpdir(), "varve-kill-"));
  server = await startTestServer({ namespace: own.name, fspath: folder, runs: false });
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

const BYTES = 200 * 2 ** 20;
const exec = async (namespace: string, script: string): Promise<string> =>
  await kubectl(cluster, ["exec", "-n", namespace, "p", "-c", "main", "--", "sh", "-c", script]);
const fill = async (namespace: string): Promise<string> =>
  await exec(
    namespace,
    "for i in $(seq 100); do dd if=/dev/urandom of=/data/$i bs=1M count=2 2>/dev/null; done",
  );
const look = async (namespace: string): Promise<string> =>
  await exec(namespace, "cd /data && find . -type f | sort | xargs md5sum");
const ready = async (namespace: string): Promise<string> =>
  await k("wait", "-n", namespace, "pod/p", "--for=condition=Ready", "--timeout=90s");

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + 120_000;
  while (!(await holds())) {
    if (Date.now() > endMs) {
      throw new Error(`not seen: ${holds.toString()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What was made for one backup or restore. */
async function all<T extends KubeObject>(type: ResourceRef, of: string): Promise<readonly T[]> {
  const kind = /restore|download/.test(type.resource) ? "restore" : "backup";
  const labelSelector = `velero.io/${kind}-name=${of}`;
  const { items } = await server.kube.listAll(type, { namespace: own.name, labelSelector });
  return items as readonly T[]; // by their type
}
const names = async (type: ResourceRef, namespace?: string): Promise<string[]> =>
  (await server.kube.listAll(type, { namespace })).items.map(({ metadata }) => metadata.name);
const phaseOf = (object: KubeObject | undefined): string =>
  (object?.["status"] as { phase?: string } | undefined)?.phase ?? "";
const bytesOf = (object: KubeObject | undefined): number =>
  (object?.["status"] as { progress?: { bytesDone?: number } } | undefined)?.progress?.bytesDone ??
  0;

async function create(type: ResourceRef, name: string, spec: object): Promise<void> {
  const kind = type.resource === "backups" ? "Backup" : "Restore";
  const metadata = { name, namespace: own.name };
  await server.kube.create(type, { apiVersion: "velero.io/v1", kind, metadata, spec });
}

/** Packs that were ever stored for the volumes of a namespace: what is half written still has another ending. */
function stored(namespace: string): { readonly packs: number; readonly bytes: number } {
  const kopia = join(folder, "kopia", namespace);
  const all = existsSync(kopia) ? readdirSync(kopia) : [];
  const packs = all.filter((name) => /^[pq]\w+-s\w+$/.test(name));
  const bytes = packs.reduce((sum, name) => sum + statSync(join(kopia, name)).size, 0);
  return { packs: packs.length, bytes };
}

// A pack has 20 MiB: some were stored then, and no index names them yet.
const IN_THE_MIDDLE = 3;
// Nothing that was stored is stored again.
const MOST_BYTES = BYTES * 1.02;

// Twenty processes are started, which takes long on a machine that has other things to do.
const LONG_MS = 600_000;

test("a server and an agent that are killed at any phase of a backup or restore are followed by others that end it", {
  timeout: LONG_MS,
}, async () => {
  await using app = await createNamespace("app");
  await apply(settings(app.name), pod(app.name, { emptyDir: {} }));
  await ready(app.name);
  await fill(app.name);
  const before = await look(app.name);
  for (const moment of ["copying", "begun", "copied"] as const) {
    const spec = { includedNamespaces: [app.name], defaultVolumesToFsBackup: true };
    await create(VELERO.backups, moment, spec);
    await until(async () => {
      const where = { namespace: own.name, name: moment };
      const phase = phaseOf(await server.kube.get(VELERO.backups, where));
      const [volume] = await all<PodVolumeBackup>(VELERO.podVolumeBackups, moment);
      const isCopied = phaseOf(volume) === "Completed";
      return {
        copying: isCopied || stored(app.name).packs >= IN_THE_MIDDLE,
        begun: !["", "New", "Queued", "ReadyToStart"].includes(phase),
        copied: isCopied,
      }[moment];
    });
    await processes.restart();
    const ended = await server.ended(VELERO.backups, moment);
    expect(ended).toMatchObject({ status: { phase: "Completed" } });
    expect(stored(app.name).bytes).toBeLessThan(MOST_BYTES);
    const volumes = await all(VELERO.podVolumeBackups, moment);
    expect(volumes.map(phaseOf)).toEqual(["Completed"]);
  }

  await using target = await createNamespace("app-restored");
  const back = { backupName: "copied", namespaceMapping: { [app.name]: target.name } };
  await create(VELERO.restores, "back", back);
  const restores = async (): Promise<readonly PodVolumeRestore[]> =>
    await all(VELERO.podVolumeRestores, "back");
  const reached: readonly (() => Promise<boolean>)[] = [
    async () => (await names(CONFIG_MAPS, target.name)).includes("settings"),
    async () => bytesOf((await restores())[0]) > 0,
    async () => phaseOf((await restores())[0]) === "Completed",
  ];
  for (const isReached of reached) {
    await until(isReached);
    await processes.restart();
  }
  const ended = await server.ended(VELERO.restores, "back");
  expect(ended).toMatchObject({ status: { phase: "Completed" } });
  expect((await restores()).map(phaseOf)).toEqual(["Completed"]);
  expect(await cli("restore", "logs", "back")).toContain('msg="restored"');
  await ready(target.name);
  expect(await look(target.name)).toBe(before);
  await until(async () => !(await exec(target.name, "ls -A /data")).includes(".velero"));
});

test("a server and agents that are killed while data is moved, on a lost node too, leave nothing behind", {
  timeout: LONG_MS,
}, async () => {
  await using app = await createNamespace("moved");
  await apply(claim(app.name), pod(app.name, { persistentVolumeClaim: { claimName: "data" } }));
  await ready(app.name);
  await fill(app.name);
  const before = await look(app.name);
  const spec = { includedNamespaces: [app.name], snapshotMoveData: true };
  const upload = async (of: string): Promise<DataUpload | undefined> =>
    (await all<DataUpload>(VELERO.dataUploads, of))[0];
  const handle = await volumeHandle(app.name);
  const nothingLeft = async (): Promise<boolean> =>
    (await names(SNAPSHOTS, own.name)).length === 0 &&
    (await names(SNAPSHOTS, app.name)).length === 0 &&
    (await names(CLAIMS, own.name)).length === 0 &&
    (await names(PODS, own.name)).join() === "node-agent" &&
    (await names(CONFIG_MAPS, own.name)).join() === "kube-root-ca.crt" &&
    !(await names(CONTENTS)).some((name) => name.startsWith("killed-move")) &&
    (await volumesOf(own.name)).length === 0 &&
    !storedSnapshots().includes(handle);

  // An agent accepts it and is lost with its node; the agent of another node takes over.
  await processes.kill();
  processes.start("server");
  processes.start("agent", { nodeName: "lost" });
  await create(VELERO.backups, "killed-move", spec);
  await until(async () => (await upload("killed-move"))?.status?.acceptedByNode === "lost");
  await processes.restart();
  await until(async () => {
    const isMoved = phaseOf(await upload("killed-move")) === "Completed";
    return isMoved || stored(app.name).packs >= IN_THE_MIDDLE;
  });
  await processes.restart();
  expect(await server.ended(VELERO.backups, "killed-move")).toMatchObject({
    status: { phase: "Completed", backupItemOperationsCompleted: 1 },
  });
  expect((await all(VELERO.dataUploads, "killed-move")).map(phaseOf)).toEqual(["Completed"]);
  await until(async () => await nothingLeft());
  expect(stored(app.name).bytes).toBeLessThan(MOST_BYTES);

  await using target = await createNamespace("moved-back");
  const back = { backupName: "killed-move", namespaceMapping: { [app.name]: target.name } };
  await create(VELERO.restores, "killed-move-back", back);
  const download = async (): Promise<DataDownload | undefined> =>
    (await all<DataDownload>(VELERO.dataDownloads, "killed-move-back"))[0];
  const filled = async (): Promise<boolean> =>
    (await server.kube.listAll(VOLUMES, { labelSelector: HELD_BACK })).items.some(({ metadata }) =>
      metadata.labels?.[HELD_BACK]?.startsWith(target.name),
    );
  const moments: readonly (() => Promise<boolean>)[] = [
    async () => bytesOf(await download()) > 0,
    async () => (await filled()) || phaseOf(await download()) === "Completed",
    async () => phaseOf(await download()) === "Completed",
  ];
  for (const isReached of moments) {
    await until(isReached);
    await processes.restart();
  }
  expect(await server.ended(VELERO.restores, "killed-move-back")).toMatchObject({
    status: { phase: "Completed", restoreItemOperationsCompleted: 1 },
  });
  expect((await all(VELERO.dataDownloads, "killed-move-back")).map(phaseOf)).toEqual(["Completed"]);
  await ready(target.name);
  expect(await look(target.name)).toBe(before);
  await until(async () => await nothingLeft());

  await create(VELERO.backups, "killed-move-not", spec);
  await until(async () => (await upload("killed-move-not")) !== undefined);
  await cancel(VELERO.dataUploads, (await upload("killed-move-not"))?.metadata.name ?? "");
  expect(await server.ended(VELERO.backups, "killed-move-not")).toMatchObject({
    status: { phase: "PartiallyFailed", backupItemOperationsFailed: 1 },
  });
  expect(phaseOf(await upload("killed-move-not"))).toBe("Canceled");
  await until(async () => await nothingLeft());
});

interface Bound {
  readonly spec?: {
    readonly claimRef?: { readonly namespace?: string };
    readonly csi?: { readonly volumeHandle?: string };
  };
}

/** That claims of this namespace have. */
async function volumesOf(namespace: string): Promise<readonly Bound[]> {
  const volumes = (await server.kube.listAll(VOLUMES)).items as readonly Bound[]; // their schema
  return volumes.filter(({ spec }) => spec?.claimRef?.namespace === namespace);
}

async function volumeHandle(namespace: string): Promise<string> {
  const [volume] = await volumesOf(namespace);
  return volume?.spec?.csi?.volumeHandle ?? "";
}

/** The volumes of which the storage has a snapshot, as its driver notes them. */
function storedSnapshots(): string[] {
  const folder = join(cluster.csiData, "snapshots");
  return readdirSync(folder).map((id) => {
    try {
      return String(Object(JSON.parse(readFileSync(join(folder, id, "meta.json"), "utf8"))).Source);
    } catch {
      return ""; // another test's, which goes just now
    }
  });
}

/** What `varve-k8s` prints. */
async function cli(...args: string[]): Promise<string> {
  const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
  const flags = ["--kubeconfig", cluster.kubeconfigPath, "--namespace", own.name];
  return (await promisify(execFile)(process.execPath, [program, ...flags, ...args])).stdout;
}

async function cancel(type: ResourceRef, name: string): Promise<void> {
  await server.kube.mergePatch(type, { namespace: own.name, name }, { spec: { cancel: true } });
}

function claim(namespace: string): object {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", namespace },
    spec: {
      storageClassName: "csi",
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "256Mi" } },
    },
  };
}

/** Restored before pods. */
function settings(namespace: string): object {
  const metadata = { name: "settings", namespace };
  return { apiVersion: "v1", kind: "ConfigMap", metadata, data: { a: "b" } };
}

function pod(namespace: string, volume: object): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace },
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
      volumes: [{ name: "data", ...volume }],
    },
  };
}
