import type { ResourceRef } from "./kube-api.ts";

/** Where the API server has the kinds of its own that are read and written here by name. */

const core = (resource: string, namespaced = true): ResourceRef => ({
  group: "",
  version: "v1",
  resource,
  namespaced,
});

export const PODS: ResourceRef = core("pods");
export const CLAIMS: ResourceRef = core("persistentvolumeclaims");
export const VOLUMES: ResourceRef = core("persistentvolumes", false);
export const CONFIG_MAPS: ResourceRef = core("configmaps");
export const SECRETS: ResourceRef = core("secrets");
export const NODES: ResourceRef = core("nodes", false);
export const NAMESPACES: ResourceRef = core("namespaces", false);
export const STORAGE_CLASSES: ResourceRef = {
  group: "storage.k8s.io",
  version: "v1",
  resource: "storageclasses",
  namespaced: false,
};
