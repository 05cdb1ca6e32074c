import { gunzipSync } from "node:zlib";
import {
  type Codecs,
  type ContentInfo,
  parseContentId,
  type Repository,
  VarveError,
} from "@varve/core";
import type { Command } from "commander";
import { printJsonList } from "../json-list.ts";
import { withRepository } from "../context.ts";
import { requireDangerousCommands } from "../dangerous.ts";
import { SizeHistogram } from "../histogram.ts";
import { addSwitch } from "../options.ts";
import { formatBytes, printJson, printLine } from "../output.ts";
import { shownTime } from "../select.ts";
import { addContentRepair } from "./content-repair.ts";
import { addContentVerify } from "./content-verify.ts";

/** `varve content …`: the unique chunks that everything is made of. */
export function contentCommands(content: Command): void {
  const listCommand = addSelection(content.command("list").alias("ls"))
    .description("list contents, in no particular order")
    .option("-l, --long", "with size, time, pack and place")
    .option("-c, --compression", "with the compression")
    .option("--deleted", "also deleted contents")
    .option("--deleted-only", "only deleted contents")
    .option("-s, --summary", "add a line with their number and size")
    .option("--human", "sizes for people")
    .option("--json", "print one JSON document")
    .action(async () => list(listCommand));
  const showCommand = content
    .command("show")
    .alias("get")
    .argument("<id...>")
    .description("write contents to standard output")
    .action(async () => show(showCommand));
  addSwitch(showCommand, "json", { on: false, help: "indent JSON", short: "j" });
  addSwitch(showCommand, "unzip", { on: false, help: "undo gzip", short: "z" });
  const statsCommand = addSelection(content.command("stats"))
    .description("count contents and add up their sizes")
    .option("-r, --raw", "sizes in bytes")
    .option("--json", "print one JSON document")
    .action(async () => stats(statsCommand));
  addContentVerify(content);
  addContentRepair(content);
  content
    .command("delete")
    .aliases(["rm", "remove"])
    .argument("<id...>")
    .description("mark contents as deleted; dangerous")
    .action(async (_ids, _options, command: Command) => remove(command));
}

/** Which contents a command looks at. */
function addSelection(command: Command): Command {
  return command
    .option("--prefix <prefix>", "only ids that start with it")
    .option("--prefixed", "only what is not file data")
    .option("--non-prefixed", "only file data");
}

interface Selection {
  readonly prefix?: string;
  readonly prefixed?: boolean;
  readonly nonPrefixed?: boolean;
  readonly deleted?: boolean;
  readonly deletedOnly?: boolean;
}

function* selected(repository: Repository, options: Selection): Generator<ContentInfo> {
  const { prefix = "", prefixed = false, nonPrefixed = false, deletedOnly = false } = options;
  if (prefixed && nonPrefixed) {
    throw new VarveError("invalid-argument", "--prefixed and --non-prefixed exclude each other");
  }
  const deleted = options.deleted === true || deletedOnly;
  for (const info of repository.contents.entries({ deleted })) {
    const hasPrefix = info.id >= "g";
    if (
      info.id.startsWith(prefix) &&
      (!prefixed || hasPrefix) &&
      (!nonPrefixed || !hasPrefix) &&
      (!deletedOnly || info.deleted)
    ) {
      yield info;
    }
  }
}

interface ListOptions extends Selection {
  readonly long?: boolean;
  readonly compression?: boolean;
  readonly summary?: boolean;
  readonly human?: boolean;
  readonly json?: boolean;
}

async function list(command: Command): Promise<void> {
  const options = command.opts<ListOptions>();
  await withRepository(command, { readOnly: true }, async (repository) => {
    const contents = selected(repository, options);
    if (options.json === true) {
      await printJsonList(mapEach(contents, contentJson));
      return;
    }
    const sizes = new SizeHistogram();
    for (const info of contents) {
      sizes.add(info.packedLength);
      printLine(contentLine(info, options, repository.codecs));
    }
    if (options.summary === true) {
      const total = options.human === true ? formatBytes(sizes.totalBytes) : sizes.totalBytes;
      printLine(`Total: ${sizes.count} contents, ${total} total size`);
    }
  });
}

function contentLine(info: ContentInfo, options: ListOptions, codecs: Codecs): string {
  const { id, originalLength, packedLength, packBlobId, packOffset } = info;
  const compression = compressionName(info, codecs);
  if (options.long === true) {
    const size = options.human === true ? formatBytes(originalLength) : originalLength;
    const written = shownTime(BigInt(info.timestampSeconds) * 1_000_000_000n);
    const place = `${packBlobId} ${packOffset}+${packedLength}`;
    return `${id} ${size} ${written} ${place} ${compression ?? "-"}${info.deleted ? " (deleted)" : ""}`;
  }
  return options.compression === true
    ? `${id} length ${originalLength} packed ${packedLength} ${compression ?? "-"}`
    : id;
}

/** Kopia's members. */
export function contentJson(info: ContentInfo): object {
  return {
    packFile: info.packBlobId,
    time: info.timestampSeconds,
    originalLength: info.originalLength,
    length: info.packedLength,
    packOffset: info.packOffset,
    ...(info.compressionHeaderId === 0 ? {} : { compression: info.compressionHeaderId }),
    contentID: info.id,
    deleted: info.deleted,
    formatVersion: info.formatVersion,
  };
}

function compressionName({ compressionHeaderId }: ContentInfo, codecs: Codecs): string | undefined {
  if (compressionHeaderId === 0) {
    return undefined;
  }
  const name = codecs.names.find((known) => codecs.byName(known).headerId === compressionHeaderId);
  return name ?? `0x${compressionHeaderId.toString(16)}`;
}

function* mapEach<T, R>(items: Iterable<T>, map: (item: T) => R): Generator<R> {
  for (const item of items) {
    yield map(item);
  }
}

async function show(command: Command): Promise<void> {
  const { json, unzip } = command.opts<{ json: boolean; unzip: boolean }>();
  const ids = command.args.map(parseContentId);
  await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
    for (const id of ids) {
      const stored = await repository.contents.read(id, { signal });
      const bytes = unzip && stored[0] === 0x1f && stored[1] === 0x8b ? gunzipSync(stored) : stored;
      if (json) {
        printJson(JSON.parse(Buffer.from(bytes).toString("utf8")));
      } else {
        process.stdout.write(bytes);
      }
    }
  });
}

async function stats(command: Command): Promise<void> {
  const options = command.opts<Selection & { raw?: boolean; json?: boolean }>();
  await withRepository(command, { readOnly: true }, async (repository) => {
    const sizes = new SizeHistogram();
    const methods = new Map<
      string,
      { count: number; originalBytes: number; packedBytes: number }
    >();
    for (const info of selected(repository, options)) {
      sizes.add(info.packedLength);
      const name = compressionName(info, repository.codecs) ?? "(uncompressed)";
      const { count, originalBytes, packedBytes } = methods.get(name) ?? {
        count: 0,
        originalBytes: 0,
        packedBytes: 0,
      };
      methods.set(name, {
        count: count + 1,
        originalBytes: originalBytes + info.originalLength,
        packedBytes: packedBytes + info.packedLength,
      });
    }
    const originalBytes = [...methods.values()].reduce((sum, each) => sum + each.originalBytes, 0);
    if (options.json === true) {
      printJson({
        count: sizes.count,
        originalBytes,
        packedBytes: sizes.totalBytes,
        byMethod: Object.fromEntries(methods),
        averageBytes: sizes.averageBytes,
        histogram: sizes.buckets(),
      });
      return;
    }
    const shown = options.raw === true ? String : formatBytes;
    printLine(`Count: ${sizes.count}`);
    printLine(`Total bytes: ${shown(originalBytes)}`);
    printLine(`Total packed: ${shown(sizes.totalBytes)}`);
    printLine("By method:");
    for (const [name, method] of [...methods].sort(([a], [b]) => (a < b ? -1 : 1))) {
      printLine(
        `  ${name.padEnd(24)} count: ${method.count} size: ${shown(method.originalBytes)} packed: ${shown(method.packedBytes)}`,
      );
    }
    sizes.print(shown);
  });
}

async function remove(command: Command): Promise<void> {
  requireDangerousCommands(command);
  const ids = command.args.map(parseContentId);
  await withRepository(command, { readOnly: false }, async (repository, { signal }) => {
    const missing = ids.find((id) => repository.contents.info(id)?.deleted !== false);
    if (missing !== undefined) {
      throw new VarveError("content-not-found", `no content ${missing}`);
    }
    repository.contents.remove(ids);
    await repository.flush({ signal });
    printLine(`Deleted ${ids.length} contents.`);
  });
}
