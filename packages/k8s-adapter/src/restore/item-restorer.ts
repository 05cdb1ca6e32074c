import { type CallOptions, errorMessage } from "@varve/core";
import type { RelatedItem } from "../backup/action.ts";
import { isKubeError, type KubeObject, type ResourceType } from "../kube/kube-api.ts";
import { patchSchemas, type PatchSchemaOf } from "../kube/patch-schema.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { LogFields } from "../server/run-log.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import type { Restore } from "../velero/resources.ts";
import type { RestoreAction, RestoreRun } from "./action.ts";
import type { BackupContents, StoredItem } from "./backup-contents.ts";
import { ExistingObjects } from "./existing-objects.ts";
import { RestoredNamespaces } from "./restored-namespaces.ts";
import { labelRestored, resetObject, whySkipped } from "./prepare-object.ts";
import { modify, type ResourceModifiers } from "./resource-modifiers.ts";
import { RestoredList } from "./restored-list.ts";
import { releaseClaim, type RestoredVolumes } from "./restored-volumes.ts";
import type { RestoreVolume } from "../native-snapshots/restore-volume.ts";
import type { RestoreSelection } from "./selection.ts";
import { restoresStatus, withManagedFields, withStatus } from "./restore-status.ts";

/** One object after another, each with what it needs before it: spec section 9.3. */

export interface RestorerParts {
  readonly contents: BackupContents;
  readonly selection: RestoreSelection;
  readonly actions: readonly RestoreAction[];
  readonly modifiers: ResourceModifiers;
  readonly volumes: RestoredVolumes;
  readonly restoreVolume: RestoreVolume;
  /** For pods that were created: their volumes and hooks, in the background. */
  readonly onPod: (created: KubeObject, source: KubeObject) => void;
}

export interface StartedRestoreOperation {
  readonly action: string;
  readonly item: RelatedItem;
  readonly operationId: string;
}

export class ItemRestorer {
  readonly list: RestoredList = new RestoredList();
  readonly operations: StartedRestoreOperation[] = [];
  /** Claims that this restore has made: `namespace/name` to the volume they had. */
  readonly claims: Map<string, string> = new Map();
  readonly #run: RestoreRun;
  readonly #parts: RestorerParts;
  readonly #namespaces: RestoredNamespaces;
  readonly #existing: ExistingObjects;
  readonly #schemaOf: PatchSchemaOf;
  readonly #done = new Set<string>();
  /** Volumes that are not restored: their claims get new ones. */
  readonly #provisioned = new Set<string>();
  /** Volumes that have another name now. */
  readonly #renamed = new Map<string, string>();

  constructor(run: RestoreRun, parts: RestorerParts) {
    this.#run = run;
    this.#parts = parts;
    this.#namespaces = new RestoredNamespaces(run, parts.contents, this.list);
    this.#existing = new ExistingObjects(run, this.list);
    const { kube } = run.context;
    this.#schemaOf = patchSchemas(async (version, options) => await kube.openApi(version, options));
  }

  /** Errors are logged, and the next item can come. Throws the signal's reason only. */
  async restore(type: ResourceType, item: StoredItem, options: CallOptions): Promise<void> {
    const key = `${groupResource(type)}|${item.namespace ?? ""}|${item.name}`;
    if (this.#done.has(key)) {
      return;
    }
    this.#done.add(key);
    const namespace = item.namespace === undefined ? undefined : this.#target(item.namespace);
    const fields = { resource: groupResource(type), namespace, name: item.name };
    try {
      await this.#restore(type, item, { ...options, namespace, fields });
    } catch (error) {
      options.signal?.throwIfAborted();
      this.#run.log.error(`error restoring ${fields.resource}`, { ...fields, error });
    }
  }

  async #restore(
    type: ResourceType,
    item: StoredItem,
    {
      namespace,
      fields,
      signal,
    }: CallOptions & { readonly namespace: string | undefined; readonly fields: LogFields },
  ): Promise<void> {
    const { log } = this.#run;
    const name = groupResource(type);
    if (name === "namespaces") {
      await this.#namespaces.ensure(item.name, this.#target(item.name), { signal });
      return;
    }
    const fromBackup = await this.#parts.contents.object(item);
    const skipped = whySkipped(name, fromBackup);
    if (skipped !== undefined) {
      log.info(`not restored: ${skipped}`, fields);
      return;
    }
    if (item.namespace !== undefined && namespace !== undefined) {
      await this.#namespaces.ensure(item.namespace, namespace, { signal });
    }
    if (name === "persistentvolumes" && !this.#keepsVolume(fromBackup, fields)) {
      this.list.set(fromBackup, "skipped");
      return;
    }
    const acted = await this.#act(type, fromBackup, { fields, signal });
    if (acted === undefined) {
      return;
    }
    const { object, problems } = await modify(this.#parts.modifiers, acted, {
      groupResource: name,
      namespace: item.namespace,
      schemaOf: this.#schemaOf,
      signal,
    });
    for (const problem of problems) {
      log.error(problem, fields);
    }
    if (namespace !== undefined) {
      object.metadata.namespace = namespace;
    }
    labelRestored(object, this.#run.restore);
    await this.#create(type, object, { fromBackup, fields, signal });
  }

  /** False: the claim gets a new volume. */
  #keepsVolume(volume: KubeObject, fields: LogFields): boolean {
    const { log, restore } = this.#run;
    const fate = this.#parts.volumes.fate(volume);
    if (fate === "keep" || (fate === "native-snapshot" && restore.spec.restorePVs !== false)) {
      return true;
    }
    this.#provisioned.add(volume.metadata.name);
    log.info("the claim of this volume gets a new one", fields);
    return false;
  }

  /** Over a new volume of its provider, where the backup has a snapshot of the old one. Its claim waits for it when that fails. */
  async #fromSnapshot(
    volume: KubeObject,
    fromBackup: KubeObject,
    options: CallOptions,
  ): Promise<KubeObject> {
    const { volumes, restoreVolume } = this.#parts;
    if (volumes.fate(fromBackup) !== "native-snapshot") {
      return volume;
    }
    const { name } = fromBackup.metadata;
    const snapshot = volumes.snapshot(name);
    if (snapshot === undefined) {
      throw new Error("the backup does not say which snapshot its provider has of it");
    }
    const { claimRef } = Object(fromBackup["spec"]) as { claimRef?: { namespace?: string } };
    const source = { snapshot, claimNamespace: claimRef?.namespace };
    const restored = await restoreVolume(this.#run, volume, source, options);
    this.#renamed.set(name, restored.metadata.name);
    return restored;
  }

  /** Undefined: an action says that it is not to be restored. */
  async #act(
    type: ResourceType,
    fromBackup: KubeObject,
    { fields, signal }: CallOptions & { readonly fields: LogFields },
  ): Promise<KubeObject | undefined> {
    let object = structuredClone(fromBackup);
    resetObject(object);
    for (const action of this.#parts.actions.filter((found) => found.appliesTo(type))) {
      const result = await action.execute(this.#run, { type, object, fromBackup }, { signal });
      if (result.skip === true) {
        this.#run.log.info(`not restored: ${action.name} says so`, fields);
        return undefined;
      }
      ({ object } = result);
      if (result.operationId !== undefined) {
        const { namespace, name } = fromBackup.metadata;
        const item = { groupResource: groupResource(type), namespace, name };
        this.operations.push({ action: action.name, item, operationId: result.operationId });
      }
      for (const related of result.related ?? []) {
        await this.#restoreRelated(related, { fields, signal });
      }
    }
    if (groupResource(type) === "persistentvolumeclaims") {
      this.#freeClaim(object, fromBackup);
    } else if (groupResource(type) === "persistentvolumes") {
      releaseClaim(object, this.#run.restore.spec.namespaceMapping ?? {});
      object = await this.#fromSnapshot(object, fromBackup, { signal });
    }
    return object;
  }

  async #restoreRelated(
    { groupResource: name, namespace, name: itemName }: RelatedItem,
    { fields, signal }: CallOptions & { readonly fields: LogFields },
  ): Promise<void> {
    const { context, log } = this.#run;
    const type = context.catalog.resolve(name);
    if (type === undefined || !this.#parts.selection.allows(type)) {
      return;
    }
    if (namespace !== undefined && !this.#parts.selection.includesNamespace(namespace)) {
      return;
    }
    const item = this.#parts.contents.find(name, namespace, itemName);
    if (item === undefined) {
      log.warn(`${name} ${itemName}, which it needs, is not in the backup`, fields);
      return;
    }
    await this.restore(type, item, { signal });
  }

  #freeClaim(claim: KubeObject, { metadata }: KubeObject): void {
    const spec = (claim["spec"] ?? {}) as { volumeName?: string };
    const volume = spec.volumeName ?? "";
    const isInBackup =
      this.#parts.contents.find("persistentvolumes", undefined, volume) !== undefined;
    if (this.#provisioned.has(volume) || (volume !== "" && !isInBackup)) {
      delete spec.volumeName;
    } else if (volume !== "") {
      spec.volumeName = this.#renamed.get(volume) ?? volume;
    }
    const namespace = this.#target(metadata.namespace ?? "");
    this.claims.set(`${namespace}/${metadata.name}`, volume);
  }

  async #create(
    type: ResourceType,
    object: KubeObject,
    {
      fromBackup,
      fields,
      signal,
    }: CallOptions & { readonly fromBackup: KubeObject; readonly fields: LogFields },
  ): Promise<void> {
    const { context, restore, log } = this.#run;
    const where = { namespace: object.metadata.namespace, name: object.metadata.name };
    let created: KubeObject;
    try {
      created = await context.kube.create(type, object, { signal });
    } catch (error) {
      const isThere =
        isKubeError(error, "already-exists") || (await this.#isThere(type, where, signal));
      if (!isThere) {
        this.list.set(object, "failed");
        throw error;
      }
      const existing = await context.kube.get(type, where, { signal });
      if (!isMadeBy(restore, existing)) {
        this.claims.delete(`${where.namespace ?? ""}/${where.name}`);
        await this.#existing.meet(type, { existing, wanted: object, fields, signal });
        return;
      }
      created = existing; // this restore has made it, before it was cut off
    }
    this.list.set(object, "created");
    log.info("restored", fields);
    if (restoresStatus(restore, type, { object, catalog: context.catalog })) {
      await withStatus(context, type, { created, fromBackup, signal }).catch((error: unknown) => {
        signal?.throwIfAborted();
        log.warn(`its status could not be restored: ${errorMessage(error)}`, fields);
      });
    }
    await withManagedFields(context, type, { created, fromBackup, signal }).catch(
      (error: unknown) => {
        signal?.throwIfAborted();
        log.warn(`its managedFields could not be restored: ${errorMessage(error)}`, fields);
      },
    );
    if (groupResource(type) === "pods") {
      this.#parts.onPod(created, fromBackup);
    }
  }

  /** A Service whose node port is taken is told to be invalid, also where the port is its own. */
  async #isThere(
    type: ResourceType,
    where: { readonly namespace: string | undefined; readonly name: string },
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (groupResource(type) !== "services") {
      return false;
    }
    return await this.#run.context.kube.get(type, where, { signal }).then(
      () => true,
      () => false,
    );
  }

  #target(namespace: string): string {
    return this.#run.restore.spec.namespaceMapping?.[namespace] ?? namespace;
  }
}

/** An update labels what was there before; that is older than the restore, by the API server's clock. */
function isMadeBy({ metadata }: Restore, existing: KubeObject): boolean {
  const { labels, creationTimestamp } = existing.metadata;
  return (
    labels?.[LABEL.restoreName] === labelValue(metadata.name) &&
    (creationTimestamp ?? "") >= (metadata.creationTimestamp ?? "")
  );
}
