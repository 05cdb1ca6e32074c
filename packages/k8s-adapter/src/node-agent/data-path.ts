import { type CallOptions, errorMessage } from "@varve/core";
import { ignoreMissing, isKubeError, type KubeObject, type ResourceRef } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { ProgressPatches } from "../server/progress-patches.ts";
import { formatTime } from "../velero/duration.ts";
import type { DataPathStatus } from "../velero/resources.ts";
import type { CopyProgress } from "../volume/copy-volume.ts";
import { isFinal } from "../volume/wait-for-copies.ts";
import type { Slots } from "./slots.ts";

/**
 * The life of a resource that moves data: accepted, in progress, and one of completed, failed and canceled. One that an
 * agent has left in progress is begun again by the next: what it stored is found, and not stored twice.
 */

export interface DataPathObject extends KubeObject {
  spec: { cancel?: boolean; [member: string]: unknown } & object;
  status?: DataPathStatus;
}

export interface DataPathOptions<T extends DataPathObject> {
  readonly name: string;
  readonly type: ResourceRef;
  /** Shared by everything that an agent copies. */
  readonly slots: Slots;
  readonly progressMs: number;
  /** Whether this agent is to do it, now: `later` looks again soon. */
  readonly isOurs: (
    context: Context,
    object: T,
    options: CallOptions,
  ) => Promise<"yes" | "no" | "later">;
  /** Gives what is written into the status beside the phase. Must end soon when `stop` aborts. */
  readonly work: (
    context: Context,
    object: T,
    options: CallOptions & {
      readonly stop: AbortSignal;
      /** It was begun before, by an agent that was killed. */
      readonly resumes: boolean;
      readonly onProgress: (progress: CopyProgress) => void;
    },
  ) => Promise<object>;
  /** Called for final ones, until it answers `done`. */
  readonly tidy?: (context: Context, object: T, options: CallOptions) => Promise<"done" | "later">;
}

const LATER_MS = 1000;
/** Why a copy stops that has its end already: by the server, which took this agent's node for lost. */
const ENDED = Symbol("ended");

/** The controller, and how to wait for what it has begun. */
export function dataPathController<T extends DataPathObject>(
  options: DataPathOptions<T>,
): { readonly controller: Controller; readonly idle: () => Promise<void> } {
  const running = new Map<
    string,
    { readonly stop: AbortController; readonly done: Promise<void> }
  >();
  const tidied = new Set<string>();
  const { name, type } = options;
  const controller: Controller = {
    name,
    type,
    async reconcile(context, found, { signal }) {
      const object = found as T; // by its type
      const uid = object.metadata.uid ?? "";
      if (isFinal(object.status)) {
        running.get(uid)?.stop.abort(ENDED);
        if (options.tidy === undefined || tidied.has(uid)) {
          return undefined;
        }
        const tidy = await options.tidy(context, object, { signal });
        return tidy === "done" ? void tidied.add(uid) : { againMs: LATER_MS };
      }
      const task = running.get(uid);
      if (task !== undefined) {
        if (object.spec.cancel === true && !task.stop.signal.aborted) {
          await patchStatus(context, type, object, { phase: "Canceling" });
          task.stop.abort();
        }
        return undefined;
      }
      const ours = await options.isOurs(context, object, { signal });
      if (ours !== "yes") {
        return ours === "later" ? { againMs: LATER_MS } : undefined;
      }
      const stop = new AbortController();
      const done = runTask(context, object, { ...options, stop, signal }).finally(() =>
        running.delete(uid),
      );
      running.set(uid, { stop, done });
      return undefined;
    },
    async removed(_context, { metadata }) {
      running.get(metadata.uid ?? "")?.stop.abort();
      tidied.delete(metadata.uid ?? "");
    },
  };
  return {
    controller,
    idle: async () => {
      await Promise.all([...running.values()].map(({ done }) => done));
    },
  };
}

async function runTask<T extends DataPathObject>(
  context: Context,
  object: T,
  options: DataPathOptions<T> & CallOptions & { readonly stop: AbortController },
): Promise<void> {
  const { type, slots, stop, signal } = options;
  const { environment } = context;
  const now = (): string => formatTime(environment.nowMs());
  const patch = async (status: object): Promise<void> =>
    await patchStatus(context, type, object, status);
  try {
    if (object.spec.cancel === true) {
      await patch({ phase: "Canceled", completionTimestamp: now(), message: "it was canceled" });
      return;
    }
    if ((object.status?.phase ?? "New") === "New") {
      await patch({ phase: "Accepted", acceptedTimestamp: now() });
    }
    using _slot = await slots.take({ signal: either(signal, stop.signal) });
    const startTimestamp = await begin(context, type, object, now());
    if (startTimestamp === undefined) {
      return;
    }
    const reporter = new ProgressPatches(environment, options.progressMs, patch);
    const result = await options.work(context, object, {
      signal: either(signal, stop.signal),
      stop: stop.signal,
      resumes: object.status?.startTimestamp != null,
      onProgress: (progress) => reporter.report(progress),
    });
    await reporter.end();
    await patch({ phase: "Completed", completionTimestamp: now(), ...result });
  } catch (error) {
    if (signal?.aborted === true || stop.signal.reason === ENDED) {
      return; // this agent ends, and the next one goes on with it; or somebody has said the end
    }
    const isCanceled = stop.signal.aborted;
    const message = isCanceled ? "it was canceled" : errorMessage(error);
    const phase = isCanceled ? "Canceled" : "Failed";
    await patch({ phase, completionTimestamp: now(), message }).catch((failure: unknown) => {
      environment.log({
        level: "error",
        message: `${object.metadata.name}: ${errorMessage(failure)}`,
      });
    });
  }
}

/**
 * What a watch has shown may be old: the last word of an agent that was killed may have come since. So only what is looked at now is put in progress, and only
 * if nobody changes it meanwhile. Gives when it was first begun; nothing when it is gone or has its end.
 */
async function begin(
  { kube, namespace }: Context,
  type: ResourceRef,
  { metadata: { name, uid } }: DataPathObject,
  now: string,
): Promise<string | undefined> {
  for (;;) {
    const found = (await kube.get(type, { namespace, name }).catch(ignoreMissing)) as
      | DataPathObject
      | undefined; // by its type
    if (found === undefined || found.metadata.uid !== uid || isFinal(found.status)) {
      return undefined;
    }
    const { resourceVersion } = found.metadata;
    const startTimestamp = found.status?.startTimestamp ?? now;
    try {
      const status = { phase: "InProgress", startTimestamp };
      await kube.mergePatch(type, { namespace, name }, { metadata: { resourceVersion }, status });
      return startTimestamp;
    } catch (error) {
      if (!isKubeError(error, "conflict")) {
        ignoreMissing(error);
        return undefined;
      }
    }
  }
}

function either(signal: AbortSignal | undefined, other: AbortSignal): AbortSignal {
  return signal === undefined ? other : AbortSignal.any([signal, other]);
}

async function patchStatus(
  { kube, namespace }: Context,
  type: ResourceRef,
  { metadata }: KubeObject,
  status: object,
): Promise<void> {
  const { name } = metadata;
  await kube.mergePatch(type, { namespace, name }, { status }).catch(ignoreMissing);
}
