import type { ResourceCatalog } from "../kube/resource-catalog.ts";
import { labelSelectorProblems, listProblems } from "../backup/validate-spec.ts";
import type { RestoreSpec } from "../velero/resources.ts";
import { NEVER_RESTORED } from "./selection.ts";

/** What is wrong with a Restore as far as it tells by itself: spec section 1.3. One line each; empty when it is valid. */
export function restoreProblems(
  spec: RestoreSpec,
  catalog: Pick<ResourceCatalog, "canonical">,
): string[] {
  const problems: string[] = [];
  const [backup = "", schedule = ""] = [spec.backupName, spec.scheduleName];
  if ((backup === "") === (schedule === "")) {
    problems.push("exactly one of backupName and scheduleName must be given");
  }
  for (const name of spec.includedResources ?? []) {
    if (NEVER_RESTORED.includes(catalog.canonical(name))) {
      problems.push(`includedResources: ${name} cannot be restored`);
    }
  }
  problems.push(
    ...listProblems("resources", spec.includedResources, spec.excludedResources),
    ...listProblems("namespaces", spec.includedNamespaces, spec.excludedNamespaces),
    ...labelSelectorProblems(spec),
  );
  for (const { name, postHooks = [] } of spec.hooks?.resources ?? []) {
    for (const container of postHooks.flatMap(({ init }) => init?.initContainers ?? [])) {
      const missing = ["name", "image", "command"].filter((key) => isEmpty(container[key]));
      if (missing.length > 0) {
        problems.push(`hook ${name}: an init container has no ${missing.join(", no ")}`);
      }
    }
  }
  const { existingResourcePolicy = "" } = spec;
  if (!["", "none", "update", null].includes(existingResourcePolicy)) {
    problems.push(`existingResourcePolicy: ${existingResourcePolicy} is neither none nor update`);
  }
  return problems;
}

function isEmpty(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    value === "" ||
    (Array.isArray(value) && value.length === 0)
  );
}
