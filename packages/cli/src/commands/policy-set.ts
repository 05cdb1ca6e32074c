import {
  checkPolicyNames,
  formatTarget,
  getPolicy,
  type Policy,
  policyMember,
  setPolicy,
  VarveError,
  withPolicyMember,
} from "@varve/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import { withRepository } from "../context.ts";
import { collect } from "../options.ts";
import { printableName, printLine } from "../output.ts";
import { actionChanges, addActionOptions } from "./policy-actions.ts";
import {
  INHERIT,
  parseSetting,
  POLICY_SETTINGS,
  type PolicySetting,
  type SettingValue,
} from "./policy-settings.ts";
import { addTargets, requiredTargets } from "./policy-target.ts";

/** `policy set`: all changes are worked out and checked for all targets before any is stored. */

export function addPolicySet(policy: Command): void {
  const command = addTargets(policy.command("set"))
    .description(`change a policy; the value ${INHERIT} clears a setting`)
    .addOption(
      new Option("--inherit <true|false>", "whether to inherit other policies").argParser(
        parseInherit,
      ),
    );
  for (const setting of POLICY_SETTINGS) {
    addSettingOptions(command, setting);
  }
  command
    .option("--manual", "no schedule: snapshots by hand only")
    .option("--no-manual", "allow schedules again");
  addActionOptions(command);
  command.action(async () => set(command));
}

function addSettingOptions(command: Command, setting: PolicySetting): void {
  const { flag, kind, label } = setting;
  if (flag === undefined) {
    return;
  }
  if (kind.placeholder === undefined) {
    const list = label.toLowerCase();
    command
      .addOption(new Option(`--add-${flag} <item>`, `add to: ${list}`).argParser(collect))
      .addOption(new Option(`--remove-${flag} <item>`, `take from: ${list}`).argParser(collect))
      .option(`--clear-${flag}`, `take all from: ${list}`);
  } else {
    command.option(`--${flag} <${kind.placeholder}>`, label, parseSetting(setting));
  }
}

function parseInherit(text: string): boolean {
  if (text !== "true" && text !== "false") {
    throw new InvalidArgumentError("neither true nor false");
  }
  return text === "true";
}

/** New value of a member, given the old one; `undefined` clears it. */
type Change = (old: unknown) => unknown;
type Changes = ReadonlyMap<string, Change>;

async function set(command: Command): Promise<void> {
  const changes = await readChanges(command);
  if (changes.size === 0) {
    throw new VarveError("invalid-argument", "no change was given; see --help");
  }
  await withRepository(command, { readOnly: false }, async (repository, { signal }) => {
    const targets = requiredTargets(command, repository.client);
    checkPolicyNames(apply({}, changes).policy, repository.codecs); // not what was there before
    const changed: { target: (typeof targets)[number]; policy: Policy; lines: string[] }[] = [];
    for (const target of targets) {
      const old = (await getPolicy(repository, target, { signal })) ?? {};
      changed.push({ target, ...apply(old, changes) });
    }
    for (const { target, policy } of changed) {
      await setPolicy(repository, target, policy, { signal });
    }
    await repository.flush({ signal });
    for (const { target, lines } of changed) {
      printLine(`Changed the policy of ${printableName(formatTarget(target))}:`);
      for (const line of lines) {
        printLine(`  ${line}`);
      }
    }
  });
}

async function readChanges(command: Command): Promise<Changes> {
  const options = command.opts<Readonly<Record<string, unknown>>>();
  const changes = new Map<string, Change>();
  for (const setting of POLICY_SETTINGS) {
    const change = changeOf(setting, options);
    if (change !== undefined) {
      changes.set(setting.field, change);
    }
  }
  for (const [field, value] of await actionChanges(command)) {
    changes.set(field, () => value);
  }
  const { inherit, manual } = options;
  if (typeof inherit === "boolean") {
    changes.set("noParent", () => (inherit ? undefined : true));
  }
  const schedule = POLICY_SETTINGS.filter(({ field }) => field.startsWith("scheduling."));
  const hasSchedule = schedule.some(({ field }) => changes.has(field));
  if (manual === true) {
    if (hasSchedule) {
      throw new VarveError("invalid-argument", "--manual excludes a schedule");
    }
    for (const { field } of schedule) {
      changes.set(field, () => (field === "scheduling.manual" ? true : undefined));
    }
  } else if (manual === false || hasSchedule) {
    changes.set("scheduling.manual", () => undefined);
  }
  return changes;
}

function changeOf(
  { flag, kind }: PolicySetting,
  options: Readonly<Record<string, unknown>>,
): Change | undefined {
  if (flag === undefined) {
    return undefined;
  }
  if (kind.placeholder !== undefined) {
    const given = options[camelCase(flag)] as SettingValue | undefined; // what parseSetting made
    return given === undefined ? undefined : () => given.value;
  }
  const added = options[camelCase(`add-${flag}`)] as readonly string[] | undefined; // collect made them
  const removed = options[camelCase(`remove-${flag}`)] as readonly string[] | undefined;
  const clear = options[camelCase(`clear-${flag}`)] === true;
  if (added === undefined && removed === undefined && !clear) {
    return undefined;
  }
  return (old) => {
    const kept = clear || !Array.isArray(old) ? [] : (old as readonly string[]); // all lists are of strings
    const items = new Set([...kept, ...(added ?? [])]);
    for (const item of removed ?? []) {
      items.delete(item);
    }
    return items.size === 0 ? undefined : [...items];
  };
}

function apply(old: Policy, changes: Changes): { policy: Policy; lines: string[] } {
  let policy = old;
  const lines: string[] = [];
  for (const { field, label, section, kind } of POLICY_SETTINGS) {
    const change = changes.get(field);
    if (change === undefined) {
      continue;
    }
    const before = policyMember(policy, field);
    const value = change(before);
    policy = withPolicyMember(policy, field, value);
    if (value !== undefined || before !== undefined) {
      const shown = value === undefined ? "inherited" : kind.format(value);
      lines.push(`${section}: ${label}: ${shown}`);
    }
  }
  return { policy, lines };
}

function camelCase(flag: string): string {
  return flag.replace(/-([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}
