import { PODS } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import { ignoreMissing } from "../kube/kube-api.ts";
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
import { nodeState } from "./node-state.ts";
import { nodeOf } from "./pod-spec.ts";

/** The server's wait for what node-agents copy. What nobody will end any more is ended here: nothing is left in progress. */

/** A node that is not ready for so many times as long as one may be gone is lost, too: by default when Kubernetes itself gives up its pods. */
const NOT_READY_TIMES = 10;
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

/** All of them in their last phase; what fails is logged. One that is late, or whose pod or node is lost, is ended. */
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
  let lost: (Lost & { readonly sinceMs: number }) | undefined;
  for (;;) {
    const found = await read();
    if (isFinal(found.status)) {
      return found;
    }
    const nowMs = environment.nowMs();
    const now = await whyLost(context, found.spec.pod, { signal });
    lost = now && { ...now, sinceMs: now.why === lost?.why ? lost.sinceMs : nowMs };
    const isLost = lost !== undefined && nowMs >= lost.sinceMs + lost.afterMs;
    if (isLost || nowMs >= deadlineMs) {
      const message = lost?.why ?? "it was not done in time";
      const stopMs = lost?.hasAgent === false ? 0 : STOP_MS;
      return await giveUp(context, { read, name, type, message, stopMs, pollMs, signal });
    }
    await environment.sleep(pollMs, { signal });
  }
}

/** Why no agent will end it. */
interface Lost {
  readonly why: string;
  /** How long that must be so: the pod may be gone for a moment of the server's view. */
  readonly afterMs: number;
  readonly hasAgent: boolean;
}

/** When the pod goes, its volume goes with it; when the node is gone, so is its agent. */
async function whyLost(
  { kube, settings: { lostCopyMs } }: Context,
  { namespace, name, uid }: PodReference,
  options: CallOptions,
): Promise<Lost | undefined> {
  const pod = await kube.get(PODS, { namespace, name }, options).catch(ignoreMissing);
  if (pod?.metadata.uid !== uid) {
    return { why: "its pod is gone", afterMs: lostCopyMs, hasAgent: true };
  }
  const node = nodeOf(pod);
  const state = node === undefined ? "ready" : await nodeState(kube, node, options);
  if (state === "ready") {
    return undefined;
  }
  const why = `node ${node} is ${state}`;
  const afterMs = lostCopyMs * (state === "gone" ? 1 : NOT_READY_TIMES);
  return { why, afterMs, hasAgent: state !== "gone" };
}

/** Asks its agent to stop, and says the end itself where there is none that does. */
async function giveUp<T extends Copy>(
  { kube, namespace, environment }: Context,
  {
    read,
    name,
    type,
    message,
    stopMs,
    pollMs,
    signal,
  }: Pick<Waiting, "type" | "pollMs" | "signal"> & {
    readonly read: () => Promise<T>;
    readonly name: string;
    readonly message: string;
    readonly stopMs: number;
  },
): Promise<T> {
  const where = { namespace, name };
  await kube.mergePatch(VELERO[type], where, { spec: { cancel: true } }, { signal });
  const deadlineMs = environment.nowMs() + stopMs;
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
