import {
  formatTimeNs,
  type Labels,
  type ManifestInfo,
  parseManifestId,
  type Repository,
} from "@varve/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import { printJsonList } from "../json-list.ts";
import { withRepository } from "../context.ts";
import { requireDangerousCommands } from "../dangerous.ts";
import { EXIT_FAILED } from "../exit.ts";
import { collect } from "../options.ts";
import { printableName, printJson, printLine } from "../output.ts";
import { shownTime } from "../select.ts";

/** `varve manifest …`: the labelled records that snapshots and policies are. */
export function manifestCommands(manifest: Command): void {
  manifest
    .command("list")
    .alias("ls")
    .description("list manifests, oldest first")
    .addOption(
      new Option("--filter <label:value>", "only those with this label; several times")
        .argParser(parseFilter)
        .default({}, ""),
    )
    .addOption(
      new Option("--sort <label>", "order by the values of a label; several times").argParser(
        collect,
      ),
    )
    .option("--json", "print one JSON document")
    .action(async (_options, command: Command) => list(command));
  manifest
    .command("show")
    .argument("<id...>")
    .description("print manifests as JSON, their labels as comments before")
    .option("--json", "print one JSON document with id, labels, mtime and payload of each")
    .action(async (_ids, _options, command: Command) => show(command));
  manifest
    .command("delete")
    .aliases(["rm", "remove"])
    .argument("<id...>")
    .description("delete manifests; dangerous")
    .action(async (_ids, _options, command: Command) => remove(command));
}

function parseFilter(text: string, before: Labels): Labels {
  const colon = text.indexOf(":");
  if (colon <= 0) {
    throw new InvalidArgumentError("not like type:snapshot");
  }
  return { ...before, [text.slice(0, colon)]: text.slice(colon + 1) };
}

async function list(command: Command): Promise<void> {
  const options = command.opts<{ filter: Labels; sort?: readonly string[]; json?: boolean }>();
  await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
    const found = [...(await repository.manifests.find(options.filter, { signal }))];
    const sortKey = ({ labels }: ManifestInfo): string =>
      (options.sort ?? []).map((label) => labels[label] ?? "").join("\n");
    if (options.sort !== undefined) {
      found.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : Number(sortKey(a) > sortKey(b))));
    }
    if (options.json === true) {
      await printJsonList(listItems(repository, found, signal));
    } else {
      for await (const { id, length, labels, mtime } of listItems(repository, found, signal)) {
        const shownLabels = Object.entries(labels).map(([key, value]) => `${key}:${value}`);
        printLine(
          `${printableName(id)} ${String(length).padStart(10)} ${shownDay(mtime)} ${printableName(shownLabels.join(" "))}`,
        );
      }
    }
    reportDamage(repository);
  });
}

interface ListItem {
  readonly id: string;
  /** Bytes of the payload as compact JSON. */
  readonly length: number;
  readonly labels: Labels;
  readonly mtime: string;
}

async function* listItems(
  repository: Repository,
  found: readonly ManifestInfo[],
  signal: AbortSignal,
): AsyncGenerator<ListItem> {
  for (const { id } of found) {
    const { labels, modifiedNs, payload } = await repository.manifests.get(id, { signal });
    const length = Buffer.byteLength(JSON.stringify(payload) ?? "");
    yield { id, length, labels, mtime: formatTimeNs(modifiedNs) };
  }
}

function shownDay(mtime: string): string {
  return `${mtime.slice(0, 19).replace("T", " ")} UTC`;
}

/** What could not be read is missing from every answer, and nobody must take that for the whole. */
function reportDamage(repository: Repository): void {
  for (const { contentId, reason } of repository.manifests.damaged) {
    process.stderr.write(`varve: manifests in content ${contentId} cannot be read: ${reason}\n`);
    process.exitCode = EXIT_FAILED;
  }
}

async function show(command: Command): Promise<void> {
  const { json = false } = command.opts<{ json?: boolean }>();
  await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
    const documents: object[] = [];
    for (const text of command.args) {
      const manifest = await repository.manifests.get(parseManifestId(text), { signal });
      const { id, labels, modifiedNs, payload } = manifest;
      if (json) {
        documents.push({ id, labels, mtime: formatTimeNs(modifiedNs), payload });
        continue;
      }
      printLine(`// id: ${printableName(id)}`);
      printLine(`// modified: ${shownTime(modifiedNs)}`);
      for (const [key, value] of Object.entries(labels)) {
        printLine(`// label ${printableName(`${key}:${value}`)}`);
      }
      printJson(payload);
    }
    if (json) {
      printJson(documents);
    }
  });
}

async function remove(command: Command): Promise<void> {
  requireDangerousCommands(command);
  const ids = command.args.map(parseManifestId);
  await withRepository(command, { readOnly: false }, async (repository, { signal }) => {
    for (const id of ids) {
      await repository.manifests.get(id, { signal }); // one that is not there is a slip of whoever typed it
    }
    for (const id of ids) {
      await repository.manifests.delete(id, { signal });
    }
    await repository.flush({ signal });
    printLine(`Deleted ${ids.length} manifests.`);
  });
}
