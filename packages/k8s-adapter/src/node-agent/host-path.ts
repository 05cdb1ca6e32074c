import { lstatSync, readdirSync, realpathSync } from "node:fs";
import { join, relative } from "node:path";
import { VarveError } from "@varve/core";
import type { EligibleVolume } from "../volume/eligible-volumes.ts";

/** Where the kubelet has mounted a pod's volume on this node: spec section 4.3. */

// Names come from the API: a component of a path, and nothing else.
const COMPONENT = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;
/** The kubelet's plugin that mounts one level deeper. */
const CSI_PLUGIN = "kubernetes.io~csi";

export interface HostPathOptions {
  /** The kubelet's folder of pods as this process sees it: `/host_pods`. */
  readonly podsFolder: string;
  readonly podUid: string;
  readonly target: Pick<EligibleVolume, "volume" | "persistentVolume">;
}

/** Throws `source-failed` unless there is exactly one folder, and in the pod's own. */
export function volumePath({ podsFolder, podUid, target }: HostPathOptions): string {
  const name = target.persistentVolume?.metadata.name ?? target.volume.name;
  for (const component of [podUid, name]) {
    if (!COMPONENT.test(component)) {
      const text = JSON.stringify(component);
      throw new VarveError("source-failed", `not the name of a volume: ${text}`);
    }
  }
  const plugins = join(podsFolder, podUid, "volumes");
  const found = list(plugins)
    .map((plugin) => join(plugins, plugin, name, plugin === CSI_PLUGIN ? "mount" : ""))
    .filter((path) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true);
  const [path, ...others] = found;
  if (path === undefined || others.length > 0) {
    const what = `${found.length} folders of volume ${name} of pod ${podUid} on this node`;
    throw new VarveError("source-failed", `${what}, where one is expected`);
  }
  // No link on the way may lead out of the pod's folder.
  const inPod = relative(realpathSync(join(podsFolder, podUid)), realpathSync(path));
  if (inPod.startsWith("..")) {
    throw new VarveError("source-failed", `${path} lies outside of its pod's folder`);
  }
  return path.replace(/\/$/, "");
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // no such pod here: no folder is found
  }
}
