import { resolve } from "node:path";
import {
  type ClientIdentity,
  GLOBAL_TARGET,
  parseTarget,
  type PolicyTarget,
  VarveError,
} from "@varve/core";
import { Argument, type Command } from "commander";

/** What a policy is set on, shown of, deleted from. */

export function addTargets(command: Command): Command {
  return command
    .addArgument(new Argument("[targets...]", "a folder, user@host:/folder, user@host, or @host"))
    .option("--global", "the policy that everything inherits");
}

/** The targets that were named, none included. */
export function namedTargets(command: Command, client: ClientIdentity): readonly PolicyTarget[] {
  const isGlobal = command.opts<{ global?: boolean }>().global === true;
  const named = command.args.map((text) => targetOf(text, client));
  return isGlobal ? [GLOBAL_TARGET, ...named] : named;
}

/** Throws `invalid-argument` when there are none. */
export function requiredTargets(command: Command, client: ClientIdentity): readonly PolicyTarget[] {
  const targets = namedTargets(command, client);
  if (targets.length === 0) {
    throw new VarveError("invalid-argument", "name a target, or say --global");
  }
  return targets;
}

/** A text with an `@` before any slash is a user, a host or a source; other texts are folders here. */
function targetOf(text: string, client: ClientIdentity): PolicyTarget {
  const isFolder = text !== "(global)" && !/^[^/\\]*@/.test(text);
  return parseTarget(isFolder ? resolve(text) : text, client);
}
