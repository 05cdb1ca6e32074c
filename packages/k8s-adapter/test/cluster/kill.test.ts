import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cluster, createNamespace } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { afterEach, expect, test } from "vitest";
import { type PodVolumeBackup, VELERO } from "../../src/velero/resources.ts";
import { apply, k, locationAvailable, startTestServer } from "./server.ts";

/** `kill -9` of the real processes in the middle of a backup: the next ones go on, and nothing is done twice or stays behind. */

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const children = new Set<ChildProcess>();

afterEach(() => {
  for (const child of children) {
    child.kill("SIGKILL");
  }
});

function start(namespace: string, args: readonly string[]): ChildProcess {
  const flags = ["--kubeconfig", cluster.kubeconfigPath, "--namespace", namespace];
  const metrics = ["--metrics-address", "127.0.0.1:0"];
  const child = spawn(process.execPath, [program, ...flags, ...args, ...metrics], {
    stdio: "ignore",
  });
  children.add(child);
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  children.delete(child);
  child.kill("SIGKILL");
  await once(child, "exit");
}

test("a server and an agent that are killed at any phase of a backup are followed by others that end it", async () => {
  await using velero = await createNamespace("velero");
  await using app = await createNamespace("app");
  const folder = mkdtempSync(join(tmpdir(), "varve-kill-"));
  await using server = await startTestServer({
    namespace: velero.name,
    fspath: folder,
    runs: false,
  });
  await apply(pod(app.name));
  await k("wait", "-n", app.name, "pod/p", "--for=condition=Ready", "--timeout=60s");
  await kubectl(cluster, [
    ...["exec", "-n", app.name, "p", "--"],
    ...[
      "sh",
      "-c",
      "for i in $(seq 200); do dd if=/dev/urandom of=/data/$i bs=64k count=4 2>/dev/null; done",
    ],
  ]);
  const agentArgs = ["node-agent", "--node-name", cluster.nodeName, "--host-pods", cluster.podsDir];
  let processes = { server: start(velero.name, ["server"]), agent: start(velero.name, agentArgs) };
  await locationAvailable(velero.name);
  const { kube } = server;
  const volumeOf = async (backup: string): Promise<readonly PodVolumeBackup[]> => {
    const { items } = await kube.listAll(VELERO.podVolumeBackups, {
      namespace: velero.name,
      labelSelector: `velero.io/backup-name=${backup}`,
    });
    return items as readonly PodVolumeBackup[];
  };
  const moments = ["begun", "accepted", "copying", "copied"] as const;
  for (const moment of moments) {
    await kube.create(VELERO.backups, {
      apiVersion: "velero.io/v1",
      kind: "Backup",
      metadata: { name: moment, namespace: velero.name },
      spec: { includedNamespaces: [app.name], defaultVolumesToFsBackup: true },
    });
    await until(async () => {
      const backup = await kube.get(VELERO.backups, { namespace: velero.name, name: moment });
      const [volume] = await volumeOf(moment);
      const { phase } = (backup["status"] ?? {}) as { phase?: string };
      const copy = volume?.status?.phase ?? "";
      return {
        begun: phase !== undefined && !["New", "Queued", "ReadyToStart"].includes(phase),
        accepted: volume !== undefined,
        copying: copy === "InProgress" || copy === "Completed",
        copied: copy === "Completed",
      }[moment];
    });
    await Promise.all([kill(processes.server), kill(processes.agent)]);
    processes = { server: start(velero.name, ["server"]), agent: start(velero.name, agentArgs) };
    expect(await server.ended(VELERO.backups, moment)).toMatchObject({
      status: { phase: "Completed" },
    });
    const volumes = await volumeOf(moment);
    expect(volumes.map(({ status }) => status?.phase)).toEqual(["Completed"]);
  }
  // What the first has stored is found by the others: the data is there once.
  const later = await volumeOf("copied");
  expect(later[0]?.status?.incrementalBytes ?? 0).toBeLessThan(1_000_000);
  rmSync(folder, { recursive: true });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function pod(namespace: string): object {
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
      volumes: [{ name: "data", emptyDir: {} }],
    },
  };
}
