import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { get } from "node:http";
import { text } from "node:stream/consumers";
import { inject } from "vitest";
import { type KubeAccess, kubectl } from "./kube.ts";
import type { KubeAnswer } from "./kube-setup.ts";

/** The Kubernetes that all test files of a run share. To import this is to wait for it. */

/** With a real node, CSI and one fake node. */
export const cluster: KubeAccess = await sharedKube();

export interface Namespace extends AsyncDisposable {
  readonly name: string;
}

/** A namespace that no other test uses. Its deletion is asked for, and not waited for, when it is disposed of. */
export async function createNamespace(
  prefix: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<Namespace> {
  const name = `${prefix}-${randomUUID().slice(0, 8)}`;
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
  await kubectl(cluster, ["create", "-f", "-"], JSON.stringify(namespace));
  const remove = async (): Promise<void> => {
    await kubectl(cluster, ["delete", "namespace", name, "--ignore-not-found", "--wait=false"]);
  };
  return { name, [Symbol.asyncDispose]: remove };
}

async function sharedKube(): Promise<KubeAccess> {
  // Not by fetch, which waits five minutes at most.
  const [response] = await once(get(inject("kubeUrl")), "response");
  const answer: KubeAnswer = JSON.parse(await text(response));
  if ("error" in answer) {
    throw new Error(answer.error);
  }
  return answer.kube;
}
