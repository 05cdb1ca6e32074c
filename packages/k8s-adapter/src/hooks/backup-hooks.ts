import type { CallOptions } from "@varve/core";
import type { KubeApi, KubeObject } from "../kube/kube-api.ts";
import type { ResourceCatalog } from "../kube/resource-catalog.ts";
import type { RunLog } from "../server/run-log.ts";
import { matchesAny } from "../velero/glob.ts";
import { selectorMatches } from "../velero/label-selector.ts";
import type { BackupHookSpec, BackupSpec, ExecHook } from "../velero/resources.ts";
import {
  annotation,
  type OnError,
  parseHookCommand,
  parseHookTimeout,
  parseOnError,
} from "./hook-annotations.ts";
import { execInPod, type HookTally, type PodCommand } from "./pod-exec.ts";

/** Commands that a backup runs in the pods it stores, before and after (semantics spec section 6.1). */

export type HookPhase = "pre" | "post";

export interface PodHook extends PodCommand {
  readonly source: "annotation" | "backupSpec";
  readonly name: string;
  /** Among the hooks of its source. */
  readonly index: number;
  readonly onError: OnError | undefined;
}

/** Only pods run hooks: a spec that does not select pods never runs. */
export function hooksOfPod(
  pod: KubeObject,
  phase: HookPhase,
  spec: Pick<BackupSpec, "hooks">,
  { catalog, log }: { readonly catalog: Pick<ResourceCatalog, "canonical">; readonly log: RunLog },
): readonly PodHook[] {
  const own = annotatedHook(pod, phase, log);
  if (own !== undefined) {
    return [own]; // the annotation replaces what the spec says of this phase
  }
  return (spec.hooks?.resources ?? [])
    .filter((hook) => selects(hook, pod, catalog))
    .flatMap((hook) =>
      (hook[phase] ?? []).map(({ exec }, index) => specHook(hook, exec, { pod, index, log })),
    );
}

function specHook(
  hook: BackupHookSpec,
  exec: ExecHook,
  { pod, index, log }: { pod: KubeObject; index: number; log: RunLog },
): PodHook {
  return {
    source: "backupSpec",
    name: hook.name,
    index,
    container: exec.container,
    command: exec.command,
    onError: exec.onError,
    timeoutMs: timeout(exec.timeout, pod, log),
  };
}

function annotatedHook(pod: KubeObject, phase: HookPhase, log: RunLog): PodHook | undefined {
  const key = (name: string): string | undefined =>
    annotation(
      pod,
      `${phase}.hook.backup.velero.io/${name}`,
      ...(phase === "pre" ? [`hook.backup.velero.io/${name}`] : []),
    );
  const command = key("command");
  return command === undefined
    ? undefined
    : {
        source: "annotation",
        name: "<from-annotation>",
        index: 0,
        container: key("container"),
        command: parseHookCommand(command),
        onError: parseOnError(key("on-error")),
        timeoutMs: timeout(key("timeout"), pod, log),
      };
}

function timeout(text: string | undefined, pod: KubeObject, log: RunLog): number {
  const { ms, bad } = parseHookTimeout(text);
  if (bad) {
    log.warn(`hook: timeout ${JSON.stringify(text)} is not a duration; ${ms / 1000} s is taken`, {
      resource: "pods",
      namespace: pod.metadata.namespace,
      name: pod.metadata.name,
    });
  }
  return ms;
}

function selects(
  hook: BackupHookSpec,
  pod: KubeObject,
  catalog: Pick<ResourceCatalog, "canonical">,
): boolean {
  const resources = (names: readonly string[] | null | undefined): string[] =>
    (names ?? []).map((name) => catalog.canonical(name));
  return (
    passes(pod.metadata.namespace ?? "", hook.includedNamespaces, hook.excludedNamespaces) &&
    passes("pods", resources(hook.includedResources), resources(hook.excludedResources)) &&
    (hook.labelSelector == null || selectorMatches(hook.labelSelector, pod.metadata.labels))
  );
}

function passes(
  name: string,
  includes: readonly string[] | null | undefined,
  excludes: readonly string[] | null | undefined,
): boolean {
  const included = (includes?.length ?? 0) === 0 || matchesAny(includes ?? [], name);
  return included && !matchesAny(excludes ?? [], name);
}

export interface HookRun {
  readonly kube: KubeApi;
  readonly log: RunLog;
  readonly tally: HookTally;
  /** What an unset `onError` means (spec 6.1: documented as Fail, treated as Continue by real Velero). */
  readonly failByDefault: boolean;
}

/**
 * Runs them in order; every failure is logged as an error. Gives the error of the hook that failed the pod: those
 * after it count as attempted and are not run. A pod that has ended runs none.
 */
export async function runPodHooks(
  run: HookRun,
  pod: KubeObject,
  phase: HookPhase,
  hooks: readonly PodHook[],
  options: CallOptions,
): Promise<unknown> {
  const status = pod["status"] as { phase?: string } | undefined; // the API server's schema
  if (status?.phase === "Succeeded" || status?.phase === "Failed") {
    return undefined;
  }
  const { namespace = "", name } = pod.metadata;
  const keyOf = (hook: PodHook): string =>
    JSON.stringify([namespace, name, hook.source, hook.name, phase, hook.container, hook.index]);
  hooks.forEach((hook) => run.tally.attempt(keyOf(hook)));
  for (const hook of hooks) {
    try {
      await execInPod(run, pod, hook, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      run.tally.fail(keyOf(hook));
      const onError = hook.onError ?? (run.failByDefault ? "Fail" : "Continue");
      const fields = { resource: "pods", namespace, name, hookPhase: phase, onError, error };
      run.log.error("Error executing hook", fields);
      if (onError === "Fail") {
        return error;
      }
    }
  }
  return undefined;
}
