import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeObject, type ResourceRef } from "../kube/kube-api.ts";
import type { Context } from "./context.ts";

/**
 * At most one server works: it holds a Lease, and stops when it could not renew it in time. The durations are those
 * that Kubernetes' own components use.
 */

const LEASES: ResourceRef = {
  group: "coordination.k8s.io",
  version: "v1",
  resource: "leases",
  namespaced: true,
};
const LEASE_SECONDS = 15;
const RENEW_WITHIN_MS = 10_000;
const RETRY_MS = 2000;

export interface LeaderOptions {
  readonly name: string;
  /** Who we are; different for every process. */
  readonly identity: string;
  readonly signal: AbortSignal;
}

/** Waits for the lease, works while it is held, and gives it back. `work`'s signal aborts when the lease is lost. */
export async function runAsLeader(
  context: Pick<Context, "kube" | "namespace" | "environment">,
  options: LeaderOptions,
  work: (options: { readonly signal: AbortSignal }) => Promise<void>,
): Promise<void> {
  const lease = new Lease(context, options);
  await lease.acquire();
  const lost = new AbortController();
  const over = new AbortController();
  const renewing = lease
    .renew({ signal: AbortSignal.any([options.signal, over.signal]) })
    .catch((error: unknown) => lost.abort(error));
  try {
    await work({ signal: AbortSignal.any([options.signal, lost.signal]) });
  } finally {
    over.abort();
    await renewing;
    if (!lost.signal.aborted) {
      await lease.release();
    }
  }
  if (lost.signal.aborted) {
    throw lost.signal.reason;
  }
}

class Lease {
  readonly #context: Pick<Context, "kube" | "namespace" | "environment">;
  readonly #options: LeaderOptions;
  /** What another holder last wrote, and when we saw it first: their clocks are not ours. */
  #seen: { readonly version: string | undefined; readonly atMs: number } | undefined;

  constructor(
    context: Pick<Context, "kube" | "namespace" | "environment">,
    options: LeaderOptions,
  ) {
    this.#context = context;
    this.#options = options;
  }

  async acquire(): Promise<void> {
    const { environment } = this.#context;
    const { signal } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      if (await this.#take({ signal }).catch(() => false)) {
        return;
      }
      await environment.sleep(RETRY_MS, { signal });
    }
  }

  /** Until the signal aborts; throws when the lease could not be renewed. */
  async renew({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { environment } = this.#context;
    let renewedMs = environment.nowMs();
    while (!signal.aborted) {
      await environment.sleep(RETRY_MS, { signal }).catch(() => {}); // the loop looks at the signal
      if (signal.aborted) {
        return;
      }
      try {
        if (!(await this.#take({ signal }))) {
          throw new Error(`another process has taken the lease ${this.#options.name}`);
        }
        renewedMs = environment.nowMs();
      } catch (error) {
        if (environment.nowMs() - renewedMs > RENEW_WITHIN_MS) {
          throw error;
        }
      }
    }
  }

  async release(): Promise<void> {
    const { kube } = this.#context;
    const patch = { spec: { holderIdentity: "", leaseDurationSeconds: 1 } };
    await kube.mergePatch(LEASES, this.#name, patch).catch(() => {}); // it runs out by itself
  }

  get #name(): { namespace: string; name: string } {
    return { namespace: this.#context.namespace, name: this.#options.name };
  }

  /** True when the lease is ours now. */
  async #take({ signal }: CallOptions): Promise<boolean> {
    const { kube, environment } = this.#context;
    const renewTime = `${new Date(environment.nowMs()).toISOString().slice(0, -1)}000Z`; // microseconds
    const spec = {
      holderIdentity: this.#options.identity,
      leaseDurationSeconds: LEASE_SECONDS,
      renewTime,
    };
    let current: KubeObject;
    try {
      current = await kube.get(LEASES, this.#name, { signal });
    } catch (error) {
      if (!isKubeError(error, "not-found")) {
        throw error;
      }
      const metadata = this.#name;
      const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec };
      await kube.create(LEASES, lease, { signal });
      return true;
    }
    if (!this.#mayTake(current)) {
      return false;
    }
    // The resourceVersion in it makes this fail when somebody else was faster.
    await kube.replace(
      LEASES,
      { ...current, spec: { ...(current["spec"] as object), ...spec } },
      { signal },
    );
    return true;
  }

  #mayTake({ metadata, spec }: KubeObject): boolean {
    const { holderIdentity = "", leaseDurationSeconds = LEASE_SECONDS } = (spec ?? {}) as {
      holderIdentity?: string;
      leaseDurationSeconds?: number;
    };
    if (holderIdentity === "" || holderIdentity === this.#options.identity) {
      return true;
    }
    const nowMs = this.#context.environment.nowMs();
    const seen = this.#seen;
    if (seen === undefined || seen.version !== metadata.resourceVersion) {
      this.#seen = { version: metadata.resourceVersion, atMs: nowMs };
      return false;
    }
    return nowMs - seen.atMs > leaseDurationSeconds * 1000;
  }
}
