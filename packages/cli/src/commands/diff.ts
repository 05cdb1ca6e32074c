import {
  type DirectoryEntry,
  diffTrees,
  DiffTally,
  entryToJson,
  type TreeChange,
} from "@varve/core";
import type { Command } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { JsonList } from "../json-list.ts";
import { modeText } from "../mode.ts";
import { addSwitch } from "../options.ts";
import { formatBytes, printableName, printLine } from "../output.ts";
import { selectEntry, shownTime } from "../select.ts";

interface DiffOptions {
  readonly statsOnly: boolean;
  readonly json: boolean;
}

export function diffCommand(command: Command): void {
  const what = "a snapshot's id, an object id, a path or user@host:/path, with an optional /path";
  command.argument("<before>", what).argument("<after>", what);
  addSwitch(command, "stats-only", { on: false, help: "print only counts, as a JSON document" });
  addSwitch(command, "json", { on: false, help: "print one JSON document" });
  command.action(async (before: string, after: string) => {
    const options = command.opts<DiffOptions>();
    await withRepository(command, { readOnly: true }, async (repository, { stop }) => {
      const call = { signal: stop };
      const { entry: first } = await selectEntry(repository, before, call);
      const { entry: second } = await selectEntry(repository, after, call);
      await printDiff(diffTrees(repository, first, second, call), options);
    });
  });
}

async function printDiff(
  changes: AsyncIterable<TreeChange>,
  { json, statsOnly }: DiffOptions,
): Promise<void> {
  const tally = new DiffTally();
  const list = json && !statsOnly ? new JsonList('{"changes":') : undefined;
  for await (const change of changes) {
    tally.add(change);
    if (change.kind === "problem") {
      const where = `${change.side} ${printableName(change.path)}`;
      process.stderr.write(`varve: ${where}: ${printableName(change.message)} [corrupt]\n`);
    }
    if (list !== undefined) {
      list.add(changeJson(change));
    } else if (!statsOnly) {
      printChange(change);
    }
  }
  if (tally.problems > 0) {
    process.exitCode = EXIT_FAILED;
  }
  const stats = { fileEntries: tally.files, directoryEntries: tally.directories };
  if (list !== undefined) {
    list.end(`,"stats":${JSON.stringify(stats)}}`);
  } else if (statsOnly) {
    printLine(JSON.stringify(stats));
  } else {
    printSummary(tally);
  }
}

function changeJson(change: TreeChange): object {
  switch (change.kind) {
    case "problem":
      return { change: "problem", path: change.path, side: change.side, message: change.message };
    case "modified": {
      const { path, differences, before, after } = change;
      const [first, second] = [entryToJson(before), entryToJson(after)];
      return { change: "modified", path, differences, before: first, after: second };
    }
    default:
      return { change: change.kind, path: change.path, entry: entryToJson(change.entry) };
  }
}

function printChange(change: TreeChange): void {
  const path = printableName(change.path === "" ? "." : `./${change.path}`);
  if (change.kind === "modified") {
    const parts = change.differences.map((difference) =>
      describeDifference(difference, change.before, change.after),
    );
    printLine(`modified ${path}: ${parts.join(", ")}`);
  } else if (change.kind !== "problem") {
    const { type, sizeBytes } = change.entry;
    const size = type === "file" ? ` (${formatBytes(sizeBytes)})` : "";
    printLine(`${change.kind} ${type} ${path}${size}`);
  }
}

function describeDifference(
  difference: Extract<TreeChange, { kind: "modified" }>["differences"][number],
  before: DirectoryEntry,
  after: DirectoryEntry,
): string {
  switch (difference) {
    case "content":
      return "content";
    case "size":
      return `size ${before.sizeBytes} -> ${after.sizeBytes}`;
    case "mode":
      return `mode ${modeText(before)} -> ${modeText(after)}`;
    case "mtime":
      return `time ${shownTime(before.mtimeNs)} -> ${shownTime(after.mtimeNs)}`;
    default:
      return `${difference} ${before[difference]} -> ${after[difference]}`;
  }
}

function printSummary({ files, directories }: DiffTally): void {
  for (const [what, counts] of [
    ["files and links", files],
    ["directories", directories],
  ] as const) {
    printLine(
      `${what}: ${counts.added} added, ${counts.removed} removed, ${counts.modified} modified`,
    );
  }
}
