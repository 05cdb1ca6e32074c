import { KubeConfig } from "@kubernetes/client-node";
import { type Environment, systemEnvironment } from "@varve/core";
import { cluster, createNamespace } from "@varve/testenv/kube-cluster.ts";
import { openKubeApi } from "../../src/kube/kube-client.ts";
import {
  isKubeError,
  type KubeApi,
  type KubeObject,
  type ResourceRef,
} from "../../src/kube/kube-api.ts";
import { openResourceCatalog } from "../../src/kube/open-catalog.ts";
import { openLocations } from "../../src/location/open-locations.ts";
import { type Context, DEFAULT_SETTINGS, type Settings } from "../../src/server/context.ts";
import type { Controller } from "../../src/server/controller.ts";
import { Metrics } from "../../src/server/metrics.ts";
import { runControllers } from "../../src/server/run-controllers.ts";
import { createAccounts } from "./accounts.ts";
import { applyDefinitions } from "./definitions.ts";

/** Some controllers in this process, in a namespace of their own of the real API server, with the server's own account. */
export interface LocationServer extends AsyncDisposable {
  readonly context: Context;
  /** Of an administrator. */
  readonly kube: KubeApi;
  readonly namespace: string;
  create(type: ResourceRef, name: string, content: object): Promise<KubeObject>;
  /** `undefined` when there is none. */
  find(type: ResourceRef, name: string): Promise<KubeObject | undefined>;
  names(type: ResourceRef): Promise<string[]>;
  /** A secret as text. */
  secret(name: string, data: Readonly<Record<string, string>>): Promise<void>;
  /** Ends what runs, as a kill would. */
  stop(): Promise<void>;
}

const KINDS: Readonly<Record<string, string>> = {
  backups: "Backup",
  restores: "Restore",
  schedules: "Schedule",
  backupstoragelocations: "BackupStorageLocation",
  deletebackuprequests: "DeleteBackupRequest",
  downloadrequests: "DownloadRequest",
  serverstatusrequests: "ServerStatusRequest",
};

export async function startLocationServer(
  controllers: readonly Controller[],
  {
    settings = {},
    environment = systemEnvironment(),
  }: { readonly settings?: Partial<Settings>; readonly environment?: Environment } = {},
): Promise<LocationServer> {
  await applyDefinitions(cluster);
  const owned = await createNamespace("location");
  const namespace = owned.name;
  const config = new KubeConfig();
  config.loadFromString(cluster.kubeconfig);
  const kube = openKubeApi(config, { environment });
  const accounts = await createAccounts(cluster, namespace);
  const own = openKubeApi(accounts.config("velero"), { environment });
  const locations = openLocations(own, { namespace, environment });
  const context: Context = {
    kube: own,
    catalog: await openResourceCatalog(own),
    locations,
    namespace,
    environment,
    metrics: new Metrics(),
    settings: { ...DEFAULT_SETTINGS, ...settings },
  };
  const end = new AbortController();
  const running = runControllers(context, controllers, { signal: end.signal });
  const stop = async (): Promise<void> => {
    end.abort();
    await running;
  };
  const create = (type: ResourceRef, name: string, content: object): Promise<KubeObject> =>
    kube.create(type, {
      apiVersion: type.group === "" ? "v1" : `${type.group}/${type.version}`,
      kind: KINDS[type.resource] ?? "Secret",
      ...content,
      metadata: { name, namespace, ...Object(content).metadata },
    });
  return {
    context,
    kube,
    namespace,
    create,
    stop,
    async find(type, name) {
      try {
        return await kube.get(type, { namespace, name });
      } catch (error) {
        if (isKubeError(error, "not-found")) {
          return undefined;
        }
        throw error;
      }
    },
    async names(type) {
      const { items } = await kube.listAll(type, { namespace });
      return items.map(({ metadata }) => metadata.name).toSorted();
    },
    async secret(name, data) {
      const type = { group: "", version: "v1", resource: "secrets", namespaced: true };
      const encoded = Object.entries(data).map(([key, text]) => [
        key,
        Buffer.from(text).toString("base64"),
      ]);
      await kube.delete(type, { namespace, name });
      await create(type, name, { data: Object.fromEntries(encoded) });
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await locations[Symbol.asyncDispose]();
      own[Symbol.dispose]();
      kube[Symbol.dispose]();
      await accounts[Symbol.asyncDispose]();
      await owned[Symbol.asyncDispose]();
    },
  };
}

const environment = systemEnvironment();
const PATIENCE_MS = 30_000;

/** Asks until the answer is there. */
export async function eventually<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const untilMs = environment.nowMs() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) {
      return answer;
    }
    if (environment.nowMs() > untilMs) {
      throw new Error(`not seen: ${what}`);
    }
    await environment.sleep(100);
  }
}
