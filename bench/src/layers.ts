import { mkdirSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import {
  type BlobStore,
  type ContentId,
  createMemoryStore,
  createRepository,
  createSnapshot,
  type DirectoryEntry,
  entryToJson,
  localTarget,
  openFileSystemStore,
  openRepository,
  parseContentId,
  parseObjectId,
  readDirectory,
  type Repository,
  restore,
  type RestoreTarget,
} from "@varve/core";
import type { FnOptions } from "tinybench";
import { type Dataset, prepareDataset } from "./datasets.ts";
import { type PrimitiveOptions, Suite } from "./primitives.ts";
import type { Primitive } from "./result.ts";

/** The layers of the engine through the public API: index, directory records, upload and restore. */

export interface LayerOptions extends PrimitiveOptions {
  /** What is uploaded and restored. */
  readonly datasets: readonly Dataset[];
  /** How many contents the index holds. */
  readonly indexContents: number;
  /** Of the datasets. */
  readonly scale: number;
  /** For datasets, and for what is thrown away. */
  readonly directory: string;
}

export async function measureLayers(options: LayerOptions): Promise<Primitive[]> {
  return [
    ...(await index(options)),
    ...(await directories(options)),
    ...(await verbs({ ...options, timeMs: 0 })),
  ];
}

const PASSWORD = "bench";

const COMMITS = 10;
const LOOKUPS = 10_000;

/** A repository that grows to `indexContents`, all of one byte, so that what is measured is what the index costs. */
async function index(options: LayerOptions): Promise<Primitive[]> {
  const path = join(options.directory, "index");
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  await using store = await openFileSystemStore(path);
  await createRepository(store, { password: PASSWORD });

  const batch = Math.ceil(options.indexContents / COMMITS);
  const build = new Suite("index", { ...options, timeMs: 0 });
  const open = async (): Promise<Repository> => openRepository(store, { password: PASSWORD });
  let filled = 0;
  const writer = held(open);
  const fill = async (): Promise<void> => {
    await fillIndex(writer.get(), { from: filled, count: batch });
    filled += batch;
  };
  const hooks = { async: true, beforeEach: writer.open, afterEach: writer.close };
  build.count(`append and commit ${counted(batch)} contents`, batch, fill, hooks);
  build.count("open the repository while small: mostly key derivation", 1, openAndClose(open));
  const built = await build.run();
  await writer.open();
  for (let missing = COMMITS - filled / batch; missing > 0; missing--) {
    await fill();
  }
  await writer.close();

  const full = new Suite("index", { ...options, timeMs: 0 });
  full.count(`open the repository of ${counted(filled)} contents`, 1, openAndClose(open));
  const opened = await full.run();
  const looked = await lookUps(store, filled, options);
  rmSync(path, { recursive: true, force: true });
  return [...built, ...opened, ...looked];
}

async function fillIndex(
  repository: Repository,
  { from, count }: { readonly from: number; readonly count: number },
): Promise<void> {
  const sealed = new Uint8Array(29); // one byte, nonce and tag: never decrypted here
  for (let at = from; at < from + count; at++) {
    const numbers = Uint32Array.of(sealed.length, 1, 0); // sealed and plain length, not compressed
    const content = { ids: [id(at)], numbers, bytes: sealed };
    repository.contents.claim(content.ids);
    await repository.contents.append(content);
  }
  await repository.flush();
}

function openAndClose(open: () => Promise<Repository>): () => Promise<void> {
  return async () => {
    await using _ = await open();
  };
}

/** A repository that is opened and closed outside what is measured. */
function held(open: () => Promise<Repository>): {
  readonly open: () => Promise<void>;
  readonly get: () => Repository;
  readonly close: () => Promise<void>;
} {
  let repository: Repository | undefined;
  return {
    async open() {
      repository = await open();
    },
    get() {
      if (repository === undefined) {
        throw new Error("not open");
      }
      return repository;
    },
    async close() {
      await repository?.[Symbol.asyncDispose]();
      repository = undefined;
    },
  };
}

async function lookUps(
  store: BlobStore,
  count: number,
  options: LayerOptions,
): Promise<Primitive[]> {
  await using repository = await openRepository(store, { password: PASSWORD });
  const { contents } = repository;
  const suite = new Suite("index", options);
  const stored = Array.from({ length: LOOKUPS }, (_, at) => id((at * 7919) % count));
  const unknown = Array.from({ length: LOOKUPS }, (_, at) => id(count + at));
  const among = `of ${counted(count)}`;
  suite.count(`look up stored contents, ${among}`, LOOKUPS, () => lookUp(contents, stored));
  suite.count(`look up unknown contents, ${among}`, LOOKUPS, () => lookUp(contents, unknown));
  suite.count(`claim stored contents, ${among}`, LOOKUPS, () => void contents.claim(stored));
  return suite.run();
}

function counted(value: number): string {
  return value.toLocaleString("en");
}

function lookUp(contents: Repository["contents"], ids: readonly ContentId[]): number {
  let found = 0;
  for (const id of ids) {
    found += contents.info(id) === undefined ? 0 : 1;
  }
  return found;
}

/** Ids that look like hashes: neighbours lie far from each other. */
function id(index: number): ContentId {
  const scattered = hexOf(Math.imul(index, 0x9e3779b1) >>> 0, 8);
  return parseContentId(scattered + hexOf(index, 24));
}

function hexOf(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

const ENTRIES = 10_000;

async function directories(options: LayerOptions): Promise<Primitive[]> {
  const entries = Array.from(
    { length: ENTRIES },
    (_, at): DirectoryEntry => ({
      name: `file-${at}.ts`,
      type: "file",
      mode: 0o644,
      sizeBytes: at * 17,
      mtimeNs: 1_700_000_000_000_000_000n + BigInt(at) * 1_000_003n,
      uid: 1000,
      gid: 1000,
      object: parseObjectId(hexOf(at, 32)),
    }),
  );
  const encode = (): string =>
    JSON.stringify({ stream: "kopia:directory", entries: entries.map(entryToJson), summary: null });
  const record = new TextEncoder().encode(encode());
  const objects = objectsOf(record);
  const id = parseObjectId(`k${"0".repeat(32)}`);
  if ((await readDirectory({ objects }, id)).entries.length !== ENTRIES) {
    throw new Error("the directory record that was made for the bench is not one");
  }
  const suite = new Suite("directory", options);
  const title = counted(ENTRIES);
  suite.count(`encode ${title} entries`, ENTRIES, () => void encode());
  suite.count(`parse ${title} entries`, ENTRIES, () => readDirectory({ objects }, id));
  return suite.run();
}

/** An object store that holds one record. */
function objectsOf(record: Uint8Array): Repository["objects"] {
  return {
    write: refuse,
    assemble: refuse,
    pieces: refuse,
    parts: refuse,
    contents: refuse,
    open: async () => ({
      size: record.length,
      read: async ({ offset, length }) => record.subarray(offset, offset + length),
      async *stream() {
        yield record;
      },
    }),
  };
}

function refuse(): never {
  throw new Error("only for reading a directory");
}

/** Into memory, so that neither the disk nor its cache is measured with the engine. */
async function verbs(options: LayerOptions): Promise<Primitive[]> {
  const results: Primitive[] = [];
  for (const dataset of options.datasets) {
    const data = prepareDataset(dataset, join(options.directory, "data"), options.scale);
    for (const workers of [0, availableParallelism()]) {
      results.push(...(await verbsOf(dataset, { ...options, ...data, workers })));
    }
  }
  return results;
}

interface VerbOptions extends LayerOptions {
  readonly path: string;
  readonly files: number;
  readonly bytes: number;
  readonly workers: number;
}

async function verbsOf(dataset: Dataset, options: VerbOptions): Promise<Primitive[]> {
  const { path, files, bytes, workers, directory } = options;
  const suite = new Suite("upload and restore", options);
  const how = workers === 0 ? "inline" : `${workers} workers`;
  const title = `${dataset.name}, ${counted(files)} files, ${Math.ceil(bytes / 1e6)} MB, ${how}`;
  const add = (verb: string, task: () => Promise<void>, hooks: FnOptions): void => {
    // Files are what small ones cost.
    const [unit, amount] =
      bytes / files < 4096 ? ["count" as const, files] : ["bytes" as const, bytes];
    suite[unit](`${verb} ${title}`, amount, task, { async: true, ...hooks });
  };
  let store: BlobStore = createMemoryStore();
  const repository = held(() => openRepository(store, { password: PASSWORD, workers }));
  let root: DirectoryEntry | undefined;
  const upload = async (): Promise<void> => {
    root = (await createSnapshot(repository.get(), { path })).snapshot.root;
  };
  const restoreTo = async (target: RestoreTarget): Promise<void> => {
    if (root === undefined || (await restore(repository.get(), { root, target })).failed > 0) {
      throw new Error("nothing, or not everything, was restored");
    }
  };
  const openNew = async (): Promise<void> => {
    store = createMemoryStore();
    await createRepository(store, { password: PASSWORD });
    await repository.open();
  };
  const opened = { beforeAll: repository.open, afterAll: repository.close };
  add("upload", upload, { beforeEach: openNew, afterEach: repository.close });
  add("upload unchanged", upload, opened);
  const restored = join(directory, "restored");
  const clean = (): void => rmSync(restored, { recursive: true, force: true });
  const cleaned = { ...opened, beforeEach: clean, afterEach: clean };
  add("restore to disk", () => restoreTo(localTarget(restored)), cleaned);
  add("restore to nowhere", () => restoreTo(nowhere()), opened);
  return suite.run();
}

/** Takes everything and keeps nothing. */
function nowhere(): RestoreTarget {
  return {
    directory: async () => 0,
    finishDirectory: nothing,
    file: async () => ({ writeAt: nothing, finish: nothing, abandon: nothing }),
    symlink: async () => true,
    finish: nothing,
    abandon: nothing,
  };
}

async function nothing(): Promise<void> {}
