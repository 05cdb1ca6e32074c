import { CONFIG_MAPS, NAMESPACES } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import { isKubeError } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import { LABEL } from "../velero/labels.ts";
import type { BackupSpec } from "../velero/resources.ts";
import type { BackupFilters } from "./collect-items.ts";
import { createNamespaceFilter } from "./namespace-filter.ts";
import { createResourceFilter } from "./resource-filter.ts";
import { parseResourcePolicy, type ResourcePolicy } from "./resource-policy.ts";

/** Names of all namespaces, and of those that are labelled not to be backed up. */
export async function listNamespaces(
  context: Context,
  options: CallOptions,
): Promise<{ readonly existing: readonly string[]; readonly labelled: readonly string[] }> {
  const { items } = await context.kube.listAll(NAMESPACES, options);
  const existing = items.map(({ metadata }) => metadata.name);
  const labelled = items
    .filter(({ metadata }) => metadata.labels?.[LABEL.excludeFromBackup] === "true")
    .map(({ metadata }) => metadata.name);
  return { existing, labelled };
}

/** `undefined` when the spec names none. Throws `invalid-argument` when it is not there or makes no sense. */
export async function readResourcePolicy(
  context: Context,
  { resourcePolicy }: Pick<BackupSpec, "resourcePolicy">,
  options: CallOptions,
): Promise<ResourcePolicy | undefined> {
  if (resourcePolicy === undefined || resourcePolicy === null) {
    return undefined;
  }
  const { kind, name } = resourcePolicy;
  if (kind.toLowerCase() !== "configmap") {
    throw new Error(`resource policy: ${JSON.stringify(kind)} is not ConfigMap`);
  }
  try {
    const { namespace } = context;
    return parseResourcePolicy(await context.kube.get(CONFIG_MAPS, { namespace, name }, options));
  } catch (error) {
    throw isKubeError(error, "not-found")
      ? new Error(`resource policy: there is no ConfigMap ${name}`)
      : error;
  }
}

/** What a Backup's spec, the cluster's namespaces and types, and its policy come to. */
export async function createBackupFilters(
  context: Context,
  spec: BackupSpec,
  policy: ResourcePolicy | undefined,
  options: CallOptions,
): Promise<BackupFilters> {
  const namespaces = createNamespaceFilter(spec, await listNamespaces(context, options));
  const resources = createResourceFilter(spec, context.catalog, {
    allNamespaces: namespaces.everything,
    policy: policy?.includeExclude,
  });
  const one = spec.labelSelector == null ? [] : [spec.labelSelector];
  const selectors = (spec.orLabelSelectors?.length ?? 0) > 0 ? (spec.orLabelSelectors ?? []) : one;
  return { namespaces, resources, selectors };
}
