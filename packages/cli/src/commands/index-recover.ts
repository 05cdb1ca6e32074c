import { parseBlobId, recoverIndex, type RecoverIndexReport } from "@varve/core";
import type { Command } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { addSwitch, collect, parsePositive } from "../options.ts";
import { counted, printJson, printLine } from "../output.ts";
import { startProgress } from "../progress.ts";

/** `index recover`: exit status 1 while something of the index stays unknown. */
export function addIndexRecover(index: Command): void {
  const command = index
    .command("recover")
    .description("put lost or damaged indexes together again from packs")
    .option("--blobs <id>", "only this pack; repeatable", collect)
    .option("--blob-prefixes <prefix>", "only packs whose id begins so; repeatable", collect)
    .option("--parallel <n>", "packs read at once", parsePositive, 8)
    .option("--json", "print one JSON document")
    .action(async () => recover(command));
  addSwitch(command, "commit", { on: false, help: "do it; without this, only tell" });
  addSwitch(command, "ignore-errors", {
    on: false,
    help: "remove damaged index blobs even if the end of a pack cannot be read",
  });
}

interface RecoverOptions {
  readonly blobs?: readonly string[];
  readonly blobPrefixes?: readonly string[];
  readonly parallel: number;
  readonly commit: boolean;
  readonly ignoreErrors: boolean;
  readonly json?: boolean;
}

async function recover(command: Command): Promise<void> {
  const options = command.opts<RecoverOptions>();
  const { commit, ignoreErrors, parallel } = options;
  await withRepository(
    command,
    { readOnly: !commit, cache: false },
    async (repository, context) => {
      using progress = await startProgress({
        enabled: context.globals.progress,
        label: "recovering",
      });
      const report = await recoverIndex(repository, {
        commit,
        ignoreErrors,
        parallel,
        packs: options.blobs?.map(parseBlobId),
        prefixes: options.blobPrefixes,
        signal: AbortSignal.any([context.stop, context.signal]),
        onProgress: ({ packs, recovered }) =>
          progress.update({
            text: `${counted(packs, "pack")}, ${recovered} recovered`,
            bytesDone: 0,
          }),
      });
      progress[Symbol.dispose]();
      printReport(report, options);
    },
  );
}

function printReport(report: RecoverIndexReport, { commit, json }: RecoverOptions): void {
  const { packs, contents, recovered, unreadable, damaged, removed } = report;
  const isUnknown = unreadable.length > 0 || damaged.length > removed.length;
  process.exitCode = isUnknown ? EXIT_FAILED : process.exitCode;
  if (json === true) {
    const named = (blobs: RecoverIndexReport["damaged"]): readonly object[] =>
      blobs.map(({ id, error }) => ({ id, code: error.code, message: error.message }));
    printJson({
      committed: commit,
      packs,
      contents,
      recovered,
      unreadable: named(unreadable),
      damaged: named(damaged),
      removed,
    });
    return;
  }
  for (const { id, error } of unreadable) {
    process.stderr.write(
      `varve: pack ${id} does not say what it holds: ${error.message} [${error.code}]\n`,
    );
  }
  for (const { id, error } of damaged) {
    const done = removed.includes(id) ? "removed" : "damaged";
    printLine(`${done} index blob ${id}: ${error.message}`);
  }
  printLine(
    `${counted(packs, "pack")} with ${counted(contents, "content")}; ${commit ? "recovered" : "would recover"} ${recovered}`,
  );
  if (!commit && (recovered > 0 || damaged.length > 0)) {
    printLine("nothing was changed: add --commit to do it");
  }
}
