import type { CallOptions } from "@varve/core";
import type { KubeObject, ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { BackupAction, BackupRun, RelatedItem } from "./action.ts";
import { MUST_INCLUDE, SKIP_ITEM } from "./builtin-actions.ts";
import type { ClusterView } from "./cluster-view.ts";
import { type BackupFilters, itemKey, type ItemName, itemOf, whyLeftOut } from "./collect-items.ts";
import { newOperation, type ItemOperation } from "./item-operations.ts";
import type { PodCopies } from "./pod-copies.ts";
import type { TarballWriter } from "./tarball.ts";

/** Stores objects, each once, with what the actions say belongs to them (semantics spec section 2.5 step 5). */
export class ItemStorer {
  readonly #run: BackupRun;
  readonly #view: ClusterView;
  readonly #filters: BackupFilters;
  readonly #actions: readonly BackupAction[];
  readonly #tarball: TarballWriter;
  readonly #copies: PodCopies;
  readonly #done = new Set<string>();
  readonly #stored = new Map<string, Set<string>>();
  readonly #types = new Map<string, ResourceType>();
  readonly #operations: ItemOperation[] = [];
  #count = 0;

  constructor(
    run: BackupRun,
    parts: {
      readonly view: ClusterView;
      readonly filters: BackupFilters;
      readonly actions: readonly BackupAction[];
      readonly tarball: TarballWriter;
      readonly copies: PodCopies;
    },
  ) {
    this.#run = run;
    this.#view = parts.view;
    this.#filters = parts.filters;
    this.#actions = parts.actions;
    this.#tarball = parts.tarball;
    this.#copies = parts.copies;
  }

  get storedCount(): number {
    return this.#count;
  }

  get operations(): readonly ItemOperation[] {
    return this.#operations;
  }

  /** Each type of which something was stored. */
  get storedTypes(): readonly ResourceType[] {
    return [...this.#types.values()];
  }

  /** Of `-resource-list.json.gz`. */
  get resourceList(): Readonly<Record<string, readonly string[]>> {
    return Object.fromEntries([...this.#stored].map(([kind, names]) => [kind, [...names].sort()]));
  }

  isDone(item: ItemName): boolean {
    return this.#done.has(itemKey(item));
  }

  /** It will not be stored. */
  drop(item: ItemName): void {
    this.#done.add(itemKey(item));
  }

  /** Errors are logged: the object is not stored, and the run goes on. */
  async store(
    type: ResourceType,
    object: KubeObject,
    options: CallOptions & { readonly mustInclude?: boolean | undefined },
  ): Promise<void> {
    const item = itemOf(type, object);
    if (this.isDone(item)) {
      return;
    }
    this.#done.add(itemKey(item));
    const fields = {
      resource: groupResource(type),
      namespace: item.namespace,
      name: item.name,
    };
    const reason = whyLeftOut(this.#filters, type, object, {
      mustInclude: options.mustInclude === true,
    });
    if (reason !== undefined) {
      this.#run.log.info(`left out: ${reason}`, fields);
      return;
    }
    try {
      await this.#storeAllowed(type, object, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      this.#run.log.error("Error backing up item", { ...fields, error });
    }
  }

  async #storeAllowed(type: ResourceType, given: KubeObject, options: CallOptions): Promise<void> {
    const isPod = groupResource(type) === "pods";
    const volumes = isPod ? await this.#copies.choose(given, options) : [];
    const object = await this.#execute(type, given, options);
    if (object === undefined) {
      this.#run.log.info("left out by an action", {
        resource: groupResource(type),
        namespace: given.metadata.namespace,
        name: given.metadata.name,
      });
      return;
    }
    if (groupResource(type) === "persistentvolumes") {
      this.#copies.volumeStored(object);
    }
    if (isPod) {
      await this.#copies.start(object, volumes, options);
    }
    await this.#tarball.addObject(type, object);
    this.#record(type, object);
  }

  async #execute(
    type: ResourceType,
    given: KubeObject,
    options: CallOptions,
  ): Promise<KubeObject | undefined> {
    let object = given;
    for (const action of this.#actions.filter((each) => each.appliesTo(type))) {
      const result = await action.execute(this.#run, { type, object }, options);
      if (result === undefined || result.object.metadata.annotations?.[SKIP_ITEM] !== undefined) {
        return undefined;
      }
      ({ object } = result);
      const mustInclude = takeMark(object);
      if (result.operation !== undefined) {
        this.#operations.push(
          newOperation(this.#run, action.name, itemOf(type, object), result.operation),
        );
      }
      for (const related of result.related ?? []) {
        await this.#storeRelated(related, { ...options, mustInclude });
      }
    }
    return object;
  }

  async #storeRelated(
    related: RelatedItem,
    options: CallOptions & { readonly mustInclude: boolean },
  ): Promise<void> {
    const type = this.#run.context.catalog.resolve(related.groupResource);
    const fields = { resource: related.groupResource, ...related, groupResource: undefined };
    if (type === undefined) {
      this.#run.log.warn("a related item is of a type that the API server does not have", fields);
      return;
    }
    if (
      this.isDone({ type, namespace: related.namespace, name: related.name }) ||
      (!options.mustInclude && !this.#filters.resources.allows(type))
    ) {
      return;
    }
    const object = await this.#view.object(type, related, options);
    if (object === undefined) {
      this.#run.log.warn("a related item is not there", fields);
      return;
    }
    await this.store(type, object, options);
  }

  #record(type: ResourceType, object: KubeObject): void {
    const { namespace, name } = object.metadata;
    const kind = `${object.apiVersion ?? ""}/${object.kind ?? type.kind}`;
    const names = this.#stored.get(kind) ?? new Set();
    this.#stored.set(kind, names.add(namespace === undefined ? name : `${namespace}/${name}`));
    this.#types.set(groupResource(type), type);
    this.#count++;
  }
}

/** Takes off the mark by which an action asks for its related items. */
function takeMark({ metadata }: KubeObject): boolean {
  const marked = metadata.annotations?.[MUST_INCLUDE] === "true";
  delete metadata.annotations?.[MUST_INCLUDE];
  return marked;
}
