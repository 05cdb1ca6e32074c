import { once } from "node:events";
import {
  type DirectoryEntry,
  entryToJson,
  readDirectory,
  type Repository,
  type Selection,
  walkTree,
} from "@varve/core";
import type { Command } from "commander";
import { withRepository } from "../context.ts";
import { EXIT_FAILED } from "../exit.ts";
import { JsonList } from "../json-list.ts";
import { modeText } from "../mode.ts";
import { addSwitch, parseCount } from "../options.ts";
import { formatBytes, printableName, printLine } from "../output.ts";
import { selectEntry, shownTime } from "../select.ts";

const WHAT =
  "a snapshot's id, an object id, a path or user@host:/path, each with an optional /path below";

interface ListOptions {
  readonly long: boolean;
  readonly humanReadable: boolean;
  readonly recursive: boolean;
  readonly showObjectId: boolean;
  readonly errorSummary: boolean;
  readonly json: boolean;
}

export function listCommand(command: Command): void {
  command.argument("<source>", WHAT);
  command.helpOption("--help", "display help for command"); // -h is Kopia's --human-readable
  const add = (name: string, short: string | undefined, help: string): Command =>
    addSwitch(command, name, { on: false, help, ...(short === undefined ? {} : { short }) });
  add("long", "l", "mode, size, time and object id");
  add("human-readable", "h", "sizes with units");
  add("recursive", "r", "everything below");
  add("show-object-id", "o", "object ids");
  addSwitch(command, "error-summary", {
    short: "e",
    on: true,
    help: "leave out what the backup could not read",
  });
  add("json", undefined, "print one JSON document");
  command.action(async (source: string) => {
    const options = command.opts<ListOptions>();
    await withRepository(command, { readOnly: true }, async (repository, { stop }) => {
      const selection = await selectEntry(repository, source, { signal: stop });
      await printList(repository, selection, options, stop);
    });
  });
}

async function printList(
  repository: Repository,
  { entry: root }: Selection,
  options: ListOptions,
  signal: AbortSignal,
): Promise<void> {
  const list = options.json ? new JsonList() : undefined;
  for await (const item of listed(repository, root, options.recursive, signal)) {
    if ("problem" in item) {
      process.exitCode = EXIT_FAILED;
      const path = printableName(item.path);
      process.stderr.write(`varve: ${path}: ${printableName(item.problem)} [corrupt]\n`);
    } else if (list !== undefined) {
      list.add({ path: item.path, ...entryToJson(item.entry) });
    } else {
      printLine(entryLine(item, root, options));
    }
  }
  list?.end();
  for (const { path, error } of (options.errorSummary && root.summary?.errors) || []) {
    process.stderr.write(
      `varve: not in the snapshot: ${printableName(path)}: ${printableName(error)}\n`,
    );
  }
}

type Item =
  | { readonly path: string; readonly entry: DirectoryEntry }
  | { readonly path: string; readonly problem: string };

/** What is in a directory; a file is its own list. */
async function* listed(
  repository: Repository,
  root: DirectoryEntry,
  recursive: boolean,
  signal: AbortSignal,
): AsyncGenerator<Item, void, undefined> {
  if (root.type !== "directory") {
    yield { path: root.name, entry: root };
  } else if (recursive) {
    for await (const item of walkTree(repository, root, { signal })) {
      if (item.path !== "" || "problem" in item) {
        yield item;
      }
    }
  } else {
    const { entries, damaged } = await readDirectory(repository, root.object, { signal });
    yield* entries.map((entry) => ({ path: entry.name, entry }));
    yield* damaged.map(({ name, reason }) => ({ path: name, problem: reason }));
  }
}

function entryLine(
  { path, entry }: { path: string; entry: DirectoryEntry },
  root: DirectoryEntry,
  options: ListOptions,
): string {
  const { long, recursive } = options;
  const slash = entry.type === "directory" && (long || recursive) ? "/" : "";
  const failed = options.errorSummary ? (entry.summary?.failed ?? 0) : 0;
  const name = `${printableName(path)}${slash}${failed === 0 ? "" : ` (${failed} errors)`}`;
  const id = entry.object.padEnd(34);
  if (long) {
    const bytes = entry.summary?.sizeBytes ?? entry.sizeBytes;
    const size = (options.humanReadable ? formatBytes(bytes) : String(bytes)).padStart(12);
    return `${modeText(entry)} ${size} ${shownTime(entry.mtimeNs)} ${id} ${name}`;
  }
  // As in Kopia, the lines of a recursive list are arguments for other commands.
  const shown = recursive && root.type === "directory" ? `${root.object}/${name}` : name;
  return options.showObjectId ? `${id} ${shown}` : shown;
}

export function showCommand(command: Command): void {
  command
    .argument("<source>", WHAT)
    .option("--offset <bytes>", "from there", parseCount, 0)
    .option("--length <bytes>", "only so many", parseCount);
  command.action(async (source: string) => {
    const { offset, length } = command.opts<{ offset: number; length?: number }>();
    await withRepository(command, { readOnly: true }, async (repository, { stop }) => {
      const { entry } = await selectEntry(repository, source, { signal: stop });
      const reader = await repository.objects.open(entry.object, { signal: stop });
      const from = Math.min(offset, reader.size);
      const range = { offset: from, length: Math.min(length ?? reader.size, reader.size - from) };
      for await (const part of reader.stream({ signal: stop, ...range })) {
        if (!process.stdout.write(part)) {
          await once(process.stdout, "drain");
        }
      }
    });
  });
}
