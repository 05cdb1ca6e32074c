import type { CallOptions } from "../base/environment.ts";
import { VarveError, isVarveError } from "../base/errors.ts";
import type { ManifestId, ManifestInfo } from "../manifest/manifest-store.ts";
import type { ManifestsOf } from "../snapshot/snapshots.ts";
import { type DefinedPolicy, type EffectivePolicy, mergePolicies } from "./merge.ts";
import type { Policy } from "./policy.ts";
import { policyFromJson, policyToJson } from "./policy-json.ts";
import {
  POLICY_TYPE,
  type PolicyTarget,
  formatTarget,
  inheritanceChain,
  isRoot,
  policyLabels,
  targetOfLabels,
} from "./policy-target.ts";
import { validCron } from "./cron.ts";

/**
 * Policies as manifests of a repository (behaviour §2): read, set, delete, and what is in force for a target. When clients
 * raced and left two for one target, the one modified last counts. Nothing here flushes.
 */

/** The policy defined exactly there, if any. Throws `corrupt`. */
export async function getPolicy(
  repository: ManifestsOf,
  target: PolicyTarget,
  options: CallOptions = {},
): Promise<Policy | undefined> {
  const found = await findExactly(repository, target, options);
  const latest = found.reduce<ManifestInfo | undefined>(later, undefined);
  return latest === undefined ? undefined : load(repository, latest.id, options);
}

/** Replaces what is defined there. Throws `invalid-argument` for a policy that Kopia would not accept there. */
export async function setPolicy(
  repository: ManifestsOf,
  target: PolicyTarget,
  policy: Policy,
  options: CallOptions = {},
): Promise<ManifestId> {
  checkPolicy(target, policy);
  const old = await findExactly(repository, target, options);
  const id = await repository.manifests.put(policyLabels(target), policyToJson(policy), options);
  await deleteAll(repository, old, options);
  return id;
}

/** True when there was one. */
export async function deletePolicy(
  repository: ManifestsOf,
  target: PolicyTarget,
  options: CallOptions = {},
): Promise<boolean> {
  const old = await findExactly(repository, target, options);
  await deleteAll(repository, old, options);
  return old.length > 0;
}

export interface PolicyList {
  /** One for each target, in the order of their texts. */
  readonly policies: readonly (DefinedPolicy & { readonly id: ManifestId })[];
  /** Policies that cannot be understood. */
  readonly damaged: readonly {
    readonly target: PolicyTarget;
    readonly id: ManifestId;
    readonly error: Error;
  }[];
}

/** Damage of one policy is reported beside the others and is no reason to fail. */
export async function listPolicies(
  repository: ManifestsOf,
  options: CallOptions = {},
): Promise<PolicyList> {
  const policies: (DefinedPolicy & { id: ManifestId })[] = [];
  const damaged: { target: PolicyTarget; id: ManifestId; error: Error }[] = [];
  for (const { target, id } of await findAll(repository, options)) {
    try {
      policies.push({ target, id, policy: await load(repository, id, options) });
    } catch (error) {
      if (!isVarveError(error, "corrupt")) {
        throw error;
      }
      damaged.push({ target, id, error });
    }
  }
  return { policies, damaged };
}

/** What is in force for `target`, and where each value comes from. Throws `corrupt` when a policy that it inherits is damaged. */
export async function effectivePolicy(
  repository: ManifestsOf,
  target: PolicyTarget,
  options: CallOptions = {},
): Promise<EffectivePolicy> {
  const defined = new Map<string, ManifestId>();
  for (const found of await findAll(repository, options)) {
    defined.set(formatTarget(found.target), found.id);
  }
  const chain: DefinedPolicy[] = [];
  for (const ancestor of inheritanceChain(target)) {
    const id = defined.get(formatTarget(ancestor));
    if (id !== undefined) {
      chain.push({ target: ancestor, policy: await load(repository, id, options) });
    }
  }
  const own = defined.has(formatTarget(target)) ? chain.shift() : undefined;
  return mergePolicies({ own, inherited: chain });
}

/** Each target that has a policy, with the manifest that counts, in the order of their texts. */
async function findAll(
  repository: ManifestsOf,
  options: CallOptions,
): Promise<readonly { readonly target: PolicyTarget; readonly id: ManifestId }[]> {
  const latest = new Map<string, { target: PolicyTarget; info: ManifestInfo }>();
  for (const info of await repository.manifests.find({ type: POLICY_TYPE }, options)) {
    const target = targetOfLabels(info.labels);
    if (target !== undefined) {
      const name = formatTarget(target);
      latest.set(name, { target, info: later(latest.get(name)?.info, info) });
    }
  }
  return [...latest]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { target, info }]) => ({ target, id: info.id }));
}

function later(a: ManifestInfo | undefined, b: ManifestInfo): ManifestInfo {
  if (a === undefined || a.modifiedNs !== b.modifiedNs) {
    return a === undefined || a.modifiedNs < b.modifiedNs ? b : a;
  }
  return a.id > b.id ? a : b;
}

async function load(
  repository: ManifestsOf,
  id: ManifestId,
  options: CallOptions,
): Promise<Policy> {
  const { payload } = await repository.manifests.get(id, options);
  return policyFromJson(payload, `policy ${id}`);
}

async function findExactly(
  repository: ManifestsOf,
  target: PolicyTarget,
  options: CallOptions,
): Promise<readonly ManifestInfo[]> {
  return repository.manifests.find(policyLabels(target), options);
}

async function deleteAll(
  repository: ManifestsOf,
  manifests: readonly ManifestInfo[],
  options: CallOptions,
): Promise<void> {
  for (const { id } of manifests) {
    await repository.manifests.delete(id, options);
  }
}

/** What Kopia checks when it sets a policy (behaviour §2.1). */
function checkPolicy(target: PolicyTarget, policy: Policy): void {
  const refuse = (why: string): never => {
    throw new VarveError("invalid-argument", `policy of ${formatTarget(target)}: ${why}`);
  };
  const { manual, ...schedule } = policy.scheduling ?? {};
  if (manual === true && Object.values(schedule).some((value) => value !== undefined)) {
    refuse("manual cannot be combined with a schedule");
  }
  const badCron = policy.scheduling?.cron?.find((expression) => !validCron(expression));
  if (badCron !== undefined) {
    refuse(`not a cron expression: ${JSON.stringify(badCron)}`);
  }
  if (target.type === "path") {
    if (policy.upload?.maxParallelSnapshots !== undefined) {
      refuse("maxParallelSnapshots cannot be set for a path");
    }
    if (target.path === "" || (/[/\\]$/.test(target.path) && !isRoot(target.path))) {
      refuse("the path ends in a separator");
    }
  }
}
