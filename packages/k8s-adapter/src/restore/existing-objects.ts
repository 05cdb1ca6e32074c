import { type CallOptions, errorMessage } from "@varve/core";
import type { KubeObject, ResourceType } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { LogFields } from "../server/run-log.ts";
import { LABEL } from "../velero/labels.ts";
import type { RestoreRun } from "./action.ts";
import { isSame, mergePatchOf, resetObject } from "./prepare-object.ts";
import type { RestoredList } from "./restored-list.ts";

/** Objects that are in the cluster already: spec section 9.3 step 8. */
export class ExistingObjects {
  readonly #run: RestoreRun;
  readonly #list: RestoredList;

  constructor(run: RestoreRun, list: RestoredList) {
    this.#run = run;
    this.#list = list;
  }

  async meet(
    type: ResourceType,
    {
      existing,
      wanted,
      fields,
      signal,
    }: CallOptions & {
      readonly existing: KubeObject;
      readonly wanted: KubeObject;
      readonly fields: LogFields;
    },
  ): Promise<void> {
    const { restore, log } = this.#run;
    const updates = restore.spec.existingResourcePolicy === "update";
    if (isSame(existing, wanted)) {
      if (updates) {
        await this.#patch(type, existing, { patch: labelPatch(wanted), signal });
      }
      this.#list.set(wanted, "skipped");
      return;
    }
    if (groupResource(type) === "serviceaccounts") {
      await this.#patch(type, existing, { patch: mergeAccounts(existing, wanted), signal });
      this.#list.set(wanted, "updated");
      return;
    }
    if (!updates) {
      log.warn("exists and is not the same; it is left as it is", fields);
      this.#list.set(wanted, "failed");
      return;
    }
    try {
      const current = structuredClone(existing);
      resetObject(current);
      await this.#patch(type, existing, { patch: mergePatchOf(current, wanted), signal });
      this.#list.set(wanted, "updated");
    } catch (error) {
      signal?.throwIfAborted();
      log.warn(`exists, and could not be updated: ${errorMessage(error)}`, fields);
      this.#list.set(wanted, "failed");
      await this.#patch(type, existing, { patch: labelPatch(wanted), signal }).catch(() => {
        signal?.throwIfAborted(); // the warning above says what matters
      });
    }
  }

  async #patch(
    type: ResourceType,
    { metadata: { namespace, name } }: KubeObject,
    { patch, signal }: CallOptions & { readonly patch: unknown },
  ): Promise<void> {
    if (typeof patch === "object" && patch !== null) {
      await this.#run.context.kube.mergePatch(type, { namespace, name }, patch, { signal });
    }
  }
}

function labelPatch({ metadata: { labels = {} } }: KubeObject): object {
  const { [LABEL.backupName]: backup, [LABEL.restoreName]: restore } = labels;
  return { metadata: { labels: { [LABEL.backupName]: backup, [LABEL.restoreName]: restore } } };
}

/** What either has; what the cluster has wins. */
function mergeAccounts(existing: KubeObject, wanted: KubeObject): object {
  const union = (key: string): unknown[] => {
    const lists = [existing, wanted].map((object) => (object[key] ?? []) as { name?: string }[]);
    const all = lists.flat();
    return all.filter(({ name }, index) => all.findIndex((other) => other.name === name) === index);
  };
  return {
    metadata: {
      labels: { ...wanted.metadata.labels, ...existing.metadata.labels, ...onlyRestored(wanted) },
      annotations: { ...wanted.metadata.annotations, ...existing.metadata.annotations },
    },
    secrets: union("secrets"),
    imagePullSecrets: union("imagePullSecrets"),
  };
}

function onlyRestored(wanted: KubeObject): object {
  return (labelPatch(wanted) as { metadata: { labels: object } }).metadata.labels;
}
