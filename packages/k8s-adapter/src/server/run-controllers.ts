import { setMaxListeners } from "node:events";
import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import type { Context } from "./context.ts";
import type { Controller } from "./controller.ts";
import { WorkQueue } from "./work-queue.ts";

/** Runs all of them until the signal aborts; resolves when the last call has ended. Throws what a `start` throws. */
export async function runControllers(
  context: Context,
  controllers: readonly Controller[],
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  setMaxListeners(0, signal); // every wait and every request listens
  for (const controller of controllers) {
    await controller.start?.(context, { signal });
  }
  await Promise.all(controllers.map((controller) => runController(context, controller, signal)));
}

async function runController(
  context: Context,
  controller: Controller,
  signal: AbortSignal,
): Promise<void> {
  const known = new Map<string, KubeObject>();
  const queue = new WorkQueue(context.environment, async (key) => {
    const object = known.get(key);
    return object === undefined
      ? undefined
      : await controller.reconcile(context, object, { signal });
  });
  await Promise.all([
    queue.run({ workers: controller.workers ?? 1, signal }),
    follow(context, controller, { signal, known, queue }),
    controller.resyncMs === undefined
      ? undefined
      : resync(context, controller.resyncMs, { signal, known, queue }),
  ]);
}

interface Following {
  readonly signal: AbortSignal;
  readonly known: Map<string, KubeObject>;
  readonly queue: WorkQueue;
}

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;

/** Keeps `known` as the server has it: lists, watches from there, and begins again when the watch ends. */
async function follow(
  context: Context,
  controller: Controller,
  following: Following,
): Promise<void> {
  const { signal } = following;
  let delayMs = FIRST_RETRY_MS;
  while (!signal.aborted) {
    try {
      const version = await relist(context, controller, following);
      delayMs = FIRST_RETRY_MS;
      await watchFrom(context, controller, { ...following, version });
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (!isKubeError(error, "expired")) {
        const message = error instanceof Error ? error.message : String(error);
        context.environment.log({
          level: "warning",
          message: `${controller.name}: ${message}; trying again`,
        });
        await pause(context, delayMs, { signal });
        delayMs = Math.min(MAX_RETRY_MS, delayMs * 2);
      }
    }
  }
}

async function relist(
  context: Context,
  controller: Controller,
  { signal, known, queue }: Following,
): Promise<string> {
  const { items, resourceVersion } = await context.kube.listAll(controller.type, {
    namespace: context.namespace,
    signal,
  });
  const gone = new Map(known);
  for (const object of items) {
    const key = object.metadata.name;
    gone.delete(key);
    if (known.get(key)?.metadata.resourceVersion !== object.metadata.resourceVersion) {
      known.set(key, object);
      queue.add(key);
    }
  }
  for (const [key, object] of gone) {
    await drop(context, controller, { key, object, known, queue, signal });
  }
  return resourceVersion;
}

/** Watches again from where the last watch ended, for as long as the server knows that version. */
async function watchFrom(
  context: Context,
  controller: Controller,
  { version, signal, known, queue }: Following & { readonly version: string },
): Promise<void> {
  let resourceVersion = version;
  while (!signal.aborted) {
    const options = { namespace: context.namespace, resourceVersion, signal };
    for await (const event of context.kube.watch(controller.type, options)) {
      if (event.type === "BOOKMARK") {
        ({ resourceVersion } = event);
        continue;
      }
      const { object } = event;
      const key = object.metadata.name;
      resourceVersion = object.metadata.resourceVersion ?? resourceVersion;
      if (event.type === "DELETED") {
        await drop(context, controller, { key, object, known, queue, signal });
      } else {
        known.set(key, object);
        queue.add(key);
      }
    }
  }
}

async function drop(
  context: Context,
  controller: Controller,
  {
    key,
    object,
    known,
    queue,
    signal,
  }: Following & { readonly key: string; readonly object: KubeObject },
): Promise<void> {
  known.delete(key);
  queue.forget(key);
  await controller.removed?.(context, object, { signal });
}

async function resync(
  context: Context,
  everyMs: number,
  { signal, known, queue }: Following,
): Promise<void> {
  while (!signal.aborted) {
    await pause(context, everyMs, { signal });
    for (const key of known.keys()) {
      queue.add(key);
    }
  }
}

async function pause(context: Context, ms: number, { signal }: CallOptions): Promise<void> {
  await context.environment.sleep(ms, { signal }).catch(() => {}); // callers look at the signal
}
