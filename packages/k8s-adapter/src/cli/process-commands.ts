import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { type LogEvent, systemEnvironment } from "@varve/core";
import { type Command, Option } from "commander";
import { DEFAULT_HOLDER } from "../csi/holder-pod.ts";
import type { ImageOptions } from "../images/image-options.ts";
import { maintainOne, runNodeAgentProcess, runServer } from "../server/run-server.ts";
import type { Settings } from "../server/context.ts";
import { parseDuration } from "../velero/duration.ts";
import { waitForVolumes } from "../volume/wait-for-volumes.ts";
import { loadKubeConfig } from "./context.ts";
import { duration } from "./flags.ts";

/** The processes that run in the cluster: `server`, `node-agent`, and `restore-wait` in restored pods. */
export function addProcessCommands(program: Command): void {
  addServer(program);
  addNodeAgent(program);
  addMaintain(program);
  program
    .command("restore-wait <restore-uid>")
    .description("in a restored pod: wait until its volumes are filled")
    .action(async (restoreUid: string) => {
      await waitForVolumes(restoreUid, { environment: systemEnvironment(), signal: stopSignal() });
    });
}

function addServer(program: Command): void {
  program
    .command("server")
    .description("serve Velero's resources")
    .option("--metrics-address <address>", "probes and metrics", ":8085")
    .option("--leader-elect", "several servers, one of which works")
    .option("--default-backup-storage-location <name>", "where none says it is the default")
    .option("--default-backup-ttl <duration>", "how long backups are kept", duration)
    .option("--default-volumes-to-fs-backup", "volumes by their file system, unless told otherwise")
    .option(
      "--default-snapshot-move-data",
      "data of snapshots into the location, unless told otherwise",
    )
    .option("--fs-backup-timeout <duration>", "for the volumes of a backup", duration)
    .option("--backup-sync-period <duration>", "between looks for backups of others", duration)
    .option(
      "--garbage-collection-frequency <duration>",
      "between looks for expired backups",
      duration,
    )
    .option("--resource-timeout <duration>", "for what should take seconds", duration)
    .option("--concurrent-backups <count>", "at the same time", Number)
    .option("--restore-resource-priorities <types>", "high,-,low")
    .option(
      "--public-repository-password",
      "Velero's well-known one for new repositories, not a random one",
    )
    .option(
      "--hooks-continue-by-default",
      "a hook without onError never fails its pod, as in Velero",
    )
    .addOption(
      new Option(
        "--uploader-type <type>",
        "restic is read from older settings; Kopia writes",
      ).choices(["kopia", "restic"]),
    )
    .option("--restore-wait-image <image>", "default: this program's own")
    .option("--no-internal-images", "image streams of OpenShift without their images")
    .option("--registry-url <url>", "of the cluster's image registry; default: as streams name it")
    .option("--registry-ca <file>", "certificates that it is trusted by", SERVICE_CA)
    .option("--maintenance-jobs", "repositories are maintained by Jobs, not in this process")
    .option(
      "--repo-maintenance-job-configmap <name>",
      "resources, nodes and number of those Jobs, as in Velero",
    )
    .option("--cache-folder <folder>", CACHE_FOLDER)
    .option("--cache-limit <MiB>", CACHE_LIMIT, Number)
    .action(async (flags: ServerFlags, command: Command) => {
      const globals = command.optsWithGlobals<{ namespace: string; kubeconfig?: string }>();
      await runServer({
        kubeConfig: loadKubeConfig(globals),
        namespace: globals.namespace,
        environment: systemEnvironment({ log: logLine }),
        settings: settingsOf(flags),
        metricsAddress: flags.metricsAddress,
        images: flags.internalImages && (await imagesOf(flags)),
        identity: flags.leaderElect === true ? `${hostname()}-${process.pid}` : undefined,
        signal: stopSignal(),
      });
    });
}

function addNodeAgent(program: Command): void {
  program
    .command("node-agent")
    .description("copy the volumes of pods on this node")
    .option("--node-name <name>", "default: NODE_NAME")
    .option(
      "--host-pods <folder>",
      "the kubelet's folder of pods, as it is mounted here",
      "/host_pods",
    )
    .option("--metrics-address <address>", "probes and metrics", ":8085")
    .option("--concurrency <count>", "volumes at the same time", Number, 1)
    .option("--max-memory <MiB>", "a ceiling for the copying of one volume", Number)
    .option("--cache-folder <folder>", CACHE_FOLDER)
    .option("--cache-limit <MiB>", CACHE_LIMIT, Number)
    .option("--holder-image <image>", "of pods that hold volumes for the data mover")
    .option(
      "--copy-snapshot-folders",
      "folders of snapshots at the root of file servers' volumes, too",
    )
    .action(async (flags: AgentFlags, command: Command) => {
      const globals = command.optsWithGlobals<{ namespace: string; kubeconfig?: string }>();
      const nodeName = flags.nodeName ?? process.env["NODE_NAME"];
      if (nodeName === undefined) {
        command.error("--node-name or NODE_NAME is needed");
      }
      await runNodeAgentProcess({
        kubeConfig: loadKubeConfig(globals),
        namespace: globals.namespace,
        environment: systemEnvironment({ log: logLine }),
        settings: engineSettings(flags),
        metricsAddress: flags.metricsAddress,
        nodeName,
        podsFolder: flags.hostPods,
        agent: {
          concurrency: flags.concurrency,
          snapshotFolders: flags.copySnapshotFolders === true,
          ...(flags.holderImage === undefined
            ? {}
            : { holder: { ...DEFAULT_HOLDER, image: flags.holderImage } }),
        },
        signal: stopSignal(),
      });
    });
}

function addMaintain(program: Command): void {
  program
    .command("maintain <backup-repository>")
    .description("what a maintenance Job runs: do what is due in one repository of volumes")
    .option("--max-memory <MiB>", "a ceiling", Number)
    .option("--cache-folder <folder>", CACHE_FOLDER)
    .option("--cache-limit <MiB>", CACHE_LIMIT, Number)
    .action(async (repository: string, flags: EngineFlags, command: Command) => {
      const globals = command.optsWithGlobals<{ namespace: string; kubeconfig?: string }>();
      await maintainOne({
        kubeConfig: loadKubeConfig(globals),
        namespace: globals.namespace,
        environment: systemEnvironment({ log: logLine }),
        settings: engineSettings(flags),
        repository,
        signal: stopSignal(),
      });
    });
}

const CACHE_FOLDER = "keep indexes of repositories there; default: nowhere";
const CACHE_LIMIT = "for that folder, default 1000";

interface EngineFlags {
  readonly maxMemory?: number;
  readonly cacheFolder?: string;
  readonly cacheLimit?: number;
}

function engineSettings(flags: EngineFlags): Partial<Settings> {
  const bytes = (mib: number | undefined): number | undefined => mib && mib * 2 ** 20;
  return given({
    maxMemoryBytes: bytes(flags.maxMemory),
    cacheFolder: flags.cacheFolder,
    cacheMaxBytes: bytes(flags.cacheLimit),
  });
}

interface ServerFlags extends EngineFlags {
  readonly maintenanceJobs?: boolean;
  readonly repoMaintenanceJobConfigmap?: string;
  readonly metricsAddress: string;
  readonly leaderElect?: boolean;
  readonly defaultBackupStorageLocation?: string;
  readonly defaultBackupTtl?: string;
  readonly defaultVolumesToFsBackup?: boolean;
  readonly defaultSnapshotMoveData?: boolean;
  readonly fsBackupTimeout?: string;
  readonly backupSyncPeriod?: string;
  readonly garbageCollectionFrequency?: string;
  readonly resourceTimeout?: string;
  readonly concurrentBackups?: number;
  readonly restoreResourcePriorities?: string;
  readonly publicRepositoryPassword?: boolean;
  readonly hooksContinueByDefault?: boolean;
  readonly uploaderType?: Settings["uploaderType"];
  readonly restoreWaitImage?: string;
  readonly internalImages: boolean;
  readonly registryUrl?: string;
  readonly registryCa: string;
}

interface AgentFlags extends EngineFlags {
  readonly nodeName?: string;
  readonly hostPods: string;
  readonly metricsAddress: string;
  readonly concurrency: number;
  readonly copySnapshotFolders?: boolean;
  readonly holderImage?: string;
}

/** What OpenShift puts into every pod: certificates of the services of the cluster, its image registry among them. */
const SERVICE_CA = "/var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt";

async function imagesOf({ registryUrl, registryCa }: ServerFlags): Promise<ImageOptions> {
  const ca = await readFile(registryCa, "utf8").catch((error: unknown) => {
    if (registryCa === SERVICE_CA) {
      return undefined; // no OpenShift
    }
    throw error;
  });
  return { registryUrl, ca };
}

function settingsOf(flags: ServerFlags): Partial<Settings> {
  const ms = (text: string | undefined): number | undefined => parseDuration(text ?? "");
  return given({
    ...engineSettings(flags),
    defaultStorageLocation: flags.defaultBackupStorageLocation,
    defaultBackupTtlMs: ms(flags.defaultBackupTtl),
    defaultVolumesToFsBackup: flags.defaultVolumesToFsBackup,
    defaultSnapshotMoveData: flags.defaultSnapshotMoveData,
    fsBackupTimeoutMs: ms(flags.fsBackupTimeout),
    backupSyncMs: ms(flags.backupSyncPeriod),
    gcMs: ms(flags.garbageCollectionFrequency),
    resourceTimeoutMs: ms(flags.resourceTimeout),
    concurrentBackups: flags.concurrentBackups,
    restoreResourcePriorities: flags.restoreResourcePriorities,
    publicRepositoryPassword: flags.publicRepositoryPassword,
    uploaderType: flags.uploaderType,
    hooksFailByDefault: flags.hooksContinueByDefault === true ? false : undefined,
    restoreWait:
      flags.restoreWaitImage === undefined
        ? undefined
        : { image: flags.restoreWaitImage, command: ["varve-k8s", "restore-wait"] },
    maintenanceJobs:
      flags.maintenanceJobs === true
        ? { deployment: "velero", configMap: flags.repoMaintenanceJobConfigmap }
        : undefined,
  });
}

/** Without what was not said, for which there are defaults. */
function given(
  settings: { readonly [K in keyof Settings]?: Settings[K] | undefined },
): Partial<Settings> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** Aborts when the process is asked to end; a second time it ends at once. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
  }
  return stop.signal;
}

/** JSON lines on standard error, which log collectors read. */
function logLine({ level, message, fields }: LogEvent): void {
  if (level !== "debug" || process.env["VARVE_DEBUG"] === "1") {
    const time = new Date().toISOString();
    process.stderr.write(`${JSON.stringify({ time, level, message, ...fields })}\n`);
  }
}
