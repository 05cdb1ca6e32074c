import {
  deletePolicy,
  effectivePolicy,
  formatTarget,
  listPolicies,
  policyMember,
  type PolicyOrigin,
  policyToJson,
  type PolicyTarget,
  type EffectivePolicy,
} from "@varve/core";
import type { Command } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_FAILED, reportError } from "../exit.ts";
import { addSwitch } from "../options.ts";
import { printableName, printJson, printLine } from "../output.ts";
import { addPolicyEdit } from "./policy-edit.ts";
import { addPolicyExport, addPolicyImport } from "./policy-files.ts";
import { addPolicySet } from "./policy-set.ts";
import { POLICY_SETTINGS } from "./policy-settings.ts";
import { addTargets, requiredTargets } from "./policy-target.ts";

/** `varve policy …`. */
export function policyCommands(policy: Command): void {
  addPolicySet(policy);
  const showCommand = addTargets(policy.command("show").alias("get"))
    .description("show what is in force for a target, and which policy says so")
    .option("--json", "print one JSON document")
    .action(async () => show(showCommand));
  const listCommand = policy
    .command("list")
    .alias("ls")
    .description("list the policies that are defined")
    .option("--json", "print one JSON document")
    .action(async () => list(listCommand));
  const deleteCommand = addTargets(policy.command("delete").aliases(["remove", "rm"]))
    .description("delete policies; what they said is inherited again")
    .action(async () => remove(deleteCommand));
  addSwitch(deleteCommand, "dry-run", { on: false, help: "only say what there is", short: "n" });
  addPolicyEdit(policy);
  addPolicyExport(policy);
  addPolicyImport(policy);
}

async function show(command: Command): Promise<void> {
  await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
    const targets = requiredTargets(command, repository.client);
    const asJson = command.opts<{ json?: boolean }>().json === true;
    const documents: object[] = [];
    for (const target of targets) {
      const effective = await effectivePolicy(repository, target, { signal });
      if (asJson) {
        documents.push(effectiveJson(target, effective, { named: targets.length > 1 }));
      } else {
        printEffective(target, effective);
      }
    }
    if (asJson) {
      printJson(documents.length === 1 ? documents[0] : documents);
    }
  });
}

function effectiveJson(
  target: PolicyTarget,
  { policy, origins }: EffectivePolicy,
  { named }: { readonly named: boolean },
): object {
  return {
    ...(named ? { target: targetJson(target) } : {}),
    ...policyToJson(policy),
    origins: Object.fromEntries(
      Array.from(origins, ([field, from]) => [field, from.map(originName)]),
    ),
  };
}

function printEffective(target: PolicyTarget, { policy, origins }: EffectivePolicy): void {
  printLine(`Policy for ${printableName(formatTarget(target))}:`);
  let section = "";
  for (const setting of POLICY_SETTINGS) {
    const value = policyMember(policy, setting.field);
    const from = origins.get(setting.field) ?? [];
    if (value === undefined || from.length === 0) {
      continue;
    }
    if (setting.section !== section) {
      section = setting.section;
      printLine(`\n${section}:`);
    }
    const origin = from.map((origin) => describeOrigin(origin, target)).join(", ");
    printLine(
      `  ${`${setting.label}:`.padEnd(36)} ${setting.kind.format(value).padStart(12)}   ${origin}`,
    );
  }
}

function describeOrigin(origin: PolicyOrigin, target: PolicyTarget): string {
  if (origin === "default") {
    return "(built in)";
  }
  return formatTarget(origin) === formatTarget(target)
    ? "(defined for this target)"
    : `inherited from ${originName(origin)}`;
}

function originName(origin: PolicyOrigin): string {
  return origin === "default" ? "default" : printableName(formatTarget(origin));
}

async function list(command: Command): Promise<void> {
  await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
    const { policies, damaged } = await listPolicies(repository, { signal });
    if (command.opts<{ json?: boolean }>().json === true) {
      printJson(
        policies.map(({ id, target, policy }) => ({
          id,
          target: targetJson(target),
          ...policyToJson(policy),
        })),
      );
    } else {
      for (const { id, target } of policies) {
        printLine(`${printableName(id)} ${printableName(formatTarget(target))}`);
      }
    }
    for (const { error } of damaged) {
      reportError(error);
      process.exitCode = EXIT_FAILED;
    }
  });
}

/** As Kopia writes it: empty where the target is wider. */
function targetJson(target: PolicyTarget): object {
  return {
    host: target.type === "global" ? "" : target.host,
    userName: target.type === "user" || target.type === "path" ? target.userName : "",
    path: target.type === "path" ? target.path : "",
  };
}

async function remove(command: Command): Promise<void> {
  const { dryRun } = command.opts<{ dryRun: boolean }>();
  await withRepository(command, { readOnly: dryRun }, async (repository, { signal }) => {
    const targets = requiredTargets(command, repository.client);
    const { policies } = await listPolicies(repository, { signal });
    const defined = new Set(policies.map(({ target }) => formatTarget(target)));
    for (const target of targets) {
      const name = formatTarget(target);
      const found = dryRun ? defined.has(name) : await deletePolicy(repository, target, { signal });
      const done = dryRun ? "Would delete" : "Deleted";
      const text = found ? `${done} the policy of` : "There is no policy of";
      printLine(`${text} ${printableName(name)}.`);
    }
    await repository.flush({ signal });
  });
}
