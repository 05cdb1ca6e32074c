import { PODS } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import { isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { RunLog } from "../server/run-log.ts";
import { formatTime } from "../velero/duration.ts";
import {
  type DataPathStatus,
  type PodReference,
  type PodVolumeBackup,
  type PodVolumeRestore,
  VELERO,
} from "../velero/resources.ts";

/** The server's wait for what node-agents copy. What nobody will end any more is ended here: nothing is left in progress. */

/** A pod may be gone for a moment of the server's view; its volume then goes with it, and no agent can copy it. */
const POD_GONE_MS = 30_000;
/** What an agent has time for to stop. */
const STOP_MS = 15_000;

type Copy = PodVolumeBackup | PodVolumeRestore;
type CopyType = "podVolumeBackups" | "podVolumeRestores";

interface Waiting extends CallOptions {
  readonly type: CopyType;
  readonly timeoutMs: number;
  readonly pollMs: number;
  readonly log: RunLog;
}

/** All of them in their last phase; what fails is logged. One that is late, or whose pod is gone, is canceled. */
export async function waitForCopies<T extends Copy>(
  context: Context,
  started: readonly T[],
  waiting: Waiting,
): Promise<readonly T[]> {
  const deadlineMs = context.environment.nowMs() + waiting.timeoutMs;
  const final: T[] = [];
  for (const { metadata } of started) {
    const ended = await waitForOne<T>(context, metadata.name, { ...waiting, deadlineMs });
    logEnd(ended, waiting.log);
    final.push(ended);
  }
  return final;
}

async function waitForOne<T extends Copy>(
  context: Context,
  name: string,
  { type, pollMs, signal, deadlineMs }: Waiting & { readonly deadlineMs: number },
): Promise<T> {
  const { kube, namespace, environment } = context;
  const read = async (): Promise<T> =>
    (await kube.get(VELERO[type], { namespace, name }, { signal })) as T; // by its type
  let endMs = deadlineMs;
  let why: string | undefined;
  for (;;) {
    const found = await read();
    if (isFinal(found.status)) {
      return found;
    }
    const nowMs = environment.nowMs();
    if (why === undefined && (await isGone(context, found.spec.pod, { signal }))) {
      why = "its pod is gone";
      endMs = Math.min(endMs, nowMs + POD_GONE_MS);
    }
    if (nowMs >= endMs) {
      const message = why ?? "it was not done in time";
      return await giveUp(context, { read, name, type, message, pollMs, signal });
    }
    await environment.sleep(pollMs, { signal });
  }
}

async function isGone(
  { kube }: Context,
  { namespace, name, uid }: PodReference,
  options: CallOptions,
): Promise<boolean> {
  try {
    return (await kube.get(PODS, { namespace, name }, options)).metadata.uid !== uid;
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return true;
    }
    throw error;
  }
}

/** Asks its agent to stop, and says the end itself where there is none that does. */
async function giveUp<T extends Copy>(
  { kube, namespace, environment }: Context,
  {
    read,
    name,
    type,
    message,
    pollMs,
    signal,
  }: Pick<Waiting, "type" | "pollMs" | "signal"> & {
    readonly read: () => Promise<T>;
    readonly name: string;
    readonly message: string;
  },
): Promise<T> {
  const where = { namespace, name };
  await kube.mergePatch(VELERO[type], where, { spec: { cancel: true } }, { signal });
  const deadlineMs = environment.nowMs() + STOP_MS;
  while (environment.nowMs() < deadlineMs) {
    const found = await read();
    if (isFinal(found.status)) {
      return found;
    }
    await environment.sleep(pollMs, { signal });
  }
  const completionTimestamp = formatTime(environment.nowMs());
  const status = { phase: "Failed", message, completionTimestamp };
  await kube.mergePatch(VELERO[type], where, { status }, { signal });
  return await read();
}

export function isFinal(status: DataPathStatus | undefined): boolean {
  const { phase = "New" } = status ?? {};
  return phase === "Completed" || phase === "Failed" || phase === "Canceled";
}

function logEnd({ metadata, spec, status }: Copy, log: RunLog): void {
  const { namespace, name } = spec.pod;
  const fields = { resource: "pods", namespace, name, volume: spec.volume };
  if (status?.phase === "Completed") {
    log.info(`volume ${spec.volume} is done: ${metadata.name}`, fields);
  } else {
    log.error(`volume ${spec.volume}: ${metadata.name} is ${status?.phase ?? "New"}`, {
      ...fields,
      error: status?.message ?? "no reason is given",
    });
  }
}
