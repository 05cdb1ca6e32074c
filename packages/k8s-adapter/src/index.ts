/** `@varve/k8s-adapter`: a Velero-compatible server and node-agent to embed in another process. */
export type { ImageOptions } from "./images/image-options.ts";
export type { KubeApi, KubeObject } from "./kube/kube-api.ts";
export { KubeError } from "./kube/kube-api.ts";
export type {
  OpenVolumeSnapshotter,
  ProviderVolumeInfo,
  SnapshotLocationSettings,
  VolumeSnapshotter,
  VolumeSnapshotters,
} from "./native-snapshots/volume-snapshotter.ts";
export type { NodeAgentOptions, NodeAgentSettings } from "./node-agent/run-node-agent.ts";
export type { Settings } from "./server/context.ts";
export { DEFAULT_SETTINGS } from "./server/context.ts";
export type { ProcessOptions, ServerOptions } from "./server/run-server.ts";
export { runNodeAgentProcess as runNodeAgent, runServer } from "./server/run-server.ts";
