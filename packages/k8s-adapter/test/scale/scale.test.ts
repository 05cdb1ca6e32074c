import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemEnvironment } from "@varve/core";
import { cluster, createNamespace } from "@varve/testenv/kube-cluster.ts";
import { expect, test } from "vitest";
import { CONFIG_MAPS, NAMESPACES } from "../../src/kube/core-types.ts";
import type { KubeObject, ResourceRef } from "../../src/kube/kube-api.ts";
import {
  type Backup,
  type PodVolumeBackup,
  type Restore,
  VELERO,
} from "../../src/velero/resources.ts";
import {
  apply,
  k,
  locationAvailable,
  startTestServer,
  type TestServer,
} from "../cluster/server.ts";

/**
 * Large clusters and large volumes, with the real processes: how long, and how much memory. Minutes long, so it runs when
 * it is asked for: `VARVE_SCALE=1 npx vitest run --project scale`; `VARVE_SCALE=0.1` is a tenth of it.
 */

const scale = Number(process.env["VARVE_SCALE"] ?? 1);
const environment = systemEnvironment();
const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const MIB = 2 ** 20;

test("10,000 objects in 50 namespaces are backed up and restored", {
  timeout: 1_800_000,
}, async () => {
  const namespaces = Array.from({ length: 50 }, (_, index) => `scale-${index}`);
  const each = Math.ceil((10_000 * scale) / namespaces.length);
  await using own = await createNamespace("scale-server");
  const folder = mkdtempSync(join(tmpdir(), "varve-scale-"));
  const { name: namespace } = own;
  await using tools = await startTestServer({ namespace, fspath: folder, runs: false });
  await createObjects(tools, namespaces, each);
  await using server = start(namespace, ["server"]);
  await locationAvailable(namespace);
  const idleMib = peakMib(server.child);

  const backedUp = await timed(async () => {
    const backup = (await tools.run(VELERO.backups, {
      kind: "Backup",
      metadata: { name: "all" },
      spec: { includedNamespaces: namespaces },
    })) as Backup; // by its type
    expect(backup.status?.phase).toBe("Completed");
    expect(backup.status?.progress?.itemsBackedUp).toBeGreaterThanOrEqual(each * 50);
    return backup.status?.progress?.itemsBackedUp ?? 0;
  });
  const backupMib = peakMib(server.child);
  const backupCpu = cpuSeconds(server.child);
  const restored = await timed(async () => {
    const namespaceMapping = Object.fromEntries(namespaces.map((name) => [name, `${name}-again`]));
    const restore = (await tools.run(VELERO.restores, {
      kind: "Restore",
      metadata: { name: "again" },
      spec: { backupName: "all", namespaceMapping },
    })) as Restore; // by its type
    expect(restore.status?.phase).toBe("Completed");
    return restore.status?.progress?.itemsRestored ?? 0;
  });
  const { items } = await tools.kube.listAll(CONFIG_MAPS, { namespace: "scale-7-again" });
  expect(items.length).toBeGreaterThanOrEqual(each / 2);
  tell(`backup: ${backedUp.value} objects in ${backedUp.seconds} s, restore: ${restored.value} in
    ${restored.seconds} s; memory of the server: ${idleMib} MiB idle, ${backupMib} MiB after the backup,
    ${peakMib(server.child)} MiB after the restore; its CPU: ${backupCpu} s, ${cpuSeconds(server.child)} s`);
  rmSync(folder, { recursive: true });
});

test("200,000 small files in a volume are backed up within 512 MiB", {
  timeout: 1_800_000,
}, async () => {
  await using own = await createNamespace("scale-files");
  await using app = await createNamespace("scale-app");
  const folder = mkdtempSync(join(tmpdir(), "varve-scale-"));
  const { name: namespace } = own;
  await using tools = await startTestServer({ namespace, fspath: folder, runs: false });
  await apply(pod(app.name));
  await k("wait", "-n", app.name, "pod/p", "--for=condition=Ready", "--timeout=60s");
  const uid = await k("get", "-n", app.name, "pod/p", "-o", "jsonpath={.metadata.uid}");
  const files = writeFiles(join(cluster.podsDir, uid, "volumes/kubernetes.io~empty-dir/data"));
  const node = ["--node-name", cluster.nodeName, "--host-pods", cluster.podsDir];
  await using _server = start(namespace, ["server"]);
  await using agent = start(namespace, ["node-agent", ...node, "--max-memory", "512"]);
  await locationAvailable(namespace);
  const backUp = async (name: string): Promise<PodVolumeBackup> => {
    const spec = { includedNamespaces: [app.name], defaultVolumesToFsBackup: true };
    const backup = await tools.run(VELERO.backups, { kind: "Backup", metadata: { name }, spec });
    expect((backup as Backup).status?.phase).toBe("Completed");
    const labelSelector = `velero.io/backup-name=${name}`;
    const { items } = await tools.kube.listAll(VELERO.podVolumeBackups, {
      namespace,
      labelSelector,
    });
    return items[0] as PodVolumeBackup; // by its type
  };
  const first = await timed(async () => await backUp("first"));
  const firstMib = peakMib(agent.child);
  const firstCpu = cpuSeconds(agent.child);
  const second = await timed(async () => await backUp("second"));
  expect(second.value.status?.incrementalBytes).toBeLessThan(0.01 * files * 2048);
  tell(`${files} files of 2 KiB: first backup ${first.seconds} s, unchanged again ${second.seconds} s;
    memory of the agent: ${firstMib} MiB and ${peakMib(agent.child)} MiB; its CPU: ${firstCpu} s, ${cpuSeconds(agent.child)} s`);
  expect(peakMib(agent.child)).toBeLessThan(512);
  rmSync(folder, { recursive: true });
});

interface Running extends AsyncDisposable {
  readonly child: ChildProcess;
}

function start(namespace: string, args: readonly string[]): Running {
  const flags = ["--kubeconfig", cluster.kubeconfigPath, "--namespace", namespace];
  const metrics = ["--metrics-address", "127.0.0.1:0"];
  const child = spawn(process.execPath, [program, ...flags, ...args, ...metrics], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return {
    child,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
    },
  };
}

/** The most it has had in memory at a time. */
function peakMib({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round((Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024) / MIB);
}

/** Of the processor, so far: what machines that do other work, too, can compare. */
function cpuSeconds({ pid }: ChildProcess): number {
  const [user = "0", system = "0"] = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ").slice(13);
  return Math.round((Number(user) + Number(system)) / 100); // in hundredths
}

async function timed<T>(work: () => Promise<T>): Promise<{ value: T; seconds: number }> {
  const startMs = environment.nowMs();
  const value = await work();
  return { value, seconds: Math.round((environment.nowMs() - startMs) / 100) / 10 };
}

function tell(text: string): void {
  process.stdout.write(`${text.replaceAll(/\s+/g, " ")}\n`);
}

/** Half of them ConfigMaps of 2 KB, a quarter each Secrets and Services without a selector. */
async function createObjects(
  { kube }: TestServer,
  namespaces: readonly string[],
  each: number,
): Promise<void> {
  const core = (resource: string): ResourceRef => ({ ...CONFIG_MAPS, resource });
  const one = (namespace: string, index: number): [ResourceRef, KubeObject] => {
    const metadata = {
      name: `o-${index}`,
      namespace,
      labels: { app: "scale", part: `${index % 7}` },
    };
    const apiVersion = "v1";
    switch (index % 4) {
      case 0:
        return [core("secrets"), { apiVersion, kind: "Secret", metadata, stringData: { a: "b" } }];
      case 1: {
        const spec = { clusterIP: "None", ports: [{ port: 80 }] };
        return [core("services"), { apiVersion, kind: "Service", metadata, spec }];
      }
      default: {
        const data = { text: `${namespace} ${index} `.repeat(120) };
        return [CONFIG_MAPS, { apiVersion, kind: "ConfigMap", metadata, data }];
      }
    }
  };
  const queue = namespaces.values();
  const worker = async (): Promise<void> => {
    for (const namespace of queue) {
      const metadata = { name: namespace };
      await kube.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata });
      for (let index = 0; index < each; index++) {
        await kube.create(...one(namespace, index));
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

/** 100 to a folder; gives their number. */
function writeFiles(root: string): number {
  const count = Math.ceil(200_000 * scale);
  for (let index = 0; index < count; index++) {
    const folder = join(root, `d${Math.floor(index / 100)}`);
    if (index % 100 === 0) {
      mkdirSync(folder, { recursive: true });
    }
    writeFileSync(
      join(folder, `f${index}`),
      `file ${index} of a volume\n`.repeat(85).slice(0, 2048),
    );
  }
  return count;
}

function pod(namespace: string): object {
  const volumeMounts = [{ name: "data", mountPath: "/data" }];
  const command = ["sleep", "7200"];
  const containers = [{ name: "main", image: cluster.image, command, volumeMounts }];
  const volumes = [{ name: "data", emptyDir: {} }];
  const spec = { terminationGracePeriodSeconds: 0, containers, volumes };
  return { apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace }, spec };
}
