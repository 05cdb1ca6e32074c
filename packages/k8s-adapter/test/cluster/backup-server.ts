import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gunzipSync } from "node:zlib";
import { KubeConfig } from "@kubernetes/client-node";
import { parseBlobId, systemEnvironment } from "@varve/core";
import { type BlobStore, type Bucket, openFileSystemBucket } from "@varve/core/blob";
import { type KubeAccess, kubectl } from "@varve/testenv/kube.ts";
import { extract } from "tar-stream";
import type { BackupAction } from "../../src/backup/action.ts";
import { backupControllers } from "../../src/backup/controllers.ts";
import { decodeJson } from "../../src/kube/go-json.ts";
import { openKubeApi } from "../../src/kube/kube-client.ts";
import type { KubeApi, KubeObject } from "../../src/kube/kube-api.ts";
import { openResourceCatalog } from "../../src/kube/open-catalog.ts";
import { openLocations } from "../../src/location/open-locations.ts";
import { type Context, DEFAULT_SETTINGS, type Settings } from "../../src/server/context.ts";
import { Metrics } from "../../src/server/metrics.ts";
import { runControllers } from "../../src/server/run-controllers.ts";
import { type Backup, type BackupSpec, VELERO } from "../../src/velero/resources.ts";
import { backupRepositoryController } from "../../src/volume/backup-repositories.ts";
import { openPodVolumes } from "../../src/volume/open-pod-volumes.ts";
import { createAccounts } from "./accounts.ts";
import { applyDefinitions } from "./definitions.ts";

/** A server that runs Backups against a real API server, in this process, with its own account; its locations are directories. */
export interface BackupServer extends AsyncDisposable {
  readonly context: Context;
  /** Of an administrator. */
  readonly kube: KubeApi;
  readonly namespace: string;
  /** Creates one and waits for its last phase. */
  run(name: string, spec: BackupSpec, metadata?: object): Promise<Backup>;
  create(name: string, spec: BackupSpec, metadata?: object): Promise<Backup>;
  finished(name: string): Promise<Backup>;
  /** Ends the process's part, as a kill would; a new one goes on. */
  restart(): Promise<void>;
  files(backup: string, location?: string): BlobStore;
}

export async function startBackupServer(
  access: KubeAccess,
  {
    namespace,
    settings = {},
    actions = [],
    account = true,
  }: {
    readonly namespace: string;
    readonly settings?: Partial<Settings>;
    readonly actions?: readonly BackupAction[];
    /** False: it is whom `access` says. */
    readonly account?: boolean;
  },
): Promise<BackupServer> {
  await applyDefinitions(access);
  const environment = systemEnvironment();
  const config = new KubeConfig();
  config.loadFromString(access.kubeconfig);
  const kube = openKubeApi(config, { environment });
  const root = await mkdtemp(join(tmpdir(), "varve-backups-"));
  const buckets = new Map<string, Bucket>();
  const addLocation = async (name: string, more: object = {}): Promise<void> => {
    await mkdir(join(root, name));
    buckets.set(name, await openFileSystemBucket(join(root, name)));
    const location = {
      apiVersion: "velero.io/v1",
      kind: "BackupStorageLocation",
      metadata: { name, namespace },
      spec: {
        provider: "velero.io/fs",
        objectStorage: { bucket: name },
        config: { fspath: join(root, name) },
        ...more,
      },
      status: { phase: "Available" },
    };
    await kube.create(VELERO.backupStorageLocations, location);
  };
  await addLocation("default", { default: true });
  await addLocation("second");
  await addLocation("frozen", { accessMode: "ReadOnly" });
  const accounts = account ? await createAccounts(access, namespace) : undefined;
  const own = openKubeApi(accounts?.config("velero") ?? config, { environment });
  const context: Context = {
    kube: own,
    catalog: await openResourceCatalog(own),
    locations: openLocations(own, { namespace, environment }),
    namespace,
    environment,
    metrics: new Metrics(),
    settings: { ...DEFAULT_SETTINGS, itemOperationPollMs: 200, ...settings },
  };
  const podVolumes = openPodVolumes({ pollMs: 100 });
  const controllers = [...backupControllers({ actions, podVolumes }), backupRepositoryController()];
  const start = (): { stop: AbortController; running: Promise<void> } => {
    const stop = new AbortController();
    return { stop, running: runControllers(context, controllers, { signal: stop.signal }) };
  };
  let current = start();
  const stop = async (): Promise<void> => {
    current.stop.abort();
    await current.running;
  };
  const finished = async (name: string): Promise<Backup> => {
    for (;;) {
      const backup = (await kube.get(VELERO.backups, { namespace, name })) as Backup;
      const phase = backup.status?.phase ?? "";
      if (["Completed", "PartiallyFailed", "Failed", "FailedValidation"].includes(phase)) {
        return backup;
      }
      await environment.sleep(50);
    }
  };
  const create = async (name: string, spec: BackupSpec, metadata = {}): Promise<Backup> =>
    (await kube.create(VELERO.backups, {
      apiVersion: "velero.io/v1",
      kind: "Backup",
      metadata: { name, namespace, ...metadata },
      spec,
    })) as Backup;
  return {
    context,
    kube,
    namespace,
    create,
    finished,
    run: async (name, spec, metadata) => {
      await create(name, spec, metadata);
      return await finished(name);
    },
    restart: async () => {
      await stop();
      current = start();
    },
    files: (backup, location = "default") => {
      const bucket = buckets.get(location);
      if (bucket === undefined) {
        throw new Error(`no location ${location}`);
      }
      return bucket.store(`backups/${backup}/`);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await accounts?.[Symbol.asyncDispose]();
      own[Symbol.dispose]();
      kube[Symbol.dispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** Names and texts of the entries of an archive, in their order. */
export async function readTar(archive: Uint8Array): Promise<Map<string, string>> {
  const entries = new Map<string, string>();
  for await (const entry of Readable.from([gunzipSync(archive)]).pipe(extract())) {
    const parts: Uint8Array[] = [];
    for await (const part of entry) {
      parts.push(part as Uint8Array);
    }
    entries.set(entry.header.name, Buffer.concat(parts).toString("utf8"));
  }
  return entries;
}

export async function fileNames(store: BlobStore): Promise<string[]> {
  const names: string[] = [];
  for await (const { id } of store.list("")) {
    names.push(id);
  }
  return names.sort();
}

/** What lies in a backup's folder, parsed. */
export async function readBackup(
  store: BlobStore,
  name: string,
): Promise<{
  readonly json: Backup;
  readonly tar: ReadonlyMap<string, string>;
  readonly results: { errors: Result; warnings: Result };
  readonly list: Record<string, string[]>;
  readonly volumes: Record<string, unknown>[];
  readonly log: string;
}> {
  const get = (file: string): Promise<Uint8Array> => store.get(parseBlobId(file));
  const gz = async (file: string): Promise<string> =>
    gunzipSync(await get(`${name}-${file}.gz`)).toString("utf8");
  return {
    json: decodeJson(Buffer.from(await get("velero-backup.json")).toString("utf8")) as Backup,
    tar: await readTar(await get(`${name}.tar.gz`)),
    results: decodeJson(await gz("results")) as { errors: Result; warnings: Result },
    list: decodeJson(await gz("resource-list.json")) as Record<string, string[]>,
    volumes: decodeJson(await gz("volumeinfo.json")) as Record<string, unknown>[],
    log: await gz("logs"),
  };
}

export interface Result {
  velero?: string[];
  namespaces?: Record<string, string[]>;
}

export async function apply(access: KubeAccess, ...items: readonly object[]): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items };
  await kubectl(access, ["apply", "-f", "-"], JSON.stringify(list));
}

export function configMap(
  namespace: string,
  name: string,
  labels: Record<string, string> = {},
): object {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace, labels },
    data: { a: "b" },
  };
}

export function pod(
  namespace: string,
  name: string,
  {
    image,
    containers = ["main"],
    ...metadata
  }: {
    readonly image: string;
    readonly containers?: readonly string[];
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  },
): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, ...metadata },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: containers.map((container) => ({
        name: container,
        image,
        imagePullPolicy: "Never",
        command: ["sleep", "2147483647"],
        env: [{ name: "ME", value: container }],
        volumeMounts: [{ name: "data", mountPath: "/data" }],
      })),
      volumes: [{ name: "data", emptyDir: {} }],
    },
  };
}
