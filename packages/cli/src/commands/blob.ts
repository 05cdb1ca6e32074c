import { type BlobInfo, formatTimeNs, parseBlobId, readSealedBlob } from "@varve/core";
import { type Command, Option } from "commander";
import { printJsonList } from "../json-list.ts";
import { withRepository, withStore } from "../context.ts";
import { requireDangerousCommands } from "../dangerous.ts";
import { SizeHistogram } from "../histogram.ts";
import { addSwitch, collect, parseCount } from "../options.ts";
import { formatBytes, printJson, printLine } from "../output.ts";
import { shownTime } from "../select.ts";

/** `varve blob …`: the storage as it is; only `show --decrypt` needs the password. */
export function blobCommands(blob: Command): void {
  blob
    .command("list")
    .alias("ls")
    .description("list blobs")
    .option("--prefix <prefix>", "only ids that start with it", "")
    .addOption(
      new Option("--exclude-prefix <prefix>", "not ids that start with it").argParser(collect),
    )
    .option("--min-size <bytes>", "only blobs of this size and above", parseCount)
    .option("--max-size <bytes>", "only blobs of this size and below", parseCount)
    .option("--data-only", "only packs")
    .option("--json", "print one JSON document")
    .action(async (_options, command: Command) => list(command));
  const showCommand = blob
    .command("show")
    .alias("cat")
    .argument("<id...>")
    .description("write the bytes of blobs to standard output")
    .action(async () => show(showCommand));
  addSwitch(showCommand, "decrypt", {
    on: false,
    help: "decrypt indexes, session markers and logs",
  });
  blob
    .command("stats")
    .description("count blobs and add up their sizes")
    .option("--prefix <prefix>", "only ids that start with it", "")
    .option("-r, --raw", "sizes in bytes")
    .option("--json", "print one JSON document")
    .action(async (_options, command: Command) => stats(command));
  blob
    .command("delete")
    .alias("rm")
    .argument("<id...>")
    .description("delete blobs; dangerous")
    .action(async (_ids, _options, command: Command) => remove(command));
}

interface ListOptions {
  readonly prefix: string;
  readonly excludePrefix?: readonly string[];
  readonly minSize?: number;
  readonly maxSize?: number;
  readonly dataOnly?: boolean;
  readonly json?: boolean;
}

async function list(command: Command): Promise<void> {
  const options = command.opts<ListOptions>();
  await withStore(command, { readOnly: true }, async (store, { signal }) => {
    const blobs = chosen(store.list(options.prefix, { signal }), options);
    if (options.json === true) {
      await printJsonList(mapEach(blobs, blobJson));
      return;
    }
    for await (const { id, size, mtimeMs } of blobs) {
      printLine(`${id.padEnd(70)} ${String(size).padStart(10)} ${shownTime(timeNs(mtimeMs))}`);
    }
  });
}

async function* chosen(
  blobs: AsyncIterable<BlobInfo>,
  options: ListOptions,
): AsyncGenerator<BlobInfo> {
  const { minSize = 0, maxSize = Number.POSITIVE_INFINITY, excludePrefix = [] } = options;
  for await (const blob of blobs) {
    const isExcluded =
      excludePrefix.some((prefix) => blob.id.startsWith(prefix)) ||
      (options.dataOnly === true && !/^[pq]/.test(blob.id));
    if (!isExcluded && blob.size >= minSize && blob.size <= maxSize) {
      yield blob;
    }
  }
}

/** Kopia's members. */
export function blobJson({ id, size, mtimeMs }: BlobInfo): object {
  return { id, length: size, timestamp: formatTimeNs(timeNs(mtimeMs)) };
}

export function timeNs(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}

async function* mapEach<T, R>(items: AsyncIterable<T>, map: (item: T) => R): AsyncGenerator<R> {
  for await (const item of items) {
    yield map(item);
  }
}

async function show(command: Command): Promise<void> {
  const ids = command.args.map(parseBlobId);
  if (command.opts<{ decrypt: boolean }>().decrypt) {
    await withRepository(command, { readOnly: true }, async (repository, { signal }) => {
      for (const id of ids) {
        process.stdout.write(await readSealedBlob(repository, id, { signal }));
      }
    });
    return;
  }
  await withStore(command, { readOnly: true }, async (store, { signal }) => {
    for (const id of ids) {
      process.stdout.write(await store.get(id, { signal }));
    }
  });
}

async function stats(command: Command): Promise<void> {
  const { prefix, raw, json } = command.opts<{ prefix: string; raw?: boolean; json?: boolean }>();
  await withStore(command, { readOnly: true }, async (store, { signal }) => {
    const sizes = new SizeHistogram();
    for await (const { size } of store.list(prefix, { signal })) {
      sizes.add(size);
    }
    if (json === true) {
      const { count, totalBytes, averageBytes } = sizes;
      printJson({ count, totalBytes, averageBytes, histogram: sizes.buckets() });
      return;
    }
    const shown = raw === true ? String : formatBytes;
    printLine(`Count: ${sizes.count}`);
    printLine(`Total: ${shown(sizes.totalBytes)}`);
    sizes.print(shown);
  });
}

async function remove(command: Command): Promise<void> {
  requireDangerousCommands(command);
  const ids = command.args.map(parseBlobId);
  await withStore(command, { readOnly: false }, async (store, { signal }) => {
    for (const id of ids) {
      await store.stat(id, { signal }); // one that is not there is a slip of whoever typed it
    }
    for (const id of ids) {
      await store.delete(id, { signal });
    }
    printLine(`Deleted ${ids.length} blobs.`);
  });
}
