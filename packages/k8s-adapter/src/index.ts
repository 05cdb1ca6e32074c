/** `@varve/k8s-adapter`: a Velero-compatible server and node-agent to embed. */
export type { KubeApi, KubeObject } from "./kube/kube-api.ts";
export { KubeError } from "./kube/kube-api.ts";
