import type { CallOptions } from "@varve/core";
import type { KubeApi, KubeObject } from "../kube/kube-api.ts";
import type { RunLog } from "../server/run-log.ts";

/** One command in one container of a pod: what backup and restore hooks have in common (semantics spec section 6). */
export interface PodCommand {
  /** Default: the pod's first. */
  readonly container: string | undefined;
  /** Without a shell. */
  readonly command: readonly string[];
  readonly timeoutMs: number;
}

interface Container {
  readonly name: string;
  readonly restartPolicy?: string;
}

/** Throws when the container is not there, the command fails, or the time is over (the command then goes on). */
export async function execInPod(
  { kube, log }: { readonly kube: KubeApi; readonly log: RunLog },
  pod: KubeObject,
  { container, command, timeoutMs }: PodCommand,
  { signal }: CallOptions,
): Promise<void> {
  const namespace = pod.metadata.namespace ?? "";
  const name = pod.metadata.name;
  const chosen = hookContainer(pod, container);
  const fields = { resource: "pods", namespace, name, container: chosen };
  log.info(`hook: running ${JSON.stringify(command)}`, fields);
  const { stdout, stderr, exitCode } = await kube.exec({
    namespace,
    pod: name,
    container: chosen,
    command,
    timeoutMs,
    signal,
  });
  log.info("hook: ended", { ...fields, stdout, stderr, exitCode });
  if (exitCode !== 0) {
    throw new Error(`command terminated with exit code ${exitCode}`);
  }
}

/** The named container, which may be a restartable init container; without a name the first. Throws. */
export function hookContainer(pod: KubeObject, name: string | undefined): string {
  // The API server's schema.
  const spec = pod["spec"] as
    | { containers?: Container[]; initContainers?: Container[] }
    | undefined;
  const containers = spec?.containers ?? [];
  if (name === undefined || name === "") {
    const first = containers[0];
    if (first === undefined) {
      throw new Error(`pod ${pod.metadata.name} has no containers`);
    }
    return first.name;
  }
  const sidecars = (spec?.initContainers ?? []).filter(
    ({ restartPolicy }) => restartPolicy === "Always",
  );
  if (![...containers, ...sidecars].some((container) => container.name === name)) {
    throw new Error(`pod ${pod.metadata.name} has no container ${JSON.stringify(name)}`);
  }
  return name;
}

/** What `status.hookStatus` counts: each hook of each pod once. */
export class HookTally {
  readonly #attempted = new Set<string>();
  readonly #failed = new Set<string>();

  attempt(key: string): void {
    this.#attempted.add(key);
  }

  fail(key: string): void {
    this.#failed.add(key);
  }

  /** Zero counters are left out, as in real Velero's status. */
  status(): { hooksAttempted?: number; hooksFailed?: number } {
    const [attempted, failed] = [this.#attempted.size, this.#failed.size];
    return {
      ...(attempted > 0 ? { hooksAttempted: attempted } : {}),
      ...(failed > 0 ? { hooksFailed: failed } : {}),
    };
  }
}
