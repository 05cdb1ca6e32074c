import { type CallOptions, errorMessage, VarveError } from "@varve/core";
import { PODS } from "../kube/core-types.ts";
import { ignoreMissing, type KubeObject, isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { formatTime, parseTime } from "../velero/duration.ts";
import type { DataDownload, DataUpload } from "../velero/resources.ts";
import { isFinal } from "../volume/wait-for-copies.ts";
import { nodeState } from "../volume/node-state.ts";
import { nodeOf } from "../volume/pod-spec.ts";
import { type DataPathOptions, dataPathController } from "./data-path.ts";
import type { NodeAgentParts } from "./run-node-agent.ts";

/**
 * What DataUploads and DataDownloads have in common (spec section 5.3): any agent accepts one and has its volume mounted
 * by a pod; the agent of the node where that pod runs moves the data. When a node is lost, another agent begins again.
 */

type Mover = DataUpload | DataDownload;

export interface DataMoverOptions<T extends Mover>
  extends Pick<DataPathOptions<T>, "name" | "type" | "work"> {
  /** Idempotent. The pod, once it runs. A `VarveError` is final. */
  readonly expose: (
    context: Context,
    object: T,
    options: CallOptions,
  ) => Promise<KubeObject | undefined>;
  /** Called by at least one agent when it has ended; idempotent. */
  readonly cleanUp: (context: Context, object: T, options: CallOptions) => Promise<void>;
}

const FINALIZER = "velero.io/data-upload-download-finalizer";

export function dataMover<T extends Mover>(
  parts: NodeAgentParts,
  options: DataMoverOptions<T>,
): ReturnType<typeof dataPathController> {
  const { settings, slots } = parts;
  const { name, type, work } = options;
  const { controller, idle } = dataPathController<T>({
    name,
    type,
    slots,
    progressMs: settings.progressMs,
    work,
    isOurs: async (context, object, { signal }) =>
      await isOurs(context, object, { ...parts, ...options, signal }),
    tidy: async (context, object, { signal }) =>
      await tidy(context, object, { ...parts, ...options, signal }),
  });
  const withDeletion: Controller = {
    ...controller,
    resyncMs: settings.takeOverMs,
    async reconcile(context, object, callOptions) {
      const found = object as T; // by its type
      const isDeleted = found.metadata.deletionTimestamp !== undefined;
      if (isDeleted && !isFinal(found.status) && found.spec.cancel !== true) {
        const { namespace } = context;
        const where = { namespace, name: found.metadata.name };
        await context.kube.mergePatch(type, where, { spec: { cancel: true } }, callOptions);
        return undefined; // comes again
      }
      return await controller.reconcile(context, object, callOptions);
    },
  };
  return { controller: withDeletion, idle };
}

type Ours<T extends Mover> = NodeAgentParts & DataMoverOptions<T> & CallOptions;

async function isOurs<T extends Mover>(
  context: Context,
  object: T,
  ours: Ours<T>,
): Promise<"yes" | "no" | "later"> {
  const { nodeName } = ours;
  const { spec, status = {} } = object;
  const { phase = "New" } = status;
  if (spec.datamover !== undefined && spec.datamover !== "" && spec.datamover !== "velero") {
    return "no"; // somebody else's
  }
  if (phase === "New") {
    return spec.cancel === true ? "yes" : await accept(context, object, ours);
  }
  const owner = phase === "Accepted" ? status.acceptedByNode : status.node;
  if (owner !== nodeName) {
    return (await isLost(context, owner, ours)) ? await takeOver(context, object, ours) : "no";
  }
  const current = (await context.kube
    .get(ours.type, { namespace: context.namespace, name: object.metadata.name }, ours)
    .catch(ignoreMissing)) as T | undefined; // by its type
  if (current === undefined || isFinal(current.status)) {
    return "no"; // what the watch saw is older
  }
  return phase !== "Accepted" || spec.cancel === true
    ? "yes"
    : await prepare(context, current, ours);
}

/** Exclusive: of several agents one succeeds. */
async function accept<T extends Mover>(
  context: Context,
  object: T,
  ours: Ours<T>,
): Promise<"no" | "later"> {
  const { finalizers = [] } = object.metadata;
  return await patchIfCurrent(context, object, ours, {
    metadata: { finalizers: [...new Set([...finalizers, FINALIZER])] },
    status: {
      phase: "Accepted",
      acceptedByNode: ours.nodeName,
      acceptedTimestamp: formatTime(context.environment.nowMs()),
    },
  });
}

/** The node that had it is lost, and the pod there with it. */
async function takeOver<T extends Mover>(
  context: Context,
  object: T,
  ours: Ours<T>,
): Promise<"no" | "later"> {
  const taken = await patchIfCurrent(context, object, ours, {
    status: {
      phase: "Accepted",
      acceptedByNode: ours.nodeName,
      node: null,
      acceptedTimestamp: formatTime(context.environment.nowMs()),
    },
  });
  if (taken === "later") {
    const where = { namespace: context.namespace, name: object.metadata.name };
    await context.kube.delete(PODS, where, { gracePeriodSeconds: 0, signal: ours.signal });
  }
  return taken;
}

/** One step towards a running pod; the agent of its node goes on. */
async function prepare<T extends Mover>(
  context: Context,
  object: T,
  ours: Ours<T>,
): Promise<"no" | "later"> {
  const { environment } = context;
  try {
    const pod = await ours.expose(context, object, ours);
    const node = pod && nodeOf(pod);
    if (node !== undefined) {
      return await patchIfCurrent(context, object, ours, { status: { phase: "Prepared", node } });
    }
    const sinceMs = parseTime(object.status?.acceptedTimestamp) ?? environment.nowMs();
    if (environment.nowMs() - sinceMs >= ours.settings.prepareTimeoutMs) {
      throw new VarveError("source-failed", "its volume was not mounted in time");
    }
    return "later";
  } catch (error) {
    ours.signal?.throwIfAborted();
    const isFinalError = error instanceof VarveError || isKubeError(error, "invalid");
    if (!isFinalError) {
      throw error; // tried again
    }
    const completionTimestamp = formatTime(environment.nowMs());
    const status = { phase: "Failed", message: errorMessage(error), completionTimestamp };
    return await patchIfCurrent(context, object, ours, { status });
  }
}

async function patchIfCurrent<T extends Mover>(
  { kube, namespace }: Context,
  { metadata }: T,
  { type, signal }: Ours<T>,
  patch: { readonly metadata?: object; readonly status: object },
): Promise<"no" | "later"> {
  const { name, resourceVersion } = metadata;
  try {
    const versioned = { ...patch, metadata: { ...patch.metadata, resourceVersion } };
    await kube.mergePatch(type, { namespace, name }, versioned, { signal });
    return "later";
  } catch (error) {
    if (isKubeError(error, "conflict")) {
      return "later"; // it has changed: looked at again
    }
    return ignoreMissing(error) ?? "no";
  }
}

/** Whether there is no agent any more that could go on. */
async function isLost<T extends Mover>(
  { kube }: Context,
  node: string | undefined,
  { signal }: Ours<T>,
): Promise<boolean> {
  return node === undefined || (await nodeState(kube, node, { signal })) !== "ready";
}

/** The agent that had it cleans up; another one when it has not for a while. */
async function tidy<T extends Mover>(
  context: Context,
  object: T,
  ours: Ours<T>,
): Promise<"done" | "later"> {
  const { finalizers = [], name } = object.metadata;
  if (!finalizers.includes(FINALIZER)) {
    return "done";
  }
  const { node, acceptedByNode, completionTimestamp } = object.status ?? {};
  const endedMs = parseTime(completionTimestamp) ?? 0;
  const isLate = context.environment.nowMs() - endedMs >= ours.settings.takeOverMs;
  if ((node ?? acceptedByNode) !== ours.nodeName && !isLate) {
    return "later";
  }
  await ours.cleanUp(context, object, ours);
  const rest = finalizers.filter((each) => each !== FINALIZER);
  const where = { namespace: context.namespace, name };
  await context.kube
    .mergePatch(ours.type, where, { metadata: { finalizers: rest } }, { signal: ours.signal })
    .catch(ignoreMissing);
  return "done";
}
