import type { CallOptions } from "../base/environment.ts";
import { getPolicy, listPolicies, setPolicy } from "../policy/policies.ts";
import { formatTarget } from "../policy/policy-target.ts";
import type { Repository } from "../repository/repository.ts";
import type { SnapshotSource } from "../snapshot/snapshot-manifest.ts";

/**
 * Copies policies: those that are defined for exactly these sources, or all there are. Gives how many were set, pending until `flush`.
 * Throws `corrupt` for a damaged one that was asked for, and `invalid-argument` for one that must not be set.
 */
export async function copyPolicies(
  source: Repository,
  target: Repository,
  options: CallOptions & {
    /** Left out: all policies, of hosts, users and everybody too. */
    readonly sources?: readonly SnapshotSource[] | undefined;
    /** Also where the target has one. */
    readonly overwrite: boolean;
  },
): Promise<number> {
  const { sources, overwrite, signal } = options;
  const wanted =
    sources && new Set(sources.map((found) => formatTarget({ type: "path", ...found })));
  const { policies, damaged } = await listPolicies(source, { signal });
  const bad = damaged.find((policy) => wanted?.has(formatTarget(policy.target)) ?? true);
  if (bad !== undefined) {
    throw bad.error;
  }
  let count = 0;
  for (const { target: place, policy } of policies) {
    if (
      (wanted?.has(formatTarget(place)) ?? true) &&
      (overwrite || (await getPolicy(target, place, { signal })) === undefined)
    ) {
      await setPolicy(target, place, policy, { signal });
      count += 1;
    }
  }
  return count;
}
