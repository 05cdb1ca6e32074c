import type { CallOptions } from "@varve/core";
import { hooksOfPod, runPodHooks, type HookRun, type PodHook } from "../hooks/backup-hooks.ts";
import { HookTally } from "../hooks/pod-exec.ts";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { NativeSnapshot } from "../native-snapshots/native-snapshot.ts";
import type { PodVolumes } from "../volume/pod-volumes.ts";
import type { BackupStatus } from "../velero/resources.ts";
import type { BackupAction, BackupRun, VolumeReport } from "./action.ts";
import { createBackupFilters, readResourcePolicy } from "./backup-filters.ts";
import type { BackupFiles } from "./put-backup-files.ts";
import { ClusterView } from "./cluster-view.ts";
import { type BackupFilters, collectItems, itemOf, type CollectedItem } from "./collect-items.ts";
import { type ItemBlock, itemBlocks } from "./item-blocks.ts";
import type { ItemOperation } from "./item-operations.ts";
import { ItemStorer } from "./item-storer.ts";
import { PodCopies } from "./pod-copies.ts";
import { Spill } from "./spill.ts";
import { TarballWriter } from "./tarball.ts";

/** What a backup does in the cluster: semantics spec section 2.5. Nothing of the bucket is touched here. */

export interface BackupParts {
  readonly actions: readonly BackupAction[];
  readonly podVolumes: PodVolumes;
}

export interface StoredObjects {
  readonly files: Omit<BackupFiles, "log" | "results"> & {
    readonly itemOperations: readonly ItemOperation[];
  };
  readonly status: Pick<
    BackupStatus,
    | "progress"
    | "hookStatus"
    | "volumeSnapshotsAttempted"
    | "volumeSnapshotsCompleted"
    | "csiVolumeSnapshotsAttempted"
    | "csiVolumeSnapshotsCompleted"
    | "backupItemOperationsAttempted"
  >;
}

interface Stage {
  readonly run: BackupRun;
  readonly filters: BackupFilters;
  readonly items: readonly CollectedItem[];
  readonly view: ClusterView;
  readonly storer: ItemStorer;
  readonly copies: PodCopies;
  readonly hooks: HookRun;
}

/** `onProgress` is awaited, at most once a second. Throws what makes the whole backup fail. */
export async function storeObjects(
  base: BackupRun,
  parts: BackupParts,
  options: CallOptions & {
    readonly onProgress: (progress: NonNullable<BackupStatus["progress"]>) => Promise<void>;
  },
): Promise<StoredObjects> {
  await using spill = await Spill.create();
  const { context, backup, log } = base;
  await context.catalog.refresh(options);
  const policy = await readResourcePolicy(context, backup.spec, options);
  const filters = await createBackupFilters(context, backup.spec, policy, options);
  tellFilters(base, filters);
  const items = filters.namespaces.matchesNothing
    ? []
    : await collectItems(base, filters, spill, options);
  const view = new ClusterView(base, { filters, items, spill, policy });
  const run: BackupRun = { ...base, volumes: view };
  const copies = new PodCopies(run, { view, podVolumes: parts.podVolumes });
  const tarball = new TarballWriter({ nowMs: context.environment.nowMs() });
  await tarball.begin();
  const actions = [...parts.actions].sort((a, b) => (a.name < b.name ? -1 : 1));
  const storer = new ItemStorer(run, { view, filters, actions, tarball, copies });
  const tally = new HookTally();
  const hooks = {
    kube: context.kube,
    log,
    tally,
    failByDefault: context.settings.hooksFailByDefault,
  };
  await storeBlocks({ run, filters, items, view, storer, copies, hooks }, options);
  await storeDefinitions({ run, filters, view, storer }, options);
  await copies.wait("all", options);
  const report = await actionReports(run, parts.actions, options);
  const count = storer.storedCount;
  log.info(`Backed up a total of ${count} items`);
  return {
    files: {
      tarball: await tarball.close(),
      resourceList: storer.resourceList,
      podVolumeBackups: copies.podVolumeBackups,
      itemOperations: storer.operations,
      volumeSnapshots: report.nativeSnapshots,
      volumeInfo: await copies.volumeInfos(report.infos, options),
    },
    status: {
      progress: count === 0 ? {} : { totalItems: count, itemsBackedUp: count },
      hookStatus: tally.status(),
      ...counted("volumeSnapshotsAttempted", report.nativeSnapshots.length),
      ...counted(
        "volumeSnapshotsCompleted",
        report.nativeSnapshots.filter((each) => each.status.phase === "Completed").length,
      ),
      ...counted("csiVolumeSnapshotsAttempted", report.csiSnapshotsAttempted),
      ...counted("csiVolumeSnapshotsCompleted", report.csiSnapshotsCompleted),
      ...counted("backupItemOperationsAttempted", storer.operations.length),
    },
  };
}

/** What all actions have to tell about volumes. */
export async function actionReports(
  run: BackupRun,
  actions: readonly BackupAction[],
  options: CallOptions,
): Promise<VolumeReport & { readonly nativeSnapshots: readonly NativeSnapshot[] }> {
  const infos = [];
  const nativeSnapshots: NativeSnapshot[] = [];
  let csiSnapshotsAttempted = 0;
  let csiSnapshotsCompleted = 0;
  for (const action of actions) {
    const report = await action.report?.(run, options);
    infos.push(...(report?.infos ?? []));
    nativeSnapshots.push(...(report?.nativeSnapshots ?? []));
    csiSnapshotsAttempted += report?.csiSnapshotsAttempted ?? 0;
    csiSnapshotsCompleted += report?.csiSnapshotsCompleted ?? 0;
  }
  return { infos, nativeSnapshots, csiSnapshotsAttempted, csiSnapshotsCompleted };
}

/** Zero counters are left out, as in real Velero's status. */
export function counted<K extends string>(
  member: K,
  count: number | undefined,
): Partial<Record<K, number>> {
  return count === undefined || count === 0 ? {} : ({ [member]: count } as Record<K, number>); // its one member
}

function tellFilters({ log, backup }: BackupRun, { resources, namespaces }: BackupFilters): void {
  const { spec } = backup;
  log.info(`namespaces: ${(spec.includedNamespaces ?? ["*"]).join(", ")}`, {
    excluded: (spec.excludedNamespaces ?? []).join(", "),
  });
  log.info(`cluster scope: ${resources.clusterScope}`);
  if (namespaces.matchesNothing) {
    log.warn("no namespace matches the patterns of includedNamespaces");
  }
  for (const name of namespaces.missing) {
    log.error(`namespace ${name} of includedNamespaces is not there`, { resource: "namespaces" });
  }
}

async function storeBlocks(
  stage: Stage,
  options: CallOptions & {
    readonly onProgress: (progress: NonNullable<BackupStatus["progress"]>) => Promise<void>;
  },
): Promise<void> {
  const { run, items, view, storer } = stage;
  const { environment, settings } = run.context;
  let toldMs = 0;
  const tell = async (): Promise<void> => {
    const now = environment.nowMs();
    if (now - toldMs >= 1000) {
      toldMs = now;
      const itemsBackedUp = storer.storedCount;
      // Related objects come on top of what was listed.
      const totalItems = Math.max(items.length, itemsBackedUp);
      await options.onProgress({ totalItems, ...counted("itemsBackedUp", itemsBackedUp) });
    }
  };
  await tell();
  const blocks = itemBlocks(run, items, view, options)[Symbol.asyncIterator]();
  const worker = async (): Promise<void> => {
    for (let next = await blocks.next(); next.done !== true; next = await blocks.next()) {
      options.signal?.throwIfAborted();
      await storeBlock(stage, next.value, options);
      await tell();
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, settings.itemBlockWorkers) }, worker));
}

async function storeBlock(
  { run, filters, storer, copies, hooks }: Stage,
  { members }: ItemBlock,
  options: CallOptions,
): Promise<void> {
  const { spec } = run.backup;
  const { catalog } = run.context;
  const ready: { readonly pod: KubeObject; readonly post: readonly PodHook[] }[] = [];
  for (const { type, object } of members) {
    if (
      groupResource(type) !== "pods" ||
      storer.isDone(itemOf(type, object)) ||
      !filters.resources.allows(type) ||
      !filters.namespaces.includes(object.metadata.namespace ?? "")
    ) {
      continue;
    }
    const pre = hooksOfPod(object, "pre", spec, { catalog, log: run.log });
    const error = await runPodHooks(hooks, object, "pre", pre, options);
    if (error === undefined) {
      ready.push({
        pod: object,
        post: hooksOfPod(object, "post", spec, { catalog, log: run.log }),
      });
    } else {
      const { namespace, name } = object.metadata;
      const fields = { resource: "pods", namespace, name, error };
      run.log.error("Error running pre hooks for pod", fields);
      storer.drop(itemOf(type, object));
    }
  }
  for (const { type, object } of members) {
    await storer.store(type, object, options);
  }
  const withPost = ready.filter(({ post }) => post.length > 0);
  if (withPost.length > 0) {
    await copies.wait(
      ready.map(({ pod }) => pod),
      options,
    );
  }
  for (const { pod, post } of withPost) {
    const error = await runPodHooks(hooks, pod, "post", post, options);
    if (error !== undefined) {
      const { namespace, name } = pod.metadata;
      run.log.info("later post hooks of the pod are not run", {
        resource: "pods",
        namespace,
        name,
      });
    }
  }
}

/** The definitions of stored custom resources, unless they are excluded or stored already (spec 2.5 step 6). */
async function storeDefinitions(
  { run, filters, view, storer }: Pick<Stage, "run" | "filters" | "view" | "storer">,
  options: CallOptions,
): Promise<void> {
  const definitions = run.context.catalog.resolve("customresourcedefinitions.apiextensions.k8s.io");
  if (definitions === undefined || !filters.resources.allows(definitions)) {
    return;
  }
  for (const type of storer.storedTypes.filter(({ group }) => group !== "")) {
    const name = groupResource(type);
    if (storer.isDone({ type: definitions, namespace: undefined, name })) {
      continue;
    }
    try {
      const object = await view.object(definitions, { name }, options);
      if (object !== undefined) {
        await storer.store(definitions, object, options);
      }
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!isKubeError(error, "not-found")) {
        run.log.error("Error getting the definition of a custom resource", {
          resource: groupResource(definitions),
          name,
          error,
        });
      }
    }
  }
}
