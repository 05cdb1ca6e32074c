import { hasPattern, matchesAny } from "../velero/glob.ts";
import type { BackupSpec } from "../velero/resources.ts";

/** Which namespaces a backup takes (semantics spec section 2.4). */
export interface NamespaceFilter {
  /** The user asked for all of them: no includes or `*`, and no excludes of their own. */
  readonly everything: boolean;
  /** What is listed: one call for all, or one a namespace. */
  readonly listed: "all" | readonly string[];
  /** Named without a pattern, but not there. */
  readonly missing: readonly string[];
  /** Patterns that together match nothing: no namespace, not all. */
  readonly matchesNothing: boolean;
  includes(namespace: string): boolean;
}

/** `labelled`: namespaces that carry the exclude label; they count as excluded, but not as the user's own excludes. */
export function createNamespaceFilter(
  spec: Pick<BackupSpec, "includedNamespaces" | "excludedNamespaces">,
  { existing, labelled }: { existing: readonly string[]; labelled: readonly string[] },
): NamespaceFilter {
  const includes = spec.includedNamespaces ?? [];
  const ownExcludes = (spec.excludedNamespaces ?? []).filter((name) => !labelled.includes(name));
  const excluded = (name: string): boolean =>
    labelled.includes(name) || matchesAny(ownExcludes, name);
  const all = includes.length === 0 || includes.includes("*");
  if (all) {
    return {
      everything: ownExcludes.length === 0,
      listed: "all",
      missing: [],
      matchesNothing: false,
      includes: (name) => !excluded(name),
    };
  }
  const taken = existing.filter((name) => matchesAny(includes, name) && !excluded(name));
  return {
    everything: false,
    listed: taken,
    missing: includes.filter((name) => !hasPattern(name) && !existing.includes(name)),
    matchesNothing: taken.length === 0 && includes.some(hasPattern),
    includes: (name) => taken.includes(name),
  };
}
