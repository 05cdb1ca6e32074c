import { NAMESPACES } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import type { RestoreRun } from "./action.ts";
import type { BackupContents } from "./backup-contents.ts";
import { labelRestored } from "./prepare-object.ts";
import type { RestoredList } from "./restored-list.ts";

const POLL_MS = 500;

/** Target namespaces: made when they are missing, waited for when they are on their way out, never changed (spec 9.3 step 1). */
export class RestoredNamespaces {
  readonly #run: RestoreRun;
  readonly #contents: BackupContents;
  readonly #list: RestoredList;
  readonly #ready = new Map<string, Promise<void>>();

  constructor(run: RestoreRun, contents: BackupContents, list: RestoredList) {
    this.#run = run;
    this.#contents = contents;
    this.#list = list;
  }

  /** Throws when it cannot be made, and when an old one did not go in time; for every object that would live in it. */
  async ensure(source: string, target: string, options: CallOptions): Promise<void> {
    const known = this.#ready.get(target) ?? this.#make(source, target, options);
    this.#ready.set(target, known);
    await known;
  }

  async #make(source: string, target: string, { signal }: CallOptions): Promise<void> {
    const { context, log } = this.#run;
    const deadlineMs = context.environment.nowMs() + context.settings.terminatingResourceTimeoutMs;
    for (;;) {
      const existing = await context.kube
        .get(NAMESPACES, { name: target }, { signal })
        .catch((error: unknown) => {
          if (isKubeError(error, "not-found")) {
            return undefined;
          }
          throw error;
        });
      if (existing === undefined) {
        const namespace = await this.#namespace(source, target);
        await context.kube.create(NAMESPACES, namespace, { signal });
        this.#list.set(namespace, "created");
        log.info(`made namespace ${target}`);
        return;
      }
      if (existing.metadata.deletionTimestamp === undefined) {
        return;
      }
      if (context.environment.nowMs() >= deadlineMs) {
        throw new Error(`namespace ${target} is still being deleted`);
      }
      await context.environment.sleep(POLL_MS, { signal });
    }
  }

  /** With the labels and annotations that were stored, or bare. */
  async #namespace(source: string, target: string): Promise<KubeObject> {
    const item = this.#contents.find("namespaces", undefined, source);
    const stored = item === undefined ? undefined : await this.#contents.object(item);
    const { labels = {}, annotations = {} } = stored?.metadata ?? {};
    const { "kubernetes.io/metadata.name": _, ...kept } = labels; // the server sets it
    const namespace: KubeObject = {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: target, labels: kept, annotations },
      ...(stored?.["spec"] === undefined ? {} : { spec: stored["spec"] }),
    };
    labelRestored(namespace, this.#run.restore);
    return namespace;
  }
}
