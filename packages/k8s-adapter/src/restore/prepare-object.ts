import type { KubeObject, ObjectMeta } from "../kube/kube-api.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import type { Restore } from "../velero/resources.ts";

/** What an object of a backup loses and gains before it is created: spec section 9.3. */

const KEPT_METADATA: readonly (keyof ObjectMeta & string)[] = [
  "name",
  "namespace",
  "labels",
  "annotations",
  "finalizers",
];

/** Changes the object in place: what the source cluster's server had set is gone, the status too. */
export function resetObject(object: KubeObject): void {
  object.metadata = Object.fromEntries(
    Object.entries(object.metadata).filter(([key]) => KEPT_METADATA.includes(key)),
  ) as unknown as ObjectMeta; // the name is kept
  delete object["status"];
}

/** Labels that say where it comes from. */
export function labelRestored({ metadata }: KubeObject, restore: Restore): void {
  metadata.labels = {
    ...metadata.labels,
    [LABEL.backupName]: labelValue(restore.spec.backupName ?? ""),
    [LABEL.restoreName]: labelValue(restore.metadata.name),
  };
}

/** Pods and Jobs that have ended, and pods that the kubelet makes by itself: not restored. */
export function whySkipped(groupResource: string, object: KubeObject): string | undefined {
  const status = (object["status"] ?? {}) as { phase?: string; completionTime?: string };
  if (groupResource === "pods") {
    if (status.phase === "Succeeded" || status.phase === "Failed") {
      return "the pod had ended";
    }
    if (object.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined) {
      return "the kubelet makes the pod";
    }
  }
  return groupResource === "jobs.batch" && status.completionTime !== undefined
    ? "the job had ended"
    : undefined;
}

/** Equal but for what every server sets by itself. `wanted` is as it would be created. */
export function isSame(existing: KubeObject, wanted: KubeObject): boolean {
  const current = structuredClone(existing);
  resetObject(current);
  const labels = current.metadata.labels ?? {};
  for (const key of [LABEL.backupName, LABEL.restoreName]) {
    const value = wanted.metadata.labels?.[key];
    if (value === undefined) {
      delete labels[key];
    } else {
      labels[key] = value;
    }
  }
  current.metadata.labels = labels;
  return canonical(current) === canonical(wanted);
}

function canonical({ apiVersion: _, ...object }: KubeObject): string {
  return JSON.stringify(prune(object));
}

/** Sorted keys; what is empty is as good as absent. */
function prune(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(prune);
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, member]) => [key, prune(member)] as const)
      .filter(([, member]) => !isNothing(member))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function isNothing(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    (typeof value === "object" && Object.keys(value).length === 0)
  );
}

/** The JSON merge patch (RFC 7396) that makes `to` of `from`; undefined when there is nothing to change. */
export function mergePatchOf(from: unknown, to: unknown): unknown {
  if (!isRecord(from) || !isRecord(to)) {
    return JSON.stringify(from) === JSON.stringify(to) ? undefined : to;
  }
  const patch: Record<string, unknown> = {};
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const change = key in to ? mergePatchOf(from[key], to[key]) : null;
    if (change !== undefined) {
      patch[key] = change;
    }
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
