import type { CallOptions } from "@varve/core";
import type { KubeApi, ResourceType } from "./kube-api.ts";
import { groupResource, type ResourceCatalog } from "./resource-catalog.ts";

/** Asks the server what it has. Groups that do not answer are logged by the caller: see `failed` of `discover`. */
export async function openResourceCatalog(
  kube: KubeApi,
  options: CallOptions = {},
): Promise<ResourceCatalog> {
  const catalog = new Catalog(kube);
  await catalog.refresh(options);
  return catalog;
}

const NEEDED_VERBS = ["list", "create", "get", "delete"];
const CORE_FIRST = ["pods", "persistentvolumeclaims", "persistentvolumes"];

/** The same objects under two groups: the first that is seen is taken (spec 2.3 step 4). */
const COHABITING: Readonly<Record<string, readonly string[]>> = {
  deployments: ["extensions", "apps"],
  daemonsets: ["extensions", "apps"],
  replicasets: ["extensions", "apps"],
  networkpolicies: ["extensions", "networking.k8s.io"],
  events: ["", "events.k8s.io"],
};

class Catalog implements ResourceCatalog {
  readonly #kube: KubeApi;
  #all: readonly ResourceType[] = [];
  #types: readonly ResourceType[] = [];
  #byName = new Map<string, ResourceType>();

  constructor(kube: KubeApi) {
    this.#kube = kube;
  }

  get all(): readonly ResourceType[] {
    return this.#all;
  }

  get types(): readonly ResourceType[] {
    return this.#types;
  }

  resolve(name: string): ResourceType | undefined {
    return this.#byName.get(name.toLowerCase());
  }

  canonical(name: string): string {
    const type = this.resolve(name);
    return type === undefined ? name : groupResource(type);
  }

  forKind(apiVersion: string, kind: string): ResourceType | undefined {
    const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
    return this.#all.find(
      (type) => type.group === group && type.version === version && type.kind === kind,
    );
  }

  async refresh(options: CallOptions = {}): Promise<void> {
    const { types } = await this.#kube.discover(options);
    this.#all = types.filter(({ resource }) => !resource.includes("/"));
    const preferred = this.#all.filter((type) => type.preferred);
    this.#types = inBackupOrder(preferred);
    // Some are in none but another version: DataUploads.
    const known = new Set(preferred.map((type) => groupResource(type)));
    this.#byName = namesOf([
      ...preferred,
      ...this.#all.filter((type) => !known.has(groupResource(type))),
    ]);
  }
}

/** Exported for tests. */
export function inBackupOrder(preferred: readonly ResourceType[]): ResourceType[] {
  const seen = new Set<string>();
  return preferred
    .filter(({ verbs }) => NEEDED_VERBS.every((verb) => verbs.includes(verb)))
    .map((type, index) => ({ type, rank: [groupRank(type), coreRank(type), index] as const }))
    .sort((a, b) => a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1] || a.rank[2] - b.rank[2])
    .map(({ type }) => type)
    .filter(({ group, resource }) => {
      if (COHABITING[resource]?.includes(group) !== true) {
        return true;
      }
      const isFirst = !seen.has(resource);
      seen.add(resource);
      return isFirst;
    });
}

function groupRank({ group }: ResourceType): number {
  return group === "" ? 0 : group === "extensions" ? 2 : 1;
}

function coreRank({ group, resource }: ResourceType): number {
  const place = CORE_FIRST.indexOf(resource);
  return group === "" && place >= 0 ? place : CORE_FIRST.length;
}

/** Plural, singular, short names and kind, bare and with the group; the first group that has a name keeps it. */
function namesOf(types: readonly ResourceType[]): Map<string, ResourceType> {
  const names = new Map<string, ResourceType>();
  const ordered = [...types].sort((a, b) => groupRank(a) - groupRank(b));
  for (const type of ordered) {
    const own = [type.resource, type.singular, type.kind, ...type.shortNames];
    for (const name of own.filter((text) => text !== "").map((text) => text.toLowerCase())) {
      for (const spelling of [name, `${name}.${type.group}`]) {
        if (!names.has(spelling)) {
          names.set(spelling, type);
        }
      }
    }
  }
  return names;
}
