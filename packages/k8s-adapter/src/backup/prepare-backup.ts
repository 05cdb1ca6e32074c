import { errorMessage, type CallOptions } from "@varve/core";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { durationMs, formatDuration, formatTime } from "../velero/duration.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import {
  type Backup,
  type BackupSpec,
  type BackupStatus,
  type BackupStorageLocation,
  VELERO,
} from "../velero/resources.ts";
import { listNamespaces, readResourcePolicy } from "./backup-filters.ts";
import {
  AUTO_EXCLUDED_CLUSTER,
  AUTO_EXCLUDED_NAMESPACED,
  usesOldFilters,
} from "./resource-filter.ts";
import { filterProblems } from "./validate-spec.ts";

/** What is filled in before a backup starts, and what would stop it (semantics spec section 1.2). */
export interface PreparedBackup {
  /** As a merge patch; without problems the backup may start. */
  readonly metadata: {
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: BackupSpec;
  readonly status: BackupStatus;
  readonly problems: readonly string[];
}

export async function prepareBackup(
  context: Context,
  backup: Backup,
  options: CallOptions,
): Promise<PreparedBackup> {
  const { spec } = backup;
  const problems = filterProblems(spec);
  const location = await findLocation(context, spec.storageLocation ?? "", options);
  problems.push(...locationProblems(location, spec.storageLocation ?? ""));
  const volumeSnapshotLocations = await chooseSnapshotLocations(context, spec, problems, options);
  let labelled: readonly string[] = [];
  try {
    ({ labelled } = await listNamespaces(context, options));
    const policy = await readResourcePolicy(context, spec, options);
    if (policy?.includeExclude !== undefined && usesOldFilters(spec)) {
      problems.push("includeExcludePolicy cannot be used together with old-style resource filters");
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    problems.push(errorMessage(error));
  }
  const ttlMs = durationMs(spec.ttl, context.settings.defaultBackupTtlMs);
  const version = await context.kube.serverVersion(options);
  return {
    problems,
    metadata: {
      labels:
        location === undefined
          ? {}
          : { [LABEL.storageLocation]: labelValue(location.metadata.name) },
      annotations: {
        "velero.io/resource-timeout": formatDuration(context.settings.resourceTimeoutMs),
        "velero.io/source-cluster-k8s-gitversion": version.gitVersion,
        "velero.io/source-cluster-k8s-major-version": version.major,
        "velero.io/source-cluster-k8s-minor-version": version.minor,
      },
    },
    spec: {
      ...withDefaults(context, spec, { labelled, ttlMs }),
      ...(location === undefined ? {} : { storageLocation: location.metadata.name }),
      ...(volumeSnapshotLocations.length === 0 ? {} : { volumeSnapshotLocations }),
    },
    status: {
      version: 1,
      formatVersion: "1.1.0",
      expiration: formatTime(context.environment.nowMs() + ttlMs),
    },
  };
}

function withDefaults(
  { settings }: Context,
  spec: BackupSpec,
  { labelled, ttlMs }: { labelled: readonly string[]; ttlMs: number },
): BackupSpec {
  const excluded = [...new Set([...(spec.excludedNamespaces ?? []), ...labelled])];
  const fsBackup =
    spec.defaultVolumesToFsBackup ??
    (spec.defaultVolumesToRestic === true ? true : settings.defaultVolumesToFsBackup);
  return {
    ...spec,
    includedNamespaces: spec.includedNamespaces?.length ? spec.includedNamespaces : ["*"],
    ...(excluded.length === 0 ? {} : { excludedNamespaces: excluded }),
    ...autoExcludes(spec),
    ttl: formatDuration(ttlMs),
    volumeGroupSnapshotLabelKey: spec.volumeGroupSnapshotLabelKey || "velero.io/volume-group",
    csiSnapshotTimeout: formatDuration(
      durationMs(spec.csiSnapshotTimeout, settings.csiSnapshotTimeoutMs),
    ),
    itemOperationTimeout: formatDuration(
      durationMs(spec.itemOperationTimeout, settings.itemOperationTimeoutMs),
    ),
    defaultVolumesToFsBackup: fsBackup,
    snapshotMoveData: spec.snapshotMoveData ?? settings.defaultSnapshotMoveData,
  };
}

/** Volume snapshots enter only through the CSI actions; an include of the same name goes. */
function autoExcludes(spec: BackupSpec): Partial<BackupSpec> {
  const add = (list: readonly string[] | null | undefined, names: readonly string[]): string[] => [
    ...new Set([...(list ?? []), ...names]),
  ];
  const drop = (
    member:
      | "includedResources"
      | "includedClusterScopedResources"
      | "includedNamespaceScopedResources",
    names: readonly string[],
  ): Partial<BackupSpec> => {
    const list = spec[member];
    return list?.some((name) => names.includes(name)) === true
      ? { [member]: list.filter((name) => !names.includes(name)) }
      : {};
  };
  if (usesOldFilters(spec)) {
    const both = [AUTO_EXCLUDED_NAMESPACED, AUTO_EXCLUDED_CLUSTER];
    return {
      excludedResources: add(spec.excludedResources, both),
      ...drop("includedResources", both),
    };
  }
  return {
    excludedClusterScopedResources: add(spec.excludedClusterScopedResources, [
      AUTO_EXCLUDED_CLUSTER,
    ]),
    excludedNamespaceScopedResources: add(spec.excludedNamespaceScopedResources, [
      AUTO_EXCLUDED_NAMESPACED,
    ]),
    ...drop("includedClusterScopedResources", [AUTO_EXCLUDED_CLUSTER]),
    ...drop("includedNamespaceScopedResources", [AUTO_EXCLUDED_NAMESPACED]),
  };
}

/** The named one; else the one marked as default; else the server's default name (spec 2.1). */
async function findLocation(
  context: Context,
  name: string,
  options: CallOptions,
): Promise<BackupStorageLocation | undefined> {
  const { items } = await context.kube.listAll(VELERO.backupStorageLocations, {
    namespace: context.namespace,
    ...options,
  });
  const locations = items as readonly BackupStorageLocation[]; // its schema
  const byName = (wanted: string): BackupStorageLocation | undefined =>
    locations.find(({ metadata }) => metadata.name === wanted);
  return name !== ""
    ? byName(name)
    : (locations.find(({ spec }) => spec.default === true) ??
        byName(context.settings.defaultStorageLocation));
}

function locationProblems(location: BackupStorageLocation | undefined, name: string): string[] {
  if (location === undefined) {
    return [
      name === ""
        ? "no storageLocation is named, and there is no default BackupStorageLocation"
        : `there is no BackupStorageLocation ${name}`,
    ];
  }
  const { spec, status, metadata } = location;
  const problems: string[] = [];
  if (spec.accessMode === "ReadOnly") {
    problems.push(`BackupStorageLocation ${metadata.name} is read-only`);
  }
  if (status?.phase !== "Available") {
    const why = status?.message === undefined ? "" : `: ${status.message}`;
    problems.push(`BackupStorageLocation ${metadata.name} is not available${why}`);
  }
  return problems;
}

interface SnapshotLocation extends KubeObject {
  spec: { provider?: string };
}

/** One a provider: the named ones, and those that are a provider's only one. */
async function chooseSnapshotLocations(
  context: Context,
  spec: BackupSpec,
  problems: string[],
  options: CallOptions,
): Promise<string[]> {
  if (spec.snapshotVolumes === false) {
    return [];
  }
  let all: readonly SnapshotLocation[];
  try {
    const { items } = await context.kube.listAll(VELERO.volumeSnapshotLocations, {
      namespace: context.namespace,
      ...options,
    });
    all = items as readonly SnapshotLocation[]; // its schema
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return spec.volumeSnapshotLocations ?? []; // the type is not installed
    }
    throw error;
  }
  const chosen = new Map<string, string>();
  for (const name of spec.volumeSnapshotLocations ?? []) {
    const provider = all.find(({ metadata }) => metadata.name === name)?.spec.provider;
    if (provider === undefined) {
      problems.push(`there is no VolumeSnapshotLocation ${name}`);
    } else if (chosen.has(provider) && chosen.get(provider) !== name) {
      problems.push(`more than one VolumeSnapshotLocation of provider ${provider} is named`);
    } else {
      chosen.set(provider, name);
    }
  }
  for (const provider of new Set(all.map((location) => location.spec.provider ?? ""))) {
    const own = all.filter((location) => (location.spec.provider ?? "") === provider);
    const [first] = own;
    if (!chosen.has(provider) && first !== undefined) {
      if (own.length > 1) {
        problems.push(
          `provider ${provider} has ${own.length} VolumeSnapshotLocations, and none is named`,
        );
      } else {
        chosen.set(provider, first.metadata.name);
      }
    }
  }
  return [...chosen.values()];
}
