import { availableParallelism } from "node:os";
import type { Context } from "../server/context.ts";
import { runControllers } from "../server/run-controllers.ts";
import { DEFAULT_HOLDER, type HolderPod } from "../csi/holder-pod.ts";
import { dataDownloads } from "./data-downloads.ts";
import { dataUploads } from "./data-uploads.ts";
import { podVolumeBackups } from "./pod-volume-backups.ts";
import { podVolumeRestores } from "./pod-volume-restores.ts";
import { Slots } from "./slots.ts";

/**
 * The agent of one node: copies the volumes of pods that run there, from and to where the kubelet has mounted them. It
 * holds no state: one that is killed leaves resources behind from which the next goes on.
 */

export interface NodeAgentSettings {
  /** Volumes at the same time, default 1. */
  readonly concurrency: number;
  /** Threads of the engine for each volume, default one less than the machine has. */
  readonly workers: number;
  /** Files read or written at the same time, where the backup or restore does not say. */
  readonly parallel: number;
  /** Progress is written no more often, default 10 seconds. */
  readonly progressMs: number;
  /** True: folders named `.snapshot` and `~snapshot` at a volume's root are copied, too. Default false. */
  readonly snapshotFolders: boolean;
  /** The pod that holds a volume of the data mover mounted. */
  readonly holder: HolderPod;
  /** How long the data mover waits for that pod, default 30 minutes. */
  readonly prepareTimeoutMs: number;
  /** How often is looked for what the agent of a lost node has left, default 30 seconds. */
  readonly takeOverMs: number;
}

export interface NodeAgentParts {
  readonly nodeName: string;
  /** The kubelet's folder of pods as this process sees it. */
  readonly podsFolder: string;
  readonly slots: Slots;
  readonly settings: NodeAgentSettings;
}

export interface NodeAgentOptions {
  readonly nodeName: string;
  /** Default `/host_pods`. */
  readonly podsFolder?: string | undefined;
  readonly settings?: Partial<NodeAgentSettings> | undefined;
  /** Ends the agent: what runs is left for the next one. */
  readonly signal: AbortSignal;
}

/** Works until the signal aborts, and resolves when nothing is running any more. */
export async function runNodeAgent(context: Context, options: NodeAgentOptions): Promise<void> {
  const cores = availableParallelism();
  const settings: NodeAgentSettings = {
    concurrency: 1,
    workers: Math.max(1, cores - 1),
    parallel: cores,
    progressMs: 10_000,
    snapshotFolders: false,
    holder: DEFAULT_HOLDER,
    prepareTimeoutMs: 1_800_000,
    takeOverMs: 30_000,
    ...options.settings,
  };
  const parts: NodeAgentParts = {
    nodeName: options.nodeName,
    podsFolder: options.podsFolder ?? "/host_pods",
    slots: new Slots(settings.concurrency),
    settings,
  };
  const movers = context.settings.csi ? [dataUploads(parts), dataDownloads(parts)] : [];
  const paths = [podVolumeBackups(parts), podVolumeRestores(parts), ...movers];
  const controllers = paths.map(({ controller }) => controller);
  await runControllers(context, controllers, { signal: options.signal });
  await Promise.all(paths.map(({ idle }) => idle()));
}
