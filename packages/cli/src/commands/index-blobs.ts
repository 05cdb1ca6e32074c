import {
  type ContentInfo,
  type IndexBlobInfo,
  listIndexBlobs,
  parseBlobId,
  readIndexBlob,
  type Repository,
  VarveError,
} from "@varve/core";
import { type Command, Option } from "commander";
import { printJsonList } from "../json-list.ts";
import { withRepository } from "../context.ts";
import { addSwitch, collect } from "../options.ts";
import { formatBytes, printLine } from "../output.ts";
import { shownTime } from "../select.ts";
import { blobJson, timeNs } from "./blob.ts";
import { contentJson } from "./content.ts";
import { addIndexRecover } from "./index-recover.ts";

/** `varve index …`. */
export function indexCommands(index: Command): void {
  const listCommand = index
    .command("list")
    .alias("ls")
    .description("list index blobs, oldest first")
    .addOption(
      new Option("--sort <order>", "order").choices(["time", "size", "name"]).default("time", ""),
    )
    .option("--json", "print one JSON document")
    .action(async () => list(listCommand));
  addSwitch(listCommand, "summary", { on: false, help: "add a line with their number and size" });
  addSwitch(listCommand, "superseded", { on: false, help: "also those that were compacted" });
  const inspectCommand = index
    .command("inspect")
    .argument("[blobs...]", "ids of index blobs")
    .description("print the entries of index blobs")
    .addOption(
      new Option("--content-id <id>", "only entries of this content; several times").argParser(
        collect,
      ),
    )
    .option("--json", "print one JSON document")
    .action(async () => inspect(inspectCommand));
  addSwitch(inspectCommand, "all", { on: false, help: "all index blobs, compacted ones too" });
  addSwitch(inspectCommand, "active", { on: false, help: "all index blobs that count" });
  addIndexRecover(index);
}

const ORDERS: Readonly<Record<string, (a: IndexBlobInfo, b: IndexBlobInfo) => number>> = {
  time: (a, b) => a.mtimeMs - b.mtimeMs,
  size: (a, b) => a.size - b.size,
  name: (a, b) => (a.id < b.id ? -1 : 1),
};

async function list(command: Command): Promise<void> {
  const options = command.opts<{
    sort: string;
    summary: boolean;
    superseded: boolean;
    json?: boolean;
  }>();
  await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
    const { blobs } = await listIndexBlobs(repository, { signal });
    const shown = blobs
      .filter(({ active }) => active || options.superseded)
      .sort(ORDERS[options.sort]);
    if (options.json === true) {
      await printJsonList(shown.map((blob) => ({ ...blobJson(blob), active: blob.active })));
      return;
    }
    for (const { id, size, mtimeMs, active } of shown) {
      const note = active ? "" : " superseded";
      printLine(
        `${id.padEnd(60)} ${String(size).padStart(10)} ${shownTime(timeNs(mtimeMs))}${note}`,
      );
    }
    if (options.summary) {
      const total = shown.reduce((sum, { size }) => sum + size, 0);
      printLine(`total ${shown.length} blobs, ${formatBytes(total)}`);
    }
  });
}

async function inspect(command: Command): Promise<void> {
  const { json } = command.opts<{ json?: boolean }>();
  await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
    const entries = entriesOf(repository, await wantedBlobs(command, repository), command, signal);
    if (json === true) {
      await printJsonList(entriesJson(entries));
      return;
    }
    for await (const { blob, entry } of entries) {
      const state = entry.deleted ? "deleted" : "created";
      const written = shownTime(BigInt(entry.timestampSeconds) * 1_000_000_000n);
      printLine(
        `${blob} ${entry.id} ${state} ${written} ${entry.packBlobId} ${entry.packOffset} ${entry.packedLength}`,
      );
    }
  });
}

async function wantedBlobs(command: Command, repository: Repository): Promise<readonly string[]> {
  const { all, active } = command.opts<{ all: boolean; active: boolean }>();
  if (!all && !active) {
    if (command.args.length === 0) {
      throw new VarveError("invalid-argument", "name index blobs, or say --all or --active");
    }
    return command.args;
  }
  const { blobs } = await listIndexBlobs(repository);
  return blobs.filter((blob) => all || blob.active).map(({ id }) => id);
}

interface IndexEntry {
  readonly blob: string;
  readonly entry: ContentInfo;
}

async function* entriesOf(
  repository: Repository,
  blobs: readonly string[],
  command: Command,
  signal: AbortSignal,
): AsyncGenerator<IndexEntry> {
  const { contentId } = command.opts<{ contentId?: readonly string[] }>();
  for (const blob of blobs) {
    for (const entry of await readIndexBlob(repository, parseBlobId(blob), { signal })) {
      if (contentId === undefined || contentId.includes(entry.id)) {
        yield { blob, entry };
      }
    }
  }
}

async function* entriesJson(entries: AsyncIterable<IndexEntry>): AsyncGenerator<object> {
  for await (const { blob, entry } of entries) {
    yield { indexBlob: blob, ...contentJson(entry) };
  }
}
