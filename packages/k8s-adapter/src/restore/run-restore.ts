import { CONFIG_MAPS } from "../kube/core-types.ts";
import { type CallOptions, errorMessage } from "@varve/core";
import { HookTally } from "../hooks/pod-exec.ts";
import { restoreHooksOf, runRestoreHooks } from "../hooks/restore-hooks.ts";
import type { KubeObject, ResourceRef, ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { Location } from "../location/location.ts";
import type { RestoreVolume } from "../native-snapshots/restore-volume.ts";
import type { RestoreSpec } from "../velero/resources.ts";
import type { PodVolumes } from "../volume/pod-volumes.ts";
import { podFields } from "../volume/pod-spec.ts";
import { podVolumeBackupsOf } from "../volume/restore-wait.ts";
import type { RestoreAction, RestoreRun } from "./action.ts";
import { BackupContents, type StoredItem } from "./backup-contents.ts";
import { ItemRestorer, type StartedRestoreOperation } from "./item-restorer.ts";
import { parseResourceModifiers, type ResourceModifiers } from "./resource-modifiers.ts";
import { RestoredVolumes } from "./restored-volumes.ts";
import { createRestoreSelection, type RestoreSelection } from "./selection.ts";
import { inRestoreOrder } from "./type-order.ts";

/** The objects of a backup into the cluster, and what goes on beside them: spec section 9.1. */

export interface RestoreParts {
  readonly actions: readonly RestoreAction[];
  readonly podVolumes: PodVolumes;
  readonly restoreVolume: RestoreVolume;
  readonly pollMs: number;
  readonly onProgress: (progress: {
    readonly totalItems: number;
    readonly itemsRestored: number;
  }) => void;
}

export interface RestoredObjects {
  readonly list: Record<string, string[]>;
  readonly hooks: { hooksAttempted?: number; hooksFailed?: number };
  readonly operations: readonly StartedRestoreOperation[];
  readonly claims: ReadonlyMap<string, string>;
  readonly volumes: RestoredVolumes;
  readonly progress: { readonly totalItems: number; readonly itemsRestored: number };
}

/** Throws when the backup cannot be read; what fails of a single object is logged. Resolves when pods' volumes and hooks are done, too. */
export async function restoreObjects(
  run: RestoreRun,
  location: Location,
  parts: RestoreParts,
  options: CallOptions,
): Promise<RestoredObjects> {
  const { context, restore, backup, log } = run;
  const { name } = backup.metadata;
  const files = location.backupFiles(name);
  await using contents = await BackupContents.read(files, name, options);
  for (const problem of contents.problems) {
    log.warn(problem);
  }
  const copies = await podVolumeBackupsOf(context, name, options);
  const volumes = await RestoredVolumes.read(files, name, { copies, ...options });
  const selection = createRestoreSelection(restore.spec, context.catalog);
  const tally = new HookTally();
  const background: Promise<void>[] = [];
  const restorer = new ItemRestorer(run, {
    contents,
    selection,
    actions: [...parts.actions].sort((a, b) => (a.name < b.name ? -1 : 1)),
    modifiers: await resourceModifiersOf(context, restore.spec, options),
    volumes,
    restoreVolume: parts.restoreVolume,
    onPod: (pod, source) => {
      background.push(
        finishPod(run, { pod, source, copies, selection, tally, ...parts, ...options }).catch(
          (error: unknown) => {
            if (options.signal?.aborted !== true) {
              log.error("volumes or hooks", { ...podFields(pod), error });
            }
          },
        ),
      );
    },
  });
  const progress = await restoreTypes(run, { contents, selection, restorer, ...parts, ...options });
  await Promise.all(background);
  options.signal?.throwIfAborted();
  return {
    list: restorer.list.toJson(),
    hooks: tally.status(),
    operations: restorer.operations,
    claims: restorer.claims,
    volumes,
    progress,
  };
}

const CRDS = "customresourcedefinitions.apiextensions.k8s.io";

async function restoreTypes(
  run: RestoreRun,
  {
    contents,
    selection,
    restorer,
    onProgress,
    pollMs,
    signal,
  }: CallOptions &
    Pick<RestoreParts, "onProgress" | "pollMs"> & {
      readonly contents: BackupContents;
      readonly selection: RestoreSelection;
      readonly restorer: ItemRestorer;
    },
): Promise<{ totalItems: number; itemsRestored: number }> {
  const { context, log } = run;
  if (contents.groupResources.length === 0) {
    log.warn("the backup holds no objects: there is nothing to restore");
  }
  const order = inRestoreOrder(
    contents.groupResources,
    context.settings.restoreResourcePriorities,
    (name) => context.catalog.canonical(name),
  );
  // Definitions first: until they are served, the types that they define are not known.
  const sorted = [CRDS, ...order.filter((name) => name !== CRDS)];
  let totalItems = order.reduce((sum, name) => sum + contents.items(name).length, 0);
  let itemsRestored = 0;
  for (const name of sorted) {
    const items = contents.items(name);
    const type = await typeOf(run, contents, { name, items, signal });
    if (type === undefined || !selection.lists(type)) {
      totalItems -= items.length;
      continue;
    }
    for (const item of items) {
      if (await isSelected(contents, selection, { type, item })) {
        await restorer.restore(type, item, { signal });
        itemsRestored++;
        onProgress({ totalItems, itemsRestored });
      } else {
        totalItems--;
      }
    }
    if (name === CRDS && items.length > 0) {
      await definitionsServed(run, { items, pollMs, signal });
    }
  }
  return { totalItems, itemsRestored };
}

async function isSelected(
  contents: BackupContents,
  selection: RestoreSelection,
  { type, item }: { readonly type: ResourceType; readonly item: StoredItem },
): Promise<boolean> {
  const namespace = groupResource(type) === "namespaces" ? item.name : item.namespace;
  // Data uploads are in the server's namespace, and serve claims of others.
  const isFree = groupResource(type) === "datauploads.velero.io";
  if (namespace !== undefined && !isFree && !selection.includesNamespace(namespace)) {
    return false;
  }
  const { metadata } = await contents.object(item);
  return selection.selects(type, metadata.labels);
}

/** As the objects' own version is served, else as the server prefers; types that it does not know are tried by their folder's name. */
async function typeOf(
  { context }: RestoreRun,
  contents: BackupContents,
  {
    name,
    items,
    signal,
  }: CallOptions & { readonly name: string; readonly items: readonly StoredItem[] },
): Promise<ResourceType | undefined> {
  const [first] = items;
  if (first === undefined) {
    return undefined;
  }
  signal?.throwIfAborted();
  const { apiVersion = "", kind = "" } = await contents.object(first);
  const known = context.catalog.forKind(apiVersion, kind) ?? context.catalog.resolve(name);
  if (known !== undefined) {
    return known;
  }
  const [resource = "", ...group] = name.split(".");
  return {
    group: group.join("."),
    version: apiVersion.split("/").at(-1) ?? "v1",
    resource,
    namespaced: first.namespace !== undefined,
    kind,
    singular: "",
    shortNames: [],
    verbs: [],
    preferred: true,
  };
}

const DEFINITIONS: ResourceRef = {
  group: "apiextensions.k8s.io",
  version: "v1",
  resource: "customresourcedefinitions",
  namespaced: false,
};

async function definitionsServed(
  { context, log }: RestoreRun,
  {
    items,
    pollMs,
    signal,
  }: CallOptions & { readonly items: readonly StoredItem[]; readonly pollMs: number },
): Promise<void> {
  const { kube, environment, settings } = context;
  const deadlineMs = environment.nowMs() + settings.resourceTimeoutMs;
  for (const { name } of items) {
    while (!(await isEstablished(kube, name, { signal }))) {
      if (environment.nowMs() >= deadlineMs) {
        log.error(`definition ${name} is not established`, { resource: CRDS, name });
        break;
      }
      await environment.sleep(pollMs, { signal });
    }
  }
  await context.catalog.refresh({ signal });
}

async function isEstablished(
  kube: RestoreRun["context"]["kube"],
  name: string,
  options: CallOptions,
): Promise<boolean> {
  const found = await kube.get(DEFINITIONS, { name }, options).catch(() => undefined);
  if (found === undefined) {
    options.signal?.throwIfAborted();
    return true; // it was not restored, which is told elsewhere
  }
  const { conditions = [] } = (found["status"] ?? {}) as {
    conditions?: readonly { type: string; status: string }[];
  };
  const holds = (type: string): boolean =>
    conditions.some((condition) => condition.type === type && condition.status === "True");
  return holds("Established") && holds("NamesAccepted");
}

async function finishPod(
  run: RestoreRun,
  {
    pod,
    source,
    copies,
    selection,
    tally,
    podVolumes,
    pollMs,
    signal,
  }: CallOptions &
    Pick<RestoreParts, "podVolumes" | "pollMs"> & {
      readonly pod: KubeObject;
      readonly source: KubeObject;
      readonly copies: Awaited<ReturnType<typeof podVolumeBackupsOf>>;
      readonly selection: RestoreSelection;
      readonly tally: HookTally;
    },
): Promise<void> {
  const { context, restore, log } = run;
  const { namespace = "", name } = source.metadata;
  const backups = copies.filter(
    ({ spec }) => spec.pod.namespace === namespace && spec.pod.name === name,
  );
  if (backups.length > 0 && restoresVolumes(run, selection)) {
    await podVolumes.restore(run, pod, { backups, sourceNamespace: namespace, signal });
  }
  const hooks = restoreHooksOf(pod, restore.spec);
  if (hooks.length > 0) {
    await runRestoreHooks({ context, log, tally, pollMs }, pod, hooks, { signal });
  }
}

/** Claims and volumes must both be part of the restore: spec section 4.6 step 2. */
function restoresVolumes({ context, log }: RestoreRun, selection: RestoreSelection): boolean {
  const wanted = ["persistentvolumeclaims", "persistentvolumes"].every((name) => {
    const type = context.catalog.resolve(name);
    return type === undefined || selection.allows(type);
  });
  if (!wanted) {
    log.info("volumes are not restored: claims or persistent volumes are left out");
  }
  return wanted;
}

/** Throws an error that says why the ConfigMap cannot be used. */
export async function resourceModifiersOf(
  { kube, namespace }: RestoreRun["context"],
  { resourceModifier }: RestoreSpec,
  options: CallOptions,
): Promise<ResourceModifiers> {
  if (resourceModifier === undefined || resourceModifier === null) {
    return [];
  }
  const { name } = resourceModifier;
  try {
    return parseResourceModifiers(await kube.get(CONFIG_MAPS, { namespace, name }, options));
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new Error(`resource modifier ${name}: ${errorMessage(error)}`, { cause: error });
  }
}
