import type { CallOptions } from "../base/environment.ts";
import type { SnapshotSource } from "../snapshot/snapshot-manifest.ts";
import type { ManifestsOf } from "../snapshot/snapshots.ts";
import { type DefinedPolicy, mergePolicies } from "./merge.ts";
import { listPolicies } from "./policies.ts";
import type { Policy } from "./policy.ts";
import {
  type PolicyTarget,
  componentsBelow,
  formatTarget,
  inheritanceChain,
} from "./policy-target.ts";

/** Effective policies of a source and of everything below it: subdirectory policies are truly merged with their parents'. */
export interface PolicyTree {
  /** Fully merged, defaults included. */
  readonly effective: Policy;
  /** What is defined exactly here, unmerged: only this gives non-inherited things (folder actions, ignore rules of this place). */
  readonly defined: Policy | undefined;
  /** The policies of a child directory; the same effective policy when nothing is defined at or below it. */
  child(name: string): PolicyTree;
}

/**
 * The policies for one upload. Kopia puts the policy of a subdirectory into force as it is stored, unmerged, which silently
 * turns off compression and `.kopiaignore` below it; here it inherits, as `policy show` says in both. Throws `corrupt` when a
 * policy that matters is damaged: guessing could leave out what should be kept.
 */
export async function loadPolicyTree(
  repository: ManifestsOf,
  source: SnapshotSource,
  options: CallOptions = {},
): Promise<PolicyTree> {
  const { policies, damaged } = await listPolicies(repository, options);
  const matters = damaged.find(({ target }) => placeOf(source, target) !== undefined);
  if (matters !== undefined) {
    throw matters.error;
  }
  return policyTree(source, policies);
}

/** Like {@link loadPolicyTree}, of policies at hand: one at most for each target, in any order; those that do not matter are left out. */
export function policyTree(source: SnapshotSource, policies: readonly DefinedPolicy[]): PolicyTree {
  const inherited: DefinedPolicy[] = [];
  const below: Below[] = [];
  let own: DefinedPolicy | undefined;
  const chain = inheritanceChain({ type: "path", ...source }).map(formatTarget);
  const rank = (defined: DefinedPolicy): number => chain.indexOf(formatTarget(defined.target));
  for (const defined of policies) {
    const place = placeOf(source, defined.target);
    if (place === "above") {
      inherited.push(defined);
    } else if (place?.length === 0) {
      own = defined;
    } else if (place !== undefined) {
      below.push({ components: place, defined });
    }
  }
  return createNode({ own, inherited: inherited.sort((a, b) => rank(a) - rank(b)), below });
}

interface Below {
  /** From the node down to where the policy is defined. */
  readonly components: readonly string[];
  readonly defined: DefinedPolicy;
}

interface Place {
  readonly own: DefinedPolicy | undefined;
  /** Nearest first. */
  readonly inherited: readonly DefinedPolicy[];
  readonly below: readonly Below[];
}

function createNode({ own, inherited, below }: Place): PolicyTree {
  const passedOn = own === undefined ? inherited : [own, ...inherited];
  // One node serves every directory at and below which nothing is defined.
  let plain: PolicyTree | undefined;
  const node: PolicyTree = {
    effective: mergePolicies({ own, inherited }).policy,
    defined: own?.policy,
    child: (name) => {
      const further = below
        .filter(({ components }) => components[0] === name)
        .map(({ components, defined }) => ({ components: components.slice(1), defined }));
      if (further.length > 0) {
        return createNode({
          own: further.find(({ components }) => components.length === 0)?.defined,
          inherited: passedOn,
          below: further.filter(({ components }) => components.length > 0),
        });
      }
      plain ??=
        own === undefined && below.length === 0
          ? node
          : createNode({ own: undefined, inherited: passedOn, below: [] });
      return plain;
    },
  };
  return node;
}

/** Components from the source down to `target`, `above` when the source inherits it, nothing when they do not meet. */
function placeOf(
  source: SnapshotSource,
  target: PolicyTarget,
): readonly string[] | "above" | undefined {
  const self: PolicyTarget = { type: "path", ...source };
  if (formatTarget(self) === formatTarget(target)) {
    return [];
  }
  if (inheritanceChain(self).some((other) => formatTarget(other) === formatTarget(target))) {
    return "above";
  }
  return target.type === "path" &&
    target.host === source.host &&
    target.userName === source.userName
    ? componentsBelow(source.path, target.path)
    : undefined;
}
