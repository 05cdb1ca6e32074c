import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeApi } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { Registry } from "./registry.ts";
import { registryHost } from "./image-stream.ts";

/** How the cluster's own image registry is reached. */
export interface ImageOptions {
  /** Default: `https://` and the host that the cluster's image streams name. */
  readonly registryUrl?: string | undefined;
  /** Certificates, PEM, to trust beside the system's: on OpenShift those of its services. */
  readonly ca?: string | undefined;
  /** Of a service account that may pull and push; default: the one of the connection to the API server. */
  readonly token?: (() => Promise<string | undefined>) | undefined;
}

/** Dispose it. */
export function openRegistry(
  { environment }: Context,
  host: string,
  { registryUrl = `https://${host}`, ca, token }: ImageOptions,
): Registry {
  return new Registry({ url: registryUrl, ca, token }, environment);
}

/** The images of a Backup are left alone when it says so (spec section 10.2). */
export function copiesImages(annotations: Readonly<Record<string, string>> | undefined): boolean {
  return !["openshift.io/skip-image-copy", "migration.openshift.io/disable-image-copy"].some(
    (key) => annotations?.[key] === "true",
  );
}

const GROUP = { group: "image.openshift.io", version: "v1" } as const;
const STREAMS = { ...GROUP, resource: "imagestreams", namespaced: true };
const CONFIG = {
  group: "config.openshift.io",
  version: "v1",
  resource: "images",
  namespaced: false,
};

/** The host by which this cluster's image streams name its registry; undefined where it has none. */
export async function clusterRegistryHost(
  kube: KubeApi,
  options: CallOptions,
): Promise<string | undefined> {
  try {
    const config = await kube.get(CONFIG, { name: "cluster" }, options);
    const { internalRegistryHostname: host } = Object(config["status"]) as {
      internalRegistryHostname?: unknown;
    };
    if (typeof host === "string" && host !== "") {
      return host;
    }
  } catch (error) {
    if (!isKubeError(error, "not-found")) {
      throw error;
    }
  }
  for await (const stream of kube.list(STREAMS, { pageSize: 100, ...options })) {
    const host = registryHost(stream);
    if (host !== undefined) {
      return host;
    }
  }
  return undefined;
}
