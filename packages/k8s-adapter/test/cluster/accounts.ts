import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { KubeConfig } from "@kubernetes/client-node";
import { type KubeAccess, kubectl } from "@varve/testenv/kube.ts";
import { parseAllDocuments } from "yaml";

/** The service accounts and roles of the manifests in a namespace of a test: what they lack fails it. */

export interface Accounts extends AsyncDisposable {
  /** With the token of one of them. */
  config(account: "velero" | "node-agent"): KubeConfig;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { name: string; namespace?: string };
  readonly subjects?: { namespace: string }[];
}

export async function createAccounts(cluster: KubeAccess, namespace: string): Promise<Accounts> {
  const manifests: Manifest[] = [];
  for (const name of ["server", "node-agent"]) {
    const file = fileURLToPath(new URL(`../../deploy/rbac-${name}.yaml`, import.meta.url));
    const documents = parseAllDocuments(await readFile(file, "utf8"));
    manifests.push(...documents.map((document) => document.toJS() as Manifest));
  }
  const bindings: string[] = [];
  for (const { kind, metadata, subjects = [] } of manifests) {
    subjects.forEach((subject) => {
      subject.namespace = namespace;
    });
    if (kind === "ClusterRoleBinding") {
      metadata.name += `-${namespace}`; // other tests bind the same role
      bindings.push(`clusterrolebinding/${metadata.name}`);
    } else if (kind !== "ClusterRole") {
      metadata.namespace = namespace;
    }
  }
  const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: manifests });
  // Files that start at the same time make the same roles: the server settles that.
  await kubectl(cluster, ["apply", "--server-side", "--force-conflicts", "-f", "-"], list);
  const tokens = new Map<string, string>();
  for (const account of ["velero", "node-agent"]) {
    const token = await kubectl(cluster, ["create", "token", account, "-n", namespace]);
    tokens.set(account, token.trim());
  }
  return {
    config(account) {
      const config = new KubeConfig();
      config.loadFromString(cluster.kubeconfig);
      const server = config.getCurrentCluster();
      if (server !== null) {
        config.loadFromClusterAndUser(server, { name: account, token: tokens.get(account) ?? "" });
      }
      return config;
    },
    async [Symbol.asyncDispose]() {
      await kubectl(cluster, ["delete", "--ignore-not-found", ...bindings]);
    },
  };
}
