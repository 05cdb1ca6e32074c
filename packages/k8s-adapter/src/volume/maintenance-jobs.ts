import { createHash } from "node:crypto";
import type { CallOptions } from "@varve/core";
import { CONFIG_MAPS, PODS } from "../kube/core-types.ts";
import { ignoreMissing, type KubeObject, type ResourceRef } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { parseTime } from "../velero/duration.ts";
import { LABEL } from "../velero/labels.ts";
import type { BackupRepository } from "../velero/resources.ts";

/**
 * Maintenance in pods of their own, which run `varve-k8s maintain` (spec section 4.4): a server's memory is not theirs,
 * and a repository that is too large for its pod stops nothing else.
 */

const JOBS: ResourceRef = { group: "batch", version: "v1", resource: "jobs", namespaced: true };
const DEPLOYMENTS: ResourceRef = {
  group: "apps",
  version: "v1",
  resource: "deployments",
  namespaced: true,
};
const KEPT_JOBS = 3;
const MAX_NAME = 63;
const MAX_SECONDS = 24 * 3600;

export interface EndedJob {
  readonly startMs: number;
  readonly endMs: number;
  /** Undefined: it succeeded. */
  readonly failure: string | undefined;
}

interface Job extends KubeObject {
  status?: {
    startTime?: string;
    completionTime?: string;
    conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
      readonly lastTransitionTime?: string;
    }[];
  };
}

export async function hasRunningJob(
  context: Context,
  repository: BackupRepository,
  options: CallOptions,
): Promise<boolean> {
  return (await jobsOf(context, repository, options)).some((job) => endOf(job) === undefined);
}

/** Those that began after `afterMs`, in order. Older ones than are to be kept are deleted. */
export async function endedJobs(
  context: Context,
  repository: BackupRepository,
  { afterMs, signal }: CallOptions & { readonly afterMs: number },
): Promise<readonly EndedJob[]> {
  const { kube, namespace } = context;
  const jobs = await jobsOf(context, repository, { signal });
  const ended: EndedJob[] = [];
  for (const job of jobs) {
    const end = endOf(job);
    const startMs = parseTime(job.status?.startTime ?? job.metadata.creationTimestamp) ?? 0;
    if (end !== undefined && startMs > afterMs) {
      const endMs = parseTime(job.status?.completionTime ?? end.lastTransitionTime) ?? startMs;
      const message = (await podMessage(context, job, { signal })) ?? end.message ?? "it failed";
      ended.push({ startMs, endMs, failure: end.type === "Complete" ? undefined : message });
    }
  }
  const { keepLatestMaintenanceJobs = KEPT_JOBS } = await jobConfig(context, repository, {
    signal,
  });
  for (const { metadata } of jobs.slice(0, -Math.max(1, keepLatestMaintenanceJobs))) {
    const name = { namespace, name: metadata.name };
    await kube.delete(JOBS, name, { propagation: "Background", signal });
  }
  return ended;
}

/** Its pod is like the server's own, as its Deployment describes it, but for what it runs and the ConfigMap says. */
export async function createMaintenanceJob(
  context: Context,
  repository: BackupRepository,
  { signal }: CallOptions,
): Promise<void> {
  const { kube, namespace, settings, environment } = context;
  const name = { namespace, name: settings.maintenanceJobs?.deployment ?? "" };
  const deployment = await kube.get(DEPLOYMENTS, name, { signal });
  const { template } = deployment["spec"] as { template: { spec: PodSpec } }; // the API server's schema
  const config = await jobConfig(context, repository, { signal });
  const labels = { [LABEL.repoName]: repositoryLabel(repository) };
  await kube.create(
    JOBS,
    {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { namespace, name: jobName(repository, environment.nowMs()), labels },
      spec: {
        backoffLimit: 0,
        activeDeadlineSeconds: MAX_SECONDS,
        template: {
          metadata: { labels },
          spec: podSpec(template.spec, config, [
            ...["varve-k8s", "maintain", repository.metadata.name, `--namespace=${namespace}`],
            ...(settings.maxMemoryBytes === undefined
              ? []
              : [`--max-memory=${Math.floor(settings.maxMemoryBytes / 2 ** 20)}`]),
          ]),
        },
      },
    },
    { signal },
  );
}

interface Container {
  readonly name: string;
  readonly [member: string]: unknown;
}

interface PodSpec {
  readonly containers: readonly Container[];
  readonly [member: string]: unknown;
}

interface JobConfig {
  readonly keepLatestMaintenanceJobs?: number;
  readonly loadAffinity?: readonly {
    readonly nodeSelector?: {
      readonly matchLabels?: Readonly<Record<string, string>>;
      readonly matchExpressions?: readonly object[];
    };
  }[];
  readonly podResources?: {
    readonly cpuRequest?: string;
    readonly memoryRequest?: string;
    readonly cpuLimit?: string;
    readonly memoryLimit?: string;
  };
  readonly priorityClassName?: string;
}

// What belongs to a server that listens.
const SERVERS_OWN = new Set([
  ...["args", "ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources"],
]);

function podSpec(server: PodSpec, config: JobConfig, command: readonly string[]): object {
  const [first] = server.containers;
  const kept = Object.entries(first ?? {}).filter(([member]) => !SERVERS_OWN.has(member));
  const { cpuRequest, memoryRequest, cpuLimit, memoryLimit } = config.podResources ?? {};
  const terms = (config.loadAffinity ?? []).map(({ nodeSelector = {} }) => ({
    matchExpressions: [
      ...Object.entries(nodeSelector.matchLabels ?? {}).map(([key, value]) => ({
        ...{ key, operator: "In", values: [value] },
      })),
      ...(nodeSelector.matchExpressions ?? []),
    ],
  }));
  const nodeAffinity = {
    requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms },
  };
  return {
    ...server,
    restartPolicy: "Never",
    ...(terms.length === 0 ? {} : { affinity: { nodeAffinity } }),
    ...(config.priorityClassName === undefined
      ? {}
      : { priorityClassName: config.priorityClassName }),
    containers: [
      {
        ...Object.fromEntries(kept),
        command,
        terminationMessagePolicy: "FallbackToLogsOnError",
        resources: {
          requests: filled({ cpu: cpuRequest, memory: memoryRequest }),
          limits: filled({ cpu: cpuLimit, memory: memoryLimit }),
        },
      },
    ],
  };
}

function filled(given: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const entries = Object.entries(given).filter(([, value]) => (value ?? "") !== "");
  return Object.fromEntries(entries) as Record<string, string>; // those without a value are left out
}

/** Of the ConfigMap that the server was told of: `global`, and what is said of this repository before it. */
async function jobConfig(
  { kube, namespace, settings }: Context,
  { spec }: BackupRepository,
  { signal }: CallOptions,
): Promise<JobConfig> {
  const { configMap } = settings.maintenanceJobs ?? {};
  if (configMap === undefined) {
    return {};
  }
  const found = await kube
    .get(CONFIG_MAPS, { namespace, name: configMap }, { signal })
    .catch(ignoreMissing);
  const { data = {} } = (found ?? {}) as { data?: Record<string, string> };
  const own = `${spec.volumeNamespace}-${spec.backupStorageLocation}-${spec.repositoryType ?? "kopia"}`;
  // Of an administrator: what makes no sense is refused by the API server.
  const parse = (text = "{}"): JobConfig => JSON.parse(text) as JobConfig;
  return { ...parse(data["global"]), ...parse(data[own]) };
}

/** Oldest first. */
async function jobsOf(
  { kube, namespace }: Context,
  repository: BackupRepository,
  { signal }: CallOptions,
): Promise<readonly Job[]> {
  const labelSelector = `${LABEL.repoName}=${repositoryLabel(repository)}`;
  const { items } = await kube.listAll(JOBS, { namespace, labelSelector, signal });
  const created = ({ metadata }: KubeObject): string => metadata.creationTimestamp ?? "";
  return (items as readonly Job[]).toSorted((a, b) => (created(a) < created(b) ? -1 : 1)); // by their type
}

function endOf({
  status,
}: Job): NonNullable<NonNullable<Job["status"]>["conditions"]>[number] | undefined {
  return status?.conditions?.find(
    (condition) =>
      condition.status === "True" && (condition.type === "Complete" || condition.type === "Failed"),
  );
}

/** What its container said last, or why it could not begin. */
async function podMessage(
  { kube, namespace }: Context,
  { metadata }: Job,
  { signal }: CallOptions,
): Promise<string | undefined> {
  const labelSelector = `batch.kubernetes.io/job-name=${metadata.name}`;
  const { items } = await kube.listAll(PODS, { namespace, labelSelector, signal });
  for (const pod of items) {
    const { containerStatuses = [] } = (pod["status"] ?? {}) as {
      containerStatuses?: readonly { state?: { terminated?: { message?: string } } }[];
    };
    const message = containerStatuses[0]?.state?.terminated?.message?.trim() ?? "";
    if (message !== "") {
      return message;
    }
  }
  return undefined;
}

function jobName({ metadata }: BackupRepository, nowMs: number): string {
  const name = `${metadata.name}-maintain-job-${nowMs}`;
  return name.length <= MAX_NAME ? name : `repo-maintain-job-${nowMs}`;
}

/** Spec section 0.7: another rule than that of all other labels. */
function repositoryLabel({ metadata: { name } }: BackupRepository): string {
  return name.length <= MAX_NAME ? name : createHash("sha3-224").update(name).digest("hex");
}
