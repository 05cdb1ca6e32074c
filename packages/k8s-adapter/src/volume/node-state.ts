import type { CallOptions } from "@varve/core";
import { NODES } from "../kube/core-types.ts";
import { isKubeError, type KubeApi } from "../kube/kube-api.ts";

/** Whether there is an agent on that node that could go on: its kubelet has told lately that it is ready. */
export async function nodeState(
  kube: KubeApi,
  name: string,
  options: CallOptions,
): Promise<"ready" | "not ready" | "gone"> {
  try {
    const { status } = await kube.get(NODES, { name }, options);
    const { conditions = [] } = (status ?? {}) as {
      conditions?: readonly { readonly type: string; readonly status: string }[];
    };
    const isReady = conditions.some((each) => each.type === "Ready" && each.status === "True");
    return isReady ? "ready" : "not ready";
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return "gone";
    }
    throw error;
  }
}
