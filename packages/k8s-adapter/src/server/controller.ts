import type { CallOptions } from "@varve/core";
import type { KubeObject, ResourceRef } from "../kube/kube-api.ts";
import type { Context } from "./context.ts";

/**
 * One kind of resource and what is done about it. The runner watches the kind in the server's namespace, hands every
 * object that is new or changed to `reconcile`, one call an object at a time, and again after `resyncMs`; a call that
 * throws is repeated with growing waits. Reconciling must be safe to repeat and to cut off anywhere: a killed server
 * begins again with what stands in the resources.
 */
export interface Controller {
  /** For logs and metrics. */
  readonly name: string;
  readonly type: ResourceRef;
  /** Objects at a time, default 1. */
  readonly workers?: number;
  /** Every object is looked at again so often, changed or not. */
  readonly resyncMs?: number;
  /** Called once, before the first object: what an earlier process left half done is put right. */
  start?(context: Context, options: CallOptions): Promise<void>;
  /** `object` is as the watch last saw it. Answers when it wants to be called again for the same object. */
  reconcile(
    context: Context,
    object: KubeObject,
    options: CallOptions,
  ): Promise<{ readonly againMs: number } | void>;
  /** The object is gone. */
  removed?(context: Context, object: KubeObject, options: CallOptions): Promise<void>;
}
