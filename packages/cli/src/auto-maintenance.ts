import { isVarveError, maintain, type Repository } from "@varve/core";
import type { CommandContext } from "./context.ts";
import { describeError } from "./exit.ts";
import { startProgress } from "./progress.ts";

/**
 * Maintenance that is due, after a command that adds or deletes snapshots (behaviour §4.1): by the owner alone, unless
 * `--no-auto-maintenance` is given. The command has done its work by then: what goes wrong here is told, and is no failure of it.
 */
export async function maintainWhenDue(
  repository: Repository,
  { globals, stop, signal: hard }: CommandContext,
): Promise<void> {
  const signal = AbortSignal.any([stop, hard]);
  if (!globals.autoMaintenance || repository.readOnly || signal.aborted) {
    return;
  }
  using progress = await startProgress({ enabled: globals.progress, label: "maintaining" });
  try {
    const onTask = (text: string): void => progress.update({ text, bytesDone: 0 });
    await maintain(repository, { mode: "auto", signal, onTask });
  } catch (error) {
    if (!isVarveError(error, "not-owner")) {
      progress[Symbol.dispose]();
      process.stderr.write(`varve: warning: automatic maintenance: ${describeError(error)}\n`);
    }
  }
}
