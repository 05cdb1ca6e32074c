import { readFile, writeFile } from "node:fs/promises";
import { text as readAll } from "node:stream/consumers";
import {
  checkPolicyNames,
  type ClientIdentity,
  deletePolicy,
  errorMessage,
  formatTarget,
  listPolicies,
  parseTarget,
  type Policy,
  policyFromJson,
  type PolicyTarget,
  policyToJson,
  setPolicy,
  unknownPolicyMembers,
  VarveError,
} from "@varve/core";
import type { Command } from "commander";
import { withRepository } from "../context.ts";
import { addSwitch } from "../options.ts";
import { printableName, printJson, printLine } from "../output.ts";
import { addTargets, namedTargets } from "./policy-target.ts";

/** `policy export` and `policy import`: one JSON object, from targets to policies, as Kopia's. */

export function addPolicyExport(policy: Command): void {
  const command = addTargets(policy.command("export"))
    .description("write policies as JSON: all, or those of the targets")
    .option("--to-file <path>", "write to this file");
  addSwitch(command, "overwrite", { on: false, help: "replace the file" });
  command.action(async () => exportPolicies(command));
}

export function addPolicyImport(policy: Command): void {
  const command = addTargets(policy.command("import"))
    .description("set policies from JSON: all in it, or those of the targets")
    .option("--from-file <path>", "read from this file instead of standard input");
  addSwitch(command, "allow-unknown-fields", {
    on: false,
    help: "take over what varve does not know",
  });
  addSwitch(command, "delete-other-policies", {
    on: false,
    help: "delete all policies that were not imported",
  });
  command.action(async () => importPolicies(command));
}

async function exportPolicies(command: Command): Promise<void> {
  const { toFile, overwrite } = command.opts<{ toFile?: string; overwrite: boolean }>();
  await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
    const { policies, damaged } = await listPolicies(repository, { signal });
    const wanted = namedTargets(command, repository.client).map(formatTarget);
    const isWanted = (target: PolicyTarget): boolean =>
      wanted.length === 0 || wanted.includes(formatTarget(target));
    const broken = damaged.find(({ target }) => isWanted(target));
    if (broken !== undefined) {
      throw broken.error;
    }
    const document = Object.fromEntries(
      policies
        .filter(({ target }) => isWanted(target))
        .map(({ target, policy }) => [formatTarget(target), policyToJson(policy)]),
    );
    const missing = wanted.find((name) => document[name] === undefined);
    if (missing !== undefined) {
      throw new VarveError("invalid-argument", `there is no policy of ${printableName(missing)}`);
    }
    if (toFile === undefined) {
      printJson(document);
    } else {
      await writeNew(toFile, `${JSON.stringify(document, undefined, 2)}\n`, overwrite);
      printLine(`Exported ${Object.keys(document).length} policies to ${toFile}.`);
    }
  });
}

async function writeNew(path: string, text: string, overwrite: boolean): Promise<void> {
  await writeFile(path, text, { flag: overwrite ? "w" : "wx" }).catch((cause: unknown) => {
    throw new VarveError("invalid-argument", `cannot write ${path}: ${errorMessage(cause)}`, {
      cause,
    });
  });
}

interface ImportOptions {
  readonly fromFile?: string;
  readonly allowUnknownFields: boolean;
  readonly deleteOtherPolicies: boolean;
}

async function importPolicies(command: Command): Promise<void> {
  const options = command.opts<ImportOptions>();
  const text = await readInput(options.fromFile);
  await withRepository(command, { readOnly: false }, async (repository, { signal }) => {
    const wanted = namedTargets(command, repository.client).map(formatTarget);
    const all = parsePolicies(text, repository.client);
    const imported =
      wanted.length === 0 ? [...all] : [...all].filter(([name]) => wanted.includes(name));
    const missing = wanted.find((name) => !all.has(name));
    if (missing !== undefined) {
      throw new VarveError("invalid-argument", `the input has no policy of ${missing}`);
    }
    for (const [name, { policy }] of imported) {
      checkPolicyNames(policy, repository.codecs);
      const [unknown] = unknownPolicyMembers(policy);
      if (unknown !== undefined && !options.allowUnknownFields) {
        throw new VarveError(
          "invalid-argument",
          `policy of ${name}: unknown member ${JSON.stringify(unknown)} (see --allow-unknown-fields)`,
        );
      }
    }
    for (const [, { target, policy }] of imported) {
      await setPolicy(repository, target, policy, { signal });
    }
    const names = new Set(imported.map(([name]) => name));
    const { policies, damaged } = await listPolicies(repository, { signal });
    const others = [...policies, ...damaged].filter(
      ({ target }) => options.deleteOtherPolicies && !names.has(formatTarget(target)),
    );
    for (const { target } of others) {
      await deletePolicy(repository, target, { signal });
    }
    await repository.flush({ signal });
    printLine(`Imported ${imported.length} policies, deleted ${others.length}.`);
  });
}

async function readInput(path: string | undefined): Promise<string> {
  if (path === undefined) {
    return await readAll(process.stdin);
  }
  return await readFile(path, "utf8").catch((cause: unknown) => {
    throw new VarveError("invalid-argument", `cannot read ${path}: ${errorMessage(cause)}`, {
      cause,
    });
  });
}

/** By target; whatever is wrong with the input is `invalid-argument`. */
function parsePolicies(
  text: string,
  client: ClientIdentity,
): ReadonlyMap<string, { readonly target: PolicyTarget; readonly policy: Policy }> {
  try {
    const document: unknown = JSON.parse(text);
    if (typeof document !== "object" || document === null || Array.isArray(document)) {
      throw new Error("not an object of policies");
    }
    return new Map(
      Object.entries(document).map(([name, payload]) => {
        const target = parseTarget(name, client);
        return [
          formatTarget(target),
          { target, policy: policyFromJson(payload, `policy of ${name}`) },
        ];
      }),
    );
  } catch (cause) {
    throw new VarveError("invalid-argument", `import policies: ${errorMessage(cause)}`, { cause });
  }
}
