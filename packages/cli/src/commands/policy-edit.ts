import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  checkPolicyNames,
  errorMessage,
  formatTarget,
  getPolicy,
  isVarveError,
  type Policy,
  policyFromJson,
  type PolicyTarget,
  policyToJson,
  type Repository,
  setPolicy,
  unknownPolicyMembers,
  VarveError,
} from "@varve/core";
import type { Command } from "commander";
import { childEnvironment } from "../child-environment.ts";
import { confirm } from "../confirm.ts";
import { withRepository } from "../context.ts";
import { printableName, printLine } from "../output.ts";
import { words } from "./policy-actions.ts";
import { POLICY_SETTINGS } from "./policy-settings.ts";
import { addTargets, requiredTargets } from "./policy-target.ts";

/** `policy edit`: the JSON of a policy in the user's editor, as often as it takes. */

export function addPolicyEdit(policy: Command): void {
  const command = addTargets(policy.command("edit")).description(
    "change a policy as JSON in an editor (VISUAL, EDITOR)",
  );
  command.action(async () => {
    await withRepository(command, { readOnly: false }, async (repository, { signal }) => {
      for (const target of requiredTargets(command, repository.client)) {
        await edit(repository, target, signal);
      }
      await repository.flush({ signal });
    });
  });
}

/** What was written stays in the file until it is stored. */
async function edit(
  repository: Repository,
  target: PolicyTarget,
  signal: AbortSignal,
): Promise<void> {
  const name = printableName(formatTarget(target));
  const before = jsonText((await getPolicy(repository, target, { signal })) ?? {});
  const folder = await mkdtemp(join(tmpdir(), "varve-policy-"));
  const file = join(folder, "policy.conf");
  await writeFile(file, `${head(name)}${before}\n`, { mode: 0o600 });
  for (;;) {
    await runEditor(file);
    try {
      const policy = parseEdited(await readFile(file, "utf8"), repository);
      const isChanged = jsonText(policy) !== before;
      if (isChanged) {
        await setPolicy(repository, target, policy, { signal });
      }
      await rm(folder, { recursive: true });
      printLine(isChanged ? `Changed the policy of ${name}.` : `${name}: unchanged.`);
      return;
    } catch (error) {
      if (!isVarveError(error, "invalid-argument")) {
        throw error;
      }
      process.stderr.write(`varve: ${printableName(error.message)}\n`);
      if (!(await confirm("Open the editor again? (Y/n) "))) {
        throw new VarveError("invalid-argument", `nothing was changed; the text is in ${file}`);
      }
    }
  }
}

function jsonText(policy: Policy): string {
  return JSON.stringify(policyToJson(policy), undefined, 2);
}

function head(name: string): string {
  const members = POLICY_SETTINGS.map(({ field, label }) => `#   ${field}: ${label}\n`);
  return (
    `# The policy of ${name}, as JSON; what is not there is inherited. Lines with # are left out.\n` +
    `# Leave it as it is to change nothing. The members:\n${members.join("")}\n`
  );
}

/** Throws `invalid-argument`. */
function parseEdited(text: string, repository: Repository): Policy {
  let policy: Policy;
  try {
    policy = policyFromJson(JSON.parse(text.replaceAll(/^[ \t]*#.*$/gm, "")), "policy");
  } catch (cause) {
    throw new VarveError("invalid-argument", errorMessage(cause), { cause });
  }
  checkPolicyNames(policy, repository.codecs);
  const [unknown] = unknownPolicyMembers(policy);
  if (unknown !== undefined) {
    throw new VarveError("invalid-argument", `unknown member ${JSON.stringify(unknown)}`);
  }
  return policy;
}

/** Throws `invalid-argument` when it cannot be run or fails. */
async function runEditor(file: string): Promise<void> {
  const { VISUAL, EDITOR } = process.env;
  const otherwise = process.platform === "win32" ? "notepad.exe" : "vi";
  const [program = "", ...args] = words(VISUAL || EDITOR || otherwise);
  const child = spawn(program, [...args, file], { stdio: "inherit", env: childEnvironment() });
  const [status] = (await once(child, "close").catch((cause: unknown) => {
    throw new VarveError(
      "invalid-argument",
      `cannot run the editor ${program}: ${errorMessage(cause)}`,
      { cause },
    );
  })) as [number | null]; // what "close" gives
  if (status !== 0) {
    throw new VarveError(
      "invalid-argument",
      `the editor ${program} failed; the text is in ${file}`,
    );
  }
}
