import { KubeConfig } from "@kubernetes/client-node";
import { systemEnvironment } from "@varve/core";
import { cluster } from "@varve/testenv/kube-cluster.ts";
import { kubectl } from "@varve/testenv/kube.ts";
import { type FaultProxy, startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { startVersitygw, type VersitygwServer } from "@varve/testenv/s3-servers.ts";
import type { KubeApi, KubeObject, ResourceRef } from "../../src/kube/kube-api.ts";
import { openKubeApi } from "../../src/kube/kube-client.ts";
import { runNodeAgentProcess, runServer, type ServerOptions } from "../../src/server/run-server.ts";
import type { Settings } from "../../src/server/context.ts";
import { type Accounts, createAccounts } from "./accounts.ts";
import { applyDefinitions } from "./definitions.ts";

/**
 * The whole adapter against the shared cluster: server and node-agent in this process, each with its own service account
 * and the roles of the manifests, their bucket on versitygw.
 */

const BUCKET = "backups";

export const k = async (...args: string[]): Promise<string> => await kubectl(cluster, args);

export async function apply(...items: readonly object[]): Promise<void> {
  const list = JSON.stringify({ apiVersion: "v1", kind: "List", items });
  await kubectl(cluster, ["apply", "-f", "-"], list);
}

export interface TestServer extends AsyncDisposable {
  readonly kube: KubeApi;
  readonly namespace: string;
  readonly s3: VersitygwServer;
  /** On the way to it, where the test runs server and agent itself. */
  readonly proxy: FaultProxy;
  readonly bucket: string;
  /** Of the server and the agent. */
  readonly accounts: Accounts;
  /** Creates an object of Velero's and gives it in its last phase. */
  run(type: ResourceRef, object: NamedObject): Promise<KubeObject>;
  ended(type: ResourceRef, name: string): Promise<KubeObject>;
  /** Ends the server and the agent, so that others can take their place. */
  stop(): Promise<void>;
  /** Ends the server and the agent as they are, and starts new ones. */
  restart(more?: Partial<ServerOptions>): Promise<void>;
}

interface NamedObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly spec: object;
}

const FINAL = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Processed"]);

export async function startTestServer({
  namespace,
  settings = {},
  fspath,
  runs = true,
  more,
}: {
  readonly namespace: string;
  /** False: the test runs server and agent itself. */
  readonly runs?: boolean;
  readonly settings?: Partial<Settings>;
  /** Of the server alone. */
  readonly more?: Partial<ServerOptions>;
  /** A folder that is the bucket, instead of S3. */
  readonly fspath?: string;
}): Promise<TestServer> {
  await applyDefinitions(cluster);
  const s3 = await startVersitygw();
  await s3.createBucket(BUCKET);
  const proxy = await startFaultProxy({ target: s3.endpoint });
  await applyLocation({ namespace, s3, endpoint: (runs ? s3 : proxy).endpoint, fspath });
  const accounts = await createAccounts(cluster, namespace);
  const environment = systemEnvironment();
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromString(cluster.kubeconfig);
  const kube = openKubeApi(kubeConfig, { environment });
  const start = (
    added?: Partial<ServerOptions>,
  ): { readonly stop: AbortController; readonly running: Promise<unknown> } => {
    const stop = new AbortController();
    const options = {
      namespace,
      environment,
      signal: stop.signal,
      settings: {
        itemOperationPollMs: 200,
        restoreWait: { image: cluster.image, command: WAIT_COMMAND },
        ...settings,
      },
    };
    const holder = { image: cluster.image, command: ["sleep", "3600"] };
    const agent = { workers: 1, progressMs: 500, holder, takeOverMs: 1000 };
    const { podsDir: podsFolder, nodeName } = cluster;
    if (!runs) {
      return { stop, running: Promise.resolve() };
    }
    const running = Promise.all([
      runServer({ ...options, kubeConfig: accounts.config("velero"), pollMs: 100, ...added }),
      runNodeAgentProcess({
        ...options,
        kubeConfig: accounts.config("node-agent"),
        nodeName,
        podsFolder,
        agent,
      }),
    ]);
    return { stop, running };
  };
  let current = start(more);
  if (runs) {
    await locationAvailable(namespace);
  }
  const stop = async (): Promise<void> => {
    current.stop.abort(new Error("the test stops it"));
    await current.running;
  };
  const ended = async (type: ResourceRef, name: string): Promise<KubeObject> => {
    for (;;) {
      const object = await kube.get(type, { namespace, name });
      if (FINAL.has(String((object["status"] as { phase?: string } | undefined)?.phase))) {
        return object;
      }
      await environment.sleep(100);
    }
  };
  return {
    kube,
    namespace,
    s3,
    proxy,
    bucket: BUCKET,
    accounts,
    ended,
    stop,
    async run(type, object) {
      const { name } = object.metadata;
      const metadata = { ...object.metadata, namespace };
      const apiVersion = `${type.group}/${type.version}`;
      await kube.create(type, { ...object, apiVersion, metadata });
      return await ended(type, name);
    },
    async restart(changed = more) {
      await stop();
      current = start(changed);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await accounts[Symbol.asyncDispose]();
      kube[Symbol.dispose]();
      await proxy.stop();
      await s3.stop();
    },
  };
}

/** A backup that comes before is not valid. */
export async function locationAvailable(namespace: string): Promise<void> {
  const condition = "--for=jsonpath={.status.phase}=Available";
  await k("wait", "-n", namespace, "backupstoragelocation/default", condition, "--timeout=60s");
}

/** As `varve-k8s restore-wait` does it, for an image that has a shell only; the Restore's UID is `$0`. */
export const WAIT_COMMAND: readonly string[] = [
  "sh",
  "-c",
  'for v in /restores/*; do while [ ! -e "$v/.velero/$0" ]; do sleep 0.2; done; done',
];

/** The location `default`, its credentials, and a pod where the server looks for the agent. */
export async function applyLocation({
  namespace,
  s3,
  endpoint = s3.endpoint,
  fspath,
}: {
  readonly namespace: string;
  readonly s3: VersitygwServer;
  /** Instead of that of `s3`. */
  readonly endpoint?: string;
  readonly fspath?: string | undefined;
}): Promise<void> {
  const { accessKeyId, secretAccessKey } = s3;
  const cloud = `[default]\naws_access_key_id=${accessKeyId}\naws_secret_access_key=${secretAccessKey}\n`;
  await apply(
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "cloud-credentials", namespace },
      stringData: { cloud },
    },
    {
      apiVersion: "velero.io/v1",
      kind: "BackupStorageLocation",
      metadata: { name: "default", namespace },
      spec:
        fspath === undefined
          ? {
              provider: "aws",
              default: true,
              objectStorage: { bucket: BUCKET, prefix: "cluster-a" },
              config: { region: "us-east-1", s3Url: endpoint, s3ForcePathStyle: "true" },
            }
          : {
              provider: "velero.io/fs",
              default: true,
              objectStorage: { bucket: BUCKET },
              config: { fspath },
            },
    },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "node-agent", namespace, labels: { role: "node-agent" } },
      spec: {
        nodeName: cluster.nodeName,
        terminationGracePeriodSeconds: 0,
        containers: [{ name: "main", image: cluster.image, command: ["sleep", "3600"] }],
      },
    },
  );
  await k("wait", "-n", namespace, "pod/node-agent", "--for=condition=Ready", "--timeout=60s");
}
