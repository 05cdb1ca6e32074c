import { errorMessage, isVarveError, parseBlobId, VarveError } from "@varve/core";
import type { BlobStore, CallOptions } from "@varve/core/blob";
import { isKubeError, type KubeObject, type ResourceType } from "../kube/kube-api.ts";
import { BACKUP_FILES, readJsonList } from "../location/backup-files.ts";
import type { Location } from "../location/location.ts";
import type { Context } from "../server/context.ts";
import { RecordedLog } from "../server/recorded-log.ts";
import { durationMs, formatTime, parseTime } from "../velero/duration.ts";
import type { Backup, BackupStatus } from "../velero/resources.ts";
import type { BackupAction, BackupRun, OperationProgress } from "./action.ts";
import { put, putBackupJson, putJsonGz } from "./put-backup-files.ts";
import { nowText, patchBackup } from "./backup-status.ts";
import { isOpen, type ItemOperation, relatedItem } from "./item-operations.ts";
import { actionReports, counted } from "./store-objects.ts";
import { rewriteTarball } from "./tarball.ts";
import type { VolumeInfo } from "./volume-info.ts";

/** What happens to a Backup after its files are in the bucket: semantics spec section 2.7. All of it may be repeated. */

/** Asks for the progress of open operations; goes on to Finalizing when there are none. */
export async function pollOperations(
  context: Context,
  backup: Backup,
  actions: readonly BackupAction[],
  options: CallOptions,
): Promise<void> {
  await withLocation(context, backup, options, async (location) => {
    const run = quietRun(context, backup);
    const store = location.backupFiles(backup.metadata.name);
    const file = BACKUP_FILES.BackupItemOperations(backup.metadata.name);
    const operations = await readOperations(store, file, options);
    const before = JSON.stringify(operations);
    for (const operation of operations.filter(isOpen)) {
      await poll(run, operation, actions, options);
    }
    if (JSON.stringify(operations) === before && operations.some(isOpen)) {
      return;
    }
    const failed = operations.filter(({ status }) => status.phase === "Failed").length;
    const wasFailed = backup.status?.phase?.endsWith("PartiallyFailed") === true || failed > 0;
    const phase = operations.some(isOpen) ? "WaitingForPluginOperations" : "Finalizing";
    const status: BackupStatus = {
      phase: wasFailed ? `${phase}PartiallyFailed` : phase,
      ...counted(
        "backupItemOperationsCompleted",
        operations.filter((operation) => operation.status.phase === "Completed").length,
      ),
      ...counted("backupItemOperationsFailed", failed),
    };
    await putJsonGz(store, file, operations, options);
    await putBackupJson(store, withStatus(backup, status), options);
    await patchBackup(context, backup, { status }, options);
  });
}

async function poll(
  run: BackupRun,
  operation: ItemOperation,
  actions: readonly BackupAction[],
  options: CallOptions,
): Promise<void> {
  const { environment, settings } = run.context;
  const { spec, status } = operation;
  const action = actions.find(({ name }) => name === spec.backupItemAction);
  const limitMs = durationMs(run.backup.spec.itemOperationTimeout, settings.itemOperationTimeoutMs);
  const startedMs = parseTime(status.created) ?? parseTime(run.backup.status?.startTimestamp) ?? 0;
  const progress = await progressOf(run, action, spec.operationID, options);
  if (progress === undefined) {
    return; // the API server did not answer: asked again
  }
  const { completed, error, ...counts } = progress;
  const { units: operationUnits, nCompleted, nTotal, description } = counts;
  Object.assign(status, dropUndefined({ nCompleted, nTotal, operationUnits, description }));
  if (completed) {
    status.phase = error === undefined || error === "" ? "Completed" : "Failed";
    Object.assign(status, dropUndefined({ error: error === "" ? undefined : error }));
  } else if (environment.nowMs() - startedMs >= limitMs) {
    await action?.cancel?.(run, spec.operationID, options).catch(() => {
      options.signal?.throwIfAborted(); // it is given up either way
    });
    status.phase = "Failed";
    status.error = `the operation was not done in ${run.backup.spec.itemOperationTimeout ?? "time"}`;
  } else {
    return;
  }
  status.updated = formatTime(environment.nowMs());
}

async function progressOf(
  run: BackupRun,
  action: BackupAction | undefined,
  id: string,
  options: CallOptions,
): Promise<OperationProgress | undefined> {
  if (action?.progress === undefined) {
    return { completed: true, error: "this server has no such action" };
  }
  try {
    return await action.progress(run, id, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    return isKubeError(error, "unavailable") || isKubeError(error, "timeout")
      ? undefined
      : { completed: true, error: errorMessage(error) };
  }
}

/** Stores what operations have changed, and gives the Backup its last phase. */
export async function finalizeBackup(
  context: Context,
  backup: Backup,
  actions: readonly BackupAction[],
  options: CallOptions,
): Promise<void> {
  await withLocation(context, backup, options, async (location) => {
    const { name } = backup.metadata;
    const run = { ...quietRun(context, backup), finalizing: true };
    const store = location.backupFiles(name);
    const operations = await readOperations(
      store,
      BACKUP_FILES.BackupItemOperations(name),
      options,
    );
    let counts: Partial<BackupStatus> = {};
    if (operations.length > 0) {
      await storeAgain(run, { store, operations, actions }, options);
      const report = await actionReports(run, actions, options);
      await mergeVolumeInfos(store, name, report.infos, options);
      counts = {
        ...counted("csiVolumeSnapshotsAttempted", report.csiSnapshotsAttempted),
        ...counted("csiVolumeSnapshotsCompleted", report.csiSnapshotsCompleted),
      };
    }
    for (const action of actions) {
      await action.finish?.(run, options);
    }
    const partial = backup.status?.phase === "FinalizingPartiallyFailed";
    const status = {
      ...counts,
      phase: partial ? "PartiallyFailed" : "Completed",
      completionTimestamp: nowText(context),
    } as const;
    await putBackupJson(store, withStatus(backup, status), options);
    await patchBackup(context, backup, { status }, options);
  });
}

/** The objects that operations name, as they are now. */
async function storeAgain(
  run: BackupRun,
  parts: {
    readonly store: BlobStore;
    readonly operations: readonly ItemOperation[];
    readonly actions: readonly BackupAction[];
  },
  options: CallOptions,
): Promise<void> {
  const { catalog, kube, environment } = run.context;
  const changes: { type: ResourceType; object: KubeObject }[] = [];
  for (const item of parts.operations.flatMap(({ spec }) => spec.postOperationItems ?? [])) {
    const { groupResource, ...where } = relatedItem(item);
    const type = catalog.resolve(groupResource);
    try {
      let object = type && (await kube.get(type, where, options));
      for (const action of type === undefined ? [] : parts.actions) {
        if (type !== undefined && object !== undefined && action.appliesTo(type)) {
          object = (await action.execute(run, { type, object }, options))?.object;
        }
      }
      if (type !== undefined && object !== undefined) {
        changes.push({ type, object });
      }
    } catch (error) {
      if (!isKubeError(error, "not-found")) {
        throw error;
      }
    }
  }
  if (changes.length > 0) {
    const file = BACKUP_FILES.BackupContents(run.backup.metadata.name);
    const archive = await parts.store.get(parseBlobId(file), options);
    const rewritten = await rewriteTarball(archive, changes, { nowMs: environment.nowMs() });
    await put(parts.store, file, rewritten, options);
  }
}

async function mergeVolumeInfos(
  store: BlobStore,
  backup: string,
  infos: readonly VolumeInfo[],
  options: CallOptions,
): Promise<void> {
  const file = BACKUP_FILES.BackupVolumeInfos(backup);
  const before = await readJsonList(store, file, options);
  const told = new Set(infos.map(({ pvName }) => pvName));
  const kept = (before as readonly VolumeInfo[]).filter(
    ({ pvName }) => pvName === undefined || !told.has(pvName),
  );
  await putJsonGz(store, file, [...kept, ...infos], options);
}

/** Without its location a Backup can go no further: PartiallyFailed at once (spec 1.2). */
async function withLocation(
  context: Context,
  backup: Backup,
  options: CallOptions,
  work: (location: Location) => Promise<void>,
): Promise<void> {
  try {
    await using location = await context.locations.open(backup.spec.storageLocation ?? "", options);
    if (location.readOnly) {
      throw new VarveError("read-only", `location ${location.name} is read-only`);
    }
    await work(location);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof VarveError && (isHopeless(error) || isTooLate(context, backup))) {
      const status = {
        phase: "PartiallyFailed",
        failureReason: `backup could not be finished: ${errorMessage(error)}`,
        completionTimestamp: nowText(context),
      } as const;
      await patchBackup(context, backup, { status }, options);
      return;
    }
    throw error; // tried again
  }
}

function isHopeless(error: VarveError): boolean {
  return (["invalid-argument", "read-only", "corrupt", "blob-not-found"] as const).some((code) =>
    isVarveError(error, code),
  );
}

function isTooLate({ environment, settings }: Context, { status, spec }: Backup): boolean {
  const startedMs = parseTime(status?.startTimestamp) ?? 0;
  const limitMs = durationMs(spec.itemOperationTimeout, settings.itemOperationTimeoutMs);
  return environment.nowMs() - startedMs > limitMs;
}

async function readOperations(
  store: BlobStore,
  file: string,
  options: CallOptions,
): Promise<ItemOperation[]> {
  const value = await readJsonList(store, file, options);
  const isOperation = (each: Partial<ItemOperation> | null): boolean =>
    typeof each?.spec?.operationID === "string" && typeof each.status?.phase === "string";
  if (!value.every((each) => isOperation(each as Partial<ItemOperation> | null))) {
    throw new VarveError("corrupt", `${file} is not a list of operations`);
  }
  return value as ItemOperation[]; // looked at above; other members are looked at where they are read
}

function withStatus(backup: Backup, status: Partial<BackupStatus>): Backup {
  return { ...backup, status: { ...backup.status, ...status } };
}

/** After the run has ended nothing is added to its log. */
function quietRun(context: Context, backup: Backup): BackupRun {
  const { namespace = "", name } = backup.metadata;
  const log = new RecordedLog(context.environment, { backup: `${namespace}/${name}` });
  return { context, backup, log };
}

function dropUndefined(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
}
