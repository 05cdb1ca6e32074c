import type { CallOptions } from "@varve/core";
import type { KubeConnection } from "./connection.ts";
import { isKubeError, type KubeErrorCode, KubeError, type ResourceType } from "./kube-api.ts";

/**
 * What types a server has: two requests where it answers for all groups at once (Kubernetes 1.27 and later), one for
 * each group and version otherwise.
 */

const AGGREGATED =
  "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," +
  "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

interface Discovered {
  readonly types: ResourceType[];
  readonly failed: string[];
}

export async function discoverTypes(
  connection: KubeConnection,
  { signal }: CallOptions,
): Promise<Discovered> {
  const result: Discovered = { types: [], failed: [] };
  for (const path of ["/api", "/apis"]) {
    const found = await connection.json({ method: "GET", path, accept: AGGREGATED, signal });
    const { kind } = found as { kind?: string };
    if (kind === "APIGroupDiscoveryList") {
      addAggregated(found as AggregatedList, result);
    } else {
      await addGroups(connection, found as GroupList & CoreVersions, { result, signal });
    }
  }
  return result;
}

interface AggregatedList {
  readonly items?: readonly {
    readonly metadata?: { readonly name?: string };
    readonly versions?: readonly {
      readonly version: string;
      readonly freshness?: string;
      readonly resources?: readonly {
        readonly resource: string;
        readonly responseKind?: { readonly kind?: string };
        readonly scope?: string;
        readonly singularResource?: string;
        readonly shortNames?: readonly string[];
        readonly verbs?: readonly string[];
      }[];
    }[];
  }[];
}

function addAggregated({ items = [] }: AggregatedList, { types, failed }: Discovered): void {
  for (const { metadata, versions = [] } of items) {
    const group = metadata?.name ?? "";
    for (const [index, { version, freshness, resources = [] }] of versions.entries()) {
      if (freshness === "Stale") {
        failed.push(`${group}/${version}`);
      }
      for (const found of resources) {
        types.push({
          group,
          version,
          resource: found.resource,
          namespaced: found.scope === "Namespaced",
          kind: found.responseKind?.kind ?? "",
          singular: found.singularResource ?? "",
          shortNames: found.shortNames ?? [],
          verbs: found.verbs ?? [],
          preferred: index === 0, // they come in the order of preference
        });
      }
    }
  }
}

interface CoreVersions {
  readonly versions?: readonly string[];
}

interface GroupList {
  readonly groups?: readonly {
    readonly name: string;
    readonly versions?: readonly { readonly version: string }[];
    readonly preferredVersion?: { readonly version?: string };
  }[];
}

interface ResourceList {
  readonly resources?: readonly {
    readonly name: string;
    readonly singularName?: string;
    readonly namespaced?: boolean;
    readonly kind?: string;
    readonly shortNames?: readonly string[];
    readonly verbs?: readonly string[];
  }[];
}

const MAY_FAIL: readonly KubeErrorCode[] = ["not-found", "unavailable", "forbidden", "failed"];

async function addGroups(
  connection: KubeConnection,
  { versions, groups }: GroupList & CoreVersions,
  { result, signal }: CallOptions & { readonly result: Discovered },
): Promise<void> {
  const served = groups ?? [
    { name: "", versions: (versions ?? []).map((version) => ({ version })) },
  ];
  for (const group of served) {
    const preferred =
      ("preferredVersion" in group ? group.preferredVersion?.version : undefined) ??
      group.versions?.[0]?.version;
    for (const { version } of group.versions ?? []) {
      const path = group.name === "" ? `/api/${version}` : `/apis/${group.name}/${version}`;
      try {
        const list = await connection.json({ method: "GET", path, signal });
        for (const found of (list as ResourceList).resources ?? []) {
          if (!found.name.includes("/")) {
            result.types.push({
              group: group.name,
              version,
              resource: found.name,
              namespaced: found.namespaced === true,
              kind: found.kind ?? "",
              singular: found.singularName ?? "",
              shortNames: found.shortNames ?? [],
              verbs: found.verbs ?? [],
              preferred: version === preferred,
            });
          }
        }
      } catch (error) {
        if (!(error instanceof KubeError) || !MAY_FAIL.some((code) => isKubeError(error, code))) {
          throw error;
        }
        result.failed.push(`${group.name}/${version}`);
      }
    }
  }
}
