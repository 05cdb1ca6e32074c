import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cluster } from "@varve/testenv/kube-cluster.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ResourceRef } from "../../src/kube/kube-api.ts";
import type { Location } from "../../src/location/location.ts";
import { type BackupRepository, VELERO } from "../../src/velero/resources.ts";
import { backupRepositoryController } from "../../src/volume/backup-repositories.ts";
import { backUpVolume } from "../../src/volume/copy-volume.ts";
import {
  ensureVolumeRepository,
  openVolumeRepository,
} from "../../src/volume/volume-repository.ts";
import { type LocationServer, startLocationServer } from "./location-server.ts";
import { apply } from "./server.ts";

/** How repositories of volumes are maintained, and what opening one again costs. */

const folder = mkdtempSync(join(tmpdir(), "varve-repositories-"));
const at = (name: string): string => join(folder, name);
const JOBS: ResourceRef = { group: "batch", version: "v1", resource: "jobs", namespaced: true };
let server: LocationServer;

beforeAll(async () => {
  chmodSync(folder, 0o755); // pods see the program in it
  for (const name of ["bucket", "bin", "files"]) {
    mkdirSync(at(name));
  }
  server = await startLocationServer([backupRepositoryController()], {
    settings: {
      cacheFolder: at("cache"),
      maintenanceJobs: { deployment: "velero", configMap: "jobs" },
    },
  });
  await server.create(VELERO.backupStorageLocations, "default", {
    spec: {
      provider: "velero.io/fs",
      objectStorage: { bucket: "bucket" },
      config: { fspath: at("bucket") },
    },
  });
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

test("repositories are maintained by Jobs, configured as in Velero; their results are kept", async () => {
  const { namespace, kube } = server;
  await apply(...deployment(namespace), {
    apiVersion: "velero.io/v1",
    kind: "BackupRepository",
    metadata: { name: "app-default-kopia", namespace },
    spec: {
      volumeNamespace: "app",
      backupStorageLocation: "default",
      repositoryType: "kopia",
      maintenanceFrequency: "1s",
    },
  });
  type Status = NonNullable<BackupRepository["status"]>;
  const until = async (holds: (status: Status) => boolean): Promise<Status> => {
    for (;;) {
      const found = await server.find(VELERO.backupRepositories, "app-default-kopia");
      const { status = {} } = (found ?? {}) as Partial<BackupRepository>; // by its type
      if (holds(status)) {
        return status;
      }
      await server.context.environment.sleep(100);
    }
  };
  const done = await until(({ recentMaintenance = [] }) => recentMaintenance.length > 0);
  const [first] = done.recentMaintenance ?? [];
  expect(first).toEqual({
    startTimestamp: expect.stringMatching(/Z$/),
    completeTimestamp: expect.stringMatching(/Z$/),
    result: "Succeeded",
  });
  expect(Date.parse(done.lastMaintenanceTime ?? "")).toBeGreaterThanOrEqual(
    Date.parse(first?.startTimestamp ?? ""),
  );
  const { items: jobs } = await kube.listAll(JOBS, { namespace });
  expect(jobs.length).toBeLessThanOrEqual(2); // one is kept, another may run
  expect(jobs[0]?.metadata.name).toMatch(/^app-default-kopia-maintain-job-\d+$/);
  expect(jobs[0]?.metadata.labels).toMatchObject({ "velero.io/repo-name": "app-default-kopia" });
  const { template } = (jobs[0]?.["spec"] ?? {}) as { template?: { spec: object } }; // the API server's schema
  expect(template?.spec).toMatchObject({
    restartPolicy: "Never",
    hostNetwork: true,
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            {
              matchExpressions: [
                { key: "kubernetes.io/hostname", operator: "In", values: [cluster.nodeName] },
              ],
            },
          ],
        },
      },
    },
    containers: [
      {
        command: ["varve-k8s", "maintain", "app-default-kopia", `--namespace=${namespace}`],
        env: [{ name: "PATH", value: "/usr/local/bin:/bin" }],
        resources: { requests: { cpu: "20m", memory: "64Mi" } },
      },
    ],
  });

  rmSync(at("bucket/kopia/app/kopia.repository"));
  const failed = await until(
    ({ recentMaintenance = [] }) => recentMaintenance.at(-1)?.result === "Failed",
  );
  expect(failed.recentMaintenance?.at(-1)?.message).toContain("no repository in");
});

test("a repository that is opened again is not asked for its indexes again", async () => {
  const { context } = server;
  await using location = await context.locations.open("default");
  await ensureVolumeRepository(context, { location, volumeNamespace: "cached" });
  for (const name of ["a", "b", "c"]) {
    writeFileSync(join(at("files"), name), name.repeat(1000));
    const open = { location, volumeNamespace: "cached" };
    await using repository = await openVolumeRepository(context, open);
    const requester = "snapshot-pod-volume" as const;
    const source = { requester, namespace: "cached", pod: "p", volume: "v" };
    const options = { source, path: at("files"), uid: "u", parallel: 1, snapshotFolders: false };
    await backUpVolume(repository, options);
  }
  const reads = async (cacheFolder: string | undefined): Promise<readonly string[]> => {
    const read: string[] = [];
    const settings = { ...context.settings, cacheFolder };
    const counted = { location: withReads(location, read), volumeNamespace: "cached" };
    await using _ = await openVolumeRepository({ ...context, settings }, counted);
    return read.filter((id) => id.startsWith("xn"));
  };
  const all = await reads(undefined);
  expect(all.length).toBeGreaterThanOrEqual(3);
  expect(await reads(undefined)).toEqual(all);
  await reads(at("cache"));
  expect(await reads(at("cache"))).toEqual([]);
});

/** Notes which blobs of repositories are read. */
function withReads(location: Location, read: string[]): Location {
  return {
    ...location,
    repository: (volumeNamespace) =>
      new Proxy(location.repository(volumeNamespace), {
        get(store, member) {
          const value: unknown = Reflect.get(store, member, store);
          if (typeof value !== "function") {
            return value;
          }
          return (...args: readonly unknown[]): unknown => {
            if (member === "get") {
              read.push(String(args[0]));
            }
            return Reflect.apply(value, store, args);
          };
        },
      }),
  };
}

/** A server's, which is not started: the pods of its Jobs see this machine, and with it this program and the API server. */
function deployment(namespace: string): object[] {
  const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
  const flags = `--kubeconfig ${cluster.kubeconfigPath}`;
  const script = `#!/bin/sh\nexec chroot /host ${process.execPath} ${main} ${flags} "$@"\n`;
  writeFileSync(at("bin/varve-k8s"), script, { mode: 0o755 });
  const labels = { deploy: "velero" };
  const affinity = {
    nodeSelector: { matchLabels: { "kubernetes.io/hostname": cluster.nodeName } },
  };
  const podResources = { cpuRequest: "20m", memoryRequest: "64Mi" };
  return [
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "velero", namespace },
      spec: {
        replicas: 0,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            hostNetwork: true,
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: "velero",
                image: cluster.image,
                command: ["varve-k8s", "server"],
                args: ["--leader-elect"],
                env: [{ name: "PATH", value: "/usr/local/bin:/bin" }],
                readinessProbe: { httpGet: { path: "/readyz", port: 8085 } },
                volumeMounts: [
                  { name: "host", mountPath: "/host" },
                  { name: "bin", mountPath: "/usr/local/bin" },
                ],
              },
            ],
            volumes: [
              { name: "host", hostPath: { path: "/" } },
              { name: "bin", hostPath: { path: at("bin") } },
            ],
          },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "jobs", namespace },
      data: {
        global: JSON.stringify({ podResources, loadAffinity: [affinity] }),
        "app-default-kopia": JSON.stringify({ keepLatestMaintenanceJobs: 1 }),
      },
    },
  ];
}
