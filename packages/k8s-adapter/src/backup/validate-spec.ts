import { hasPattern } from "../velero/glob.ts";
import { selectorProblems } from "../velero/label-selector.ts";
import type { BackupSpec, ResourceFilters } from "../velero/resources.ts";
import {
  AUTO_EXCLUDED_CLUSTER,
  AUTO_EXCLUDED_NAMESPACED,
  filled,
  usesNewFilters,
  usesOldFilters,
} from "./resource-filter.ts";

type List = readonly string[] | null | undefined;

/** What is wrong with a Backup's filters, each a line for `status.validationErrors` (semantics spec section 1.2). Before defaults are filled in. */
export function filterProblems(spec: BackupSpec): string[] {
  return [
    ...(usesOldFilters(spec) && usesNewFilters(spec)
      ? [
          "includedResources, excludedResources and includeClusterResources cannot be used together with filters by scope (included/excludedClusterScopedResources, included/excludedNamespaceScopedResources)",
        ]
      : []),
    ...listProblems("resources", spec.includedResources, spec.excludedResources),
    ...(["ClusterScopedResources", "NamespaceScopedResources"] as const).flatMap((scope) =>
      scopeProblems(scope, spec[`included${scope}`], spec[`excluded${scope}`]),
    ),
    ...onlySnapshots(spec),
    ...namespaceProblems(spec.includedNamespaces, spec.excludedNamespaces),
    ...labelSelectorProblems(spec),
  ];
}

/** Of `labelSelector` and `orLabelSelectors`; the same for Restore. */
export function labelSelectorProblems(
  filters: Pick<ResourceFilters, "labelSelector" | "orLabelSelectors">,
): string[] {
  const { labelSelector, orLabelSelectors } = filters;
  const both = labelSelector != null && (orLabelSelectors?.length ?? 0) > 0;
  return [
    ...(both ? ["labelSelector and orLabelSelectors are both set; only one can be"] : []),
    ...[...(labelSelector == null ? [] : [labelSelector]), ...(orLabelSelectors ?? [])].flatMap(
      selectorProblems,
    ),
  ];
}

/** Old-style rules: `*` alone, nothing excluded by `*`, no name in both lists. The same for Restore. */
export function listProblems(what: string, includes: List, excludes: List): string[] {
  const problems: string[] = [];
  if (includes?.includes("*") === true && includes.length > 1) {
    problems.push(`included ${what}: * cannot stand beside others`);
  }
  if (excludes?.includes("*") === true) {
    problems.push(`excluded ${what}: * cannot be excluded`);
  }
  return [...problems, ...overlap(what, includes, excludes)];
}

function scopeProblems(what: string, includes: List, excludes: List): string[] {
  const problems: string[] = [];
  for (const [verb, list] of [
    ["included", includes],
    ["excluded", excludes],
  ] as const) {
    if (list?.includes("*") === true && list.length > 1) {
      problems.push(`${verb}${what}: * cannot stand beside others`);
    }
  }
  if (excludes?.includes("*") === true && filled(includes)) {
    problems.push(`excluded${what}: everything is excluded, and something is included`);
  }
  return [...problems, ...overlap(what, includes, excludes)];
}

function overlap(what: string, includes: List, excludes: List): string[] {
  return (excludes ?? [])
    .filter((name) => name !== "*" && includes?.includes(name) === true)
    .map((name) => `${what}: ${name} is included and excluded`);
}

/** An automatic exclude takes the same name from the includes; an empty list would then mean everything. */
function onlySnapshots(spec: BackupSpec): string[] {
  return (
    [
      "includedResources",
      "includedClusterScopedResources",
      "includedNamespaceScopedResources",
    ] as const
  ).flatMap((member) => {
    const list = spec[member] ?? [];
    return list.length > 0 &&
      list.every((name) => name === AUTO_EXCLUDED_CLUSTER || name === AUTO_EXCLUDED_NAMESPACED)
      ? [`${member}: volume snapshots enter a backup only with their claims`]
      : [];
  });
}

/** The same for Restore, which has no patterns in namespaces but the same rules. */
export function namespaceProblems(includes: List, excludes: List): string[] {
  return [
    ...listProblems("namespaces", includes, excludes),
    ...[...(includes ?? []), ...(excludes ?? [])]
      .filter((name) => name !== "*")
      .flatMap((name) => {
        const problem = namespaceProblem(name);
        return problem === undefined ? [] : [`namespace ${JSON.stringify(name)}: ${problem}`];
      }),
  ];
}

function namespaceProblem(name: string): string | undefined {
  if (name.includes("**")) {
    return "** is not a pattern";
  }
  if (/[|(){}!,]/.test(name)) {
    return "| ( ) { } ! , are not allowed";
  }
  if (/\[\]/.test(name) || /[[\]]/.test(name.replaceAll(/\[[^[\]]+\]/g, ""))) {
    return "brackets do not match or are empty";
  }
  const plain = hasPattern(name) ? name.replaceAll(/[*?[\]]/g, "x") : name;
  return /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(plain) ? undefined : "not a name";
}
