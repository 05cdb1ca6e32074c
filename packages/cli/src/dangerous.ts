import { VarveError } from "@varve/core";
import type { Command } from "commander";

/**
 * Commands that change storage behind the back of snapshots ask for `--dangerous-commands=enabled`, as Kopia's do. Throws
 * `invalid-argument` without it.
 */
export function requireDangerousCommands(command: Command): void {
  const { dangerousCommands } = command.optsWithGlobals<{ dangerousCommands?: string }>();
  if (dangerousCommands !== "enabled") {
    throw new VarveError(
      "invalid-argument",
      "this can destroy data that snapshots need; to do it nevertheless say --dangerous-commands=enabled",
    );
  }
}
