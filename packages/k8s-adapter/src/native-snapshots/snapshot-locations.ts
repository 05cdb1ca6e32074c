import { type CallOptions, VarveError } from "@varve/core";
import { SECRETS } from "../kube/core-types.ts";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { type SecretKeySelector, VELERO } from "../velero/resources.ts";
import type { VolumeSnapshotter, VolumeSnapshotters } from "./volume-snapshotter.ts";

interface VolumeSnapshotLocation extends KubeObject {
  spec: {
    provider: string;
    config?: Record<string, string>;
    credential?: SecretKeySelector;
  };
}

/** The snapshotter of a VolumeSnapshotLocation. Throws `invalid-argument` when there is none, and what it throws itself. */
export async function openSnapshotter(
  context: Context,
  snapshotters: VolumeSnapshotters,
  name: string,
  { signal }: CallOptions,
): Promise<VolumeSnapshotter> {
  const { spec } = await readLocation(context, name, { signal });
  const open = Object.hasOwn(snapshotters, spec.provider) ? snapshotters[spec.provider] : undefined;
  if (open === undefined) {
    const message = `VolumeSnapshotLocation ${name}: there is no plug-in of provider ${spec.provider}`;
    throw new VarveError("invalid-argument", message);
  }
  const credential =
    spec.credential === undefined
      ? undefined
      : await readSecret(context, spec.credential, { signal });
  return await open({ name, config: spec.config ?? {}, credential }, { signal });
}

async function readLocation(
  { kube, namespace }: Context,
  name: string,
  options: CallOptions,
): Promise<VolumeSnapshotLocation> {
  try {
    const found = await kube.get(VELERO.volumeSnapshotLocations, { namespace, name }, options);
    return found as VolumeSnapshotLocation; // its definition demands the provider
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      throw new VarveError("invalid-argument", `there is no VolumeSnapshotLocation ${name}`);
    }
    throw error;
  }
}

async function readSecret(
  { kube, namespace }: Context,
  { name, key }: SecretKeySelector,
  options: CallOptions,
): Promise<string> {
  const secret = await kube.get(SECRETS, { namespace, name }, options);
  const value = (secret["data"] as Record<string, unknown> | undefined)?.[key]; // checked below
  if (typeof value !== "string") {
    throw new VarveError("invalid-argument", `there is no key ${key} in secret ${name}`);
  }
  return Buffer.from(value, "base64").toString("utf8");
}
