import type { RequestOptions } from "node:https";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Environment } from "@varve/core";
import { backupControllers } from "../backup/controllers.ts";
import { csiBackupActions } from "../csi/backup-actions.ts";
import { csiDeleteAction } from "../csi/delete-snapshots.ts";
import { csiRestoreActions } from "../csi/restore-actions.ts";
import { deletionControllers } from "../deletion/expiry-controller.ts";
import { downloadControllers } from "../download/download-controllers.ts";
import { imageBackupActions } from "../images/backup-actions.ts";
import type { ImageOptions } from "../images/image-options.ts";
import { imageRestoreActions } from "../images/restore-actions.ts";
import { openKubeApi } from "../kube/kube-client.ts";
import { openResourceCatalog } from "../kube/open-catalog.ts";
import { openLocations } from "../location/open-locations.ts";
import { locationControllers } from "../location/sync-controller.ts";
import { nativeSnapshotBackupAction } from "../native-snapshots/backup-action.ts";
import { nativeSnapshotDeleteAction } from "../native-snapshots/delete-action.ts";
import { volumeRestorer } from "../native-snapshots/restore-volume.ts";
import type { VolumeSnapshotters } from "../native-snapshots/volume-snapshotter.ts";
import { runNodeAgent } from "../node-agent/run-node-agent.ts";
import type { NodeAgentOptions } from "../node-agent/run-node-agent.ts";
import { restoreControllers } from "../restore/controllers.ts";
import { scheduleControllers } from "../schedule/schedule-controller.ts";
import { type BackupRepository, VELERO } from "../velero/resources.ts";
import { backupRepositoryController } from "../volume/backup-repositories.ts";
import { maintainRepository } from "../volume/maintenance.ts";
import { openPodVolumes } from "../volume/open-pod-volumes.ts";
import { type Context, DEFAULT_SETTINGS, type Settings } from "./context.ts";
import type { Controller } from "./controller.ts";
import { serveHttp } from "./http.ts";
import { runAsLeader } from "./leader.ts";
import { Metrics } from "./metrics.ts";
import { runControllers } from "./run-controllers.ts";

/** The server and the node-agent as functions: everything that they need comes in, nothing of the process is touched. */

export interface ProcessOptions {
  /** Of `@kubernetes/client-node`: `loadFromDefault()`, `loadFromCluster()`. */
  readonly kubeConfig: KubeConfig;
  /** Where Velero's resources live. */
  readonly namespace: string;
  /** The clock, chance, and where the log goes. */
  readonly environment: Environment;
  readonly settings?: Partial<Settings> | undefined;
  /** Where probes and metrics are served, as `:8085`; left out: nowhere. */
  readonly metricsAddress?: string | undefined;
  /** Ends it in good order. */
  readonly signal: AbortSignal;
}

export interface ServerOptions extends ProcessOptions {
  /** Different for every process, as the name of its pod; left out: no election, for where one server only can run. */
  readonly identity?: string | undefined;
  /** Between looks at what is waited for, default 1 second. */
  readonly pollMs?: number | undefined;
  readonly version?: string | undefined;
  /** Of volumes that no CSI driver snapshots, by the provider of VolumeSnapshotLocations; default: none. */
  readonly volumeSnapshotters?: VolumeSnapshotters | undefined;
  /** How the registry is reached whose images are stored with OpenShift's image streams; false: they are not. */
  readonly images?: ImageOptions | false | undefined;
}

const LEASE_NAME = "varve-k8s-server";

/** Resolves when the signal has aborted and all work has ended. Throws when the lease is lost: start it again. */
export async function runServer(options: ServerOptions): Promise<void> {
  await withContext(options, async (context, setReady) => {
    const { signal, identity } = options;
    const work = async (held: { readonly signal: AbortSignal }): Promise<void> => {
      setReady();
      await runControllers(context, serverControllers(options), held);
    };
    await (identity === undefined
      ? work({ signal })
      : runAsLeader(context, { name: LEASE_NAME, identity, signal }, work));
  });
}

/** The agent of one node. Resolves when the signal has aborted and nothing runs any more. */
export async function runNodeAgentProcess(
  options: ProcessOptions &
    Omit<NodeAgentOptions, "signal" | "settings"> & {
      readonly agent?: NodeAgentOptions["settings"];
    },
): Promise<void> {
  await withContext(options, async (context, setReady) => {
    setReady();
    const { nodeName, podsFolder, agent, signal } = options;
    await runNodeAgent(context, { nodeName, podsFolder, settings: agent, signal });
  });
}

/** What a maintenance Job does. Throws what engine and storage throw. */
export async function maintainOne(
  options: ProcessOptions & { readonly repository: string },
): Promise<void> {
  await withContext(options, async (context) => {
    const { namespace, signal, repository: name } = options;
    const found = await context.kube.get(
      VELERO.backupRepositories,
      { namespace, name },
      { signal },
    );
    await maintainRepository(context, found as BackupRepository, { signal }); // by its type
  });
}

function serverControllers(options: ServerOptions): Controller[] {
  const { pollMs = 1000, version = "0.1.0", kubeConfig, volumeSnapshotters = {} } = options;
  const images = options.images !== false && {
    token: () => tokenOf(kubeConfig),
    ...options.images,
  };
  const podVolumes = openPodVolumes({ pollMs });
  const backupActions = [
    ...csiBackupActions(),
    nativeSnapshotBackupAction(volumeSnapshotters),
    ...(images ? imageBackupActions(images) : []),
  ];
  const restoreActions = [...csiRestoreActions(), ...(images ? imageRestoreActions(images) : [])];
  return [
    ...locationControllers(),
    backupRepositoryController(),
    ...backupControllers({ podVolumes, actions: backupActions }),
    ...restoreControllers({
      podVolumes,
      pollMs,
      actions: restoreActions,
      restoreVolume: volumeRestorer(volumeSnapshotters, { pollMs }),
    }),
    ...scheduleControllers(),
    ...deletionControllers({
      actions: [csiDeleteAction(), nativeSnapshotDeleteAction(volumeSnapshotters)],
    }),
    ...downloadControllers({ version, plugins: [] }),
  ];
}

/** Of the service account, or the user, that the API server sees; undefined when that goes by certificate. */
async function tokenOf(kubeConfig: KubeConfig): Promise<string | undefined> {
  const options: RequestOptions = {};
  await kubeConfig.applyToHTTPSOptions(options);
  const { Authorization: value } = Object(options.headers) as { Authorization?: unknown };
  return typeof value === "string" ? /^Bearer (.+)$/.exec(value)?.[1] : undefined;
}

async function withContext(
  options: ProcessOptions,
  work: (context: Context, setReady: () => void) => Promise<void>,
): Promise<void> {
  const { kubeConfig, namespace, environment, metricsAddress, signal } = options;
  using kube = openKubeApi(kubeConfig, { environment });
  const metrics = new Metrics();
  let ready = false;
  await using _endpoint =
    metricsAddress === undefined
      ? undefined
      : await serveHttp({ address: metricsAddress, metrics, isReady: () => ready });
  await using locations = openLocations(kube, { namespace, environment });
  const context: Context = {
    kube,
    catalog: await openResourceCatalog(kube, { signal }),
    locations,
    namespace,
    environment,
    settings: { ...DEFAULT_SETTINGS, ...options.settings },
    metrics,
  };
  await work(context, () => {
    ready = true;
  });
}
