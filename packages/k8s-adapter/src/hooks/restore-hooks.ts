import { PODS } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import type { KubeApi, KubeObject } from "../kube/kube-api.ts";
import { isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { RunLog } from "../server/run-log.ts";
import { parseDuration } from "../velero/duration.ts";
import { matchesAny } from "../velero/glob.ts";
import { selectorMatches } from "../velero/label-selector.ts";
import type { RestoreHookSpec, RestoreSpec } from "../velero/resources.ts";
import {
  annotation,
  type OnError,
  parseHookCommand,
  parseHookTimeout,
  parseOnError,
} from "./hook-annotations.ts";
import { execInPod, hookContainer, type HookTally, type PodCommand } from "./pod-exec.ts";

/** Commands in restored pods, once their containers run: semantics spec section 6.2. */

export interface RestoreExecHook extends PodCommand {
  readonly name: string;
  readonly onError: OnError | undefined;
  /** How long its container may take to run; undefined: as long as it likes. */
  readonly waitMs: number | undefined;
  readonly waitForReady: boolean;
}

const PREFIX = "post.hook.restore.velero.io";

/** An annotation replaces what the spec says. Namespaces of the spec are those of the target. */
export function restoreHooksOf(
  pod: KubeObject,
  { hooks }: Pick<RestoreSpec, "hooks">,
): readonly RestoreExecHook[] {
  const of = (name: string): string | undefined => annotation(pod, `${PREFIX}/${name}`);
  const command = of("command");
  if (command !== undefined) {
    return [
      {
        name: "<from-annotation>",
        container: of("container"),
        command: parseHookCommand(command),
        onError: parseOnError(of("on-error")),
        timeoutMs: parseHookTimeout(of("exec-timeout")).ms,
        waitMs: limit(of("wait-timeout")),
        waitForReady: of("wait-for-ready") === "true",
      },
    ];
  }
  return (hooks?.resources ?? [])
    .filter((hook) => selectsPod(hook, pod))
    .flatMap(({ name, postHooks = [] }) =>
      postHooks.flatMap(({ exec }) =>
        exec === undefined
          ? []
          : [
              {
                name,
                container: exec.container,
                command: exec.command,
                onError: exec.onError,
                timeoutMs: parseHookTimeout(exec.execTimeout).ms,
                waitMs: limit(exec.waitTimeout),
                waitForReady: exec.waitForReady === true,
              },
            ],
      ),
    );
}

export function selectsPod(hook: RestoreHookSpec, pod: KubeObject): boolean {
  const { namespace = "", labels } = pod.metadata;
  const includes = hook.includedNamespaces ?? [];
  return (
    (includes.length === 0 || matchesAny(includes, namespace)) &&
    !matchesAny(hook.excludedNamespaces ?? [], namespace) &&
    (hook.labelSelector == null || selectorMatches(hook.labelSelector, labels))
  );
}

function limit(text: string | undefined): number | undefined {
  const ms = parseDuration(text ?? "");
  return ms === undefined || ms <= 0 ? undefined : ms;
}

export interface RestoreHookRun {
  readonly context: Context;
  readonly log: RunLog;
  readonly tally: HookTally;
  readonly pollMs: number;
}

/**
 * Waits for each hook's container and runs it, in order. A hook that fails is an error; with `Fail` it ends the hooks of
 * this pod, and of no other.
 */
export async function runRestoreHooks(
  run: RestoreHookRun,
  pod: KubeObject,
  hooks: readonly RestoreExecHook[],
  options: CallOptions,
): Promise<void> {
  const { namespace = "", name } = pod.metadata;
  const keyOf = (hook: RestoreExecHook, index: number): string =>
    JSON.stringify([namespace, name, hook.name, index]);
  hooks.forEach((hook, index) => run.tally.attempt(keyOf(hook, index)));
  const startMs = run.context.environment.nowMs();
  for (const [index, hook] of hooks.entries()) {
    try {
      const ready = await waitForContainer(run, pod, { hook, startMs, ...options });
      await execInPod({ kube: run.context.kube, log: run.log }, ready, hook, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      run.tally.fail(keyOf(hook, index));
      const onError =
        hook.onError ?? (run.context.settings.hooksFailByDefault ? "Fail" : "Continue");
      run.log.error("Error executing hook", {
        resource: "pods",
        namespace,
        name,
        hookPhase: "post",
        onError,
        error,
      });
      if (onError === "Fail") {
        hooks
          .slice(index + 1)
          .forEach((left, more) => run.tally.fail(keyOf(left, index + 1 + more)));
        return;
      }
    }
  }
}

interface ContainerStatus {
  readonly name: string;
  readonly ready?: boolean;
  readonly state?: { readonly running?: unknown };
}

async function waitForContainer(
  { context, pollMs }: RestoreHookRun,
  { metadata }: KubeObject,
  {
    hook,
    startMs,
    signal,
  }: CallOptions & { readonly hook: RestoreExecHook; readonly startMs: number },
): Promise<KubeObject> {
  const { kube, environment } = context;
  for (;;) {
    const pod = await getPod(kube, metadata, { signal });
    const container = hookContainer(pod, hook.container);
    const { phase, containerStatuses = [] } = (pod["status"] ?? {}) as {
      phase?: string;
      containerStatuses?: readonly ContainerStatus[];
    };
    if (phase === "Succeeded" || phase === "Failed") {
      throw new Error(`the pod has ended as ${phase} before its hook could run`);
    }
    const status = containerStatuses.find((found) => found.name === container);
    const isUp = hook.waitForReady ? status?.ready === true : status?.state?.running !== undefined;
    if (isUp) {
      return pod;
    }
    if (hook.waitMs !== undefined && environment.nowMs() - startMs > hook.waitMs) {
      throw new Error(`container ${container} was not up after ${hook.waitMs / 1000} s`);
    }
    await environment.sleep(pollMs, { signal });
  }
}

async function getPod(
  kube: KubeApi,
  { namespace, name }: KubeObject["metadata"],
  options: CallOptions,
): Promise<KubeObject> {
  try {
    return await kube.get(PODS, { namespace, name }, options);
  } catch (error) {
    throw isKubeError(error, "not-found") ? new Error("the pod is gone", { cause: error }) : error;
  }
}
