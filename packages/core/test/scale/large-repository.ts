import { mkdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { systemEnvironment } from "../../src/base/environment.ts";
import { openFileSystemStore } from "../../src/blob/filesystem-store.ts";
import { passThrough } from "../../src/blob/pass-through.ts";
import { type BlobInfo, type BlobStore, parseBlobId } from "../../src/blob/store.ts";
import { openCrypto } from "../../src/crypto/registry.ts";
import {
  epochMarkerId,
  rangePrefix,
  setSuffix,
  uncompactedPrefix,
} from "../../src/epoch/epoch-names.ts";
import { sealBlob } from "../../src/format/sealed-blob.ts";
import { createSealer, type Sealer } from "../../src/format/sealer.ts";
import type { ContentId } from "../../src/index/content-id.ts";
import type { ContentInfo } from "../../src/index/content-info.ts";
import { encodeIndex } from "../../src/index/index-writer.ts";
import { type MaintenanceReport, runMaintenance } from "../../src/maintenance/run.ts";
import type { ObjectId } from "../../src/object/object-id.ts";
import { createRepository } from "../../src/repository/create-repository.ts";
import { defaultMaintenance, setMaintenance } from "../../src/repository/maintenance-parameters.ts";
import { openRepository } from "../../src/repository/open-repository.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { encodeDirectory } from "../../src/snapshot/directory.ts";
import type { DirectoryEntry, DirectorySummary } from "../../src/snapshot/entry.ts";
import { saveSnapshot } from "../../src/snapshot/snapshots.ts";

/**
 * A repository of any number of contents, as years of daily backups leave it: snapshots, directories, index streams and index
 * blobs in epochs are real, packs of file data exist only in listings, since maintenance reads none that is full. Of the contents
 * 6 in 10 are whole files, 3 in 10 pieces of long files, and 1 in 10 is needed by nobody. As a program it builds one, and does what
 * the bench is about in a process of its own each time:
 *
 *     npx esbuild packages/core/test/scale/large-repository.ts --bundle --platform=node --format=esm --target=node20 --packages=external --outfile=packages/core/dist/scale.mjs
 *     node packages/core/dist/scale.mjs build|open|maintain <folder> <contents> [<MiB of the ceiling>]
 */

const PASSWORD = "large";
const DAY_MS = 86_400_000;
const CONTENT_BYTES = 100_000;
const CONTENTS_PER_PACK = 200;
/** Compacted by sevens, but for the last nine. */
const RANGES = 5;
const EPOCHS_PER_RANGE = 7;
const EPOCHS: number = RANGES * EPOCHS_PER_RANGE + 9;
const ENTRIES_PER_BLOB = 100_000;
const UNNAMED_PACKS = 1000;

interface Requests {
  list: number;
  get: number;
  put: number;
  delete: number;
}

/** The folder's blobs, and packs that exist only in listings; counts requests as an object store has them. */
async function largeStore(
  folder: string,
  contents: number,
): Promise<{ store: BlobStore; requests: Requests }> {
  mkdirSync(folder, { recursive: true });
  const inner = await openFileSystemStore(folder, { create: true });
  const requests: Requests = { list: 0, get: 0, put: 0, delete: 0 };
  const mtimeMs = Date.now() - 90 * DAY_MS;
  const packs = Math.ceil(contents / CONTENTS_PER_PACK) + UNNAMED_PACKS;
  async function* list(prefix: string): AsyncGenerator<BlobInfo, void, undefined> {
    let count = 0;
    for (let pack = 0; pack < (prefix === "p" ? packs : 0); pack++, count++) {
      yield { id: packId(pack), size: CONTENTS_PER_PACK * CONTENT_BYTES + 5000, mtimeMs };
    }
    for await (const blob of inner.list(prefix)) {
      yield blob;
      count += 1;
    }
    requests.list += Math.max(1, Math.ceil(count / 1000));
  }
  const base = passThrough(inner);
  const store: BlobStore = {
    ...base,
    list,
    get: (id, options) => {
      requests.get += 1;
      return base.get(id, options);
    },
    put: (id, parts, options) => {
      requests.put += 1;
      return base.put(id, parts, options);
    },
    delete: (id, options) => {
      requests.delete += 1;
      return base.delete(id, options);
    },
  };
  return { store, requests };
}

export async function buildLargeRepository(folder: string, contents: number): Promise<void> {
  const { store } = await largeStore(folder, contents);
  const environment = systemEnvironment();
  const client = { username: "varve", hostname: "localhost" };
  await createRepository(store, { password: PASSWORD, client, environment });
  // The last epoch is written to from now on; what went into the first is covered by a range.
  await writeMarkers(store);
  {
    await using repository = await openRepository(store, { password: PASSWORD, environment });
    const crypto = await openCrypto();
    const { format } = repository;
    const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
    await writeSnapshots(repository, contents);
    await setMaintenance(repository, defaultMaintenance("varve@localhost"));
    await repository.flush();
    await writeIndexes(store, createSealer(format, { crypto, randomBytes }), contents);
  }
  await store[Symbol.asyncDispose]();
}

/** Full maintenance, with what it took. */
export async function maintainLargeRepository(
  folder: string,
  contents: number,
  options: { maxMemoryBytes?: number | undefined; onTask?: (task: string) => void },
): Promise<{ report: MaintenanceReport; requests: Requests }> {
  const { maxMemoryBytes, onTask = () => {} } = options;
  const { store, requests } = await largeStore(folder, contents);
  await using repository = await openRepository(store, {
    password: PASSWORD,
    maxMemoryBytes,
    work: "maintenance",
  });
  const report = await runMaintenance(repository, { mode: "full", force: true, onTask });
  return { report, requests };
}

function contentId(number: number): ContentId {
  let text = "";
  for (let word = 0; word < 4; word++) {
    let mixed = Math.imul(number + 1, 0x9e3779b1) ^ Math.imul(word + 1, 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
    mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
    text += ((mixed ^ (mixed >>> 15)) >>> 0).toString(16).padStart(8, "0");
  }
  return text as ContentId; // 32 hex digits
}

function packId(pack: number): BlobInfo["id"] {
  return parseBlobId(`p${pack.toString(16).padStart(32, "0")}-s0123456789abcdef12a`);
}

/** 0 to 5 whole files, 6 to 8 pieces, 9 nobody's. */
function kindOf(number: number, size: number): number {
  return Math.floor(number / size) % 10;
}

const NO_SUMMARY: DirectorySummary = {
  sizeBytes: 0,
  files: 0,
  symlinks: 0,
  directories: 1,
  maxTimeNs: 0n,
  failed: 0,
  ignoredErrors: 0,
  errors: [],
};

async function writeSnapshots(repository: Repository, contents: number): Promise<void> {
  const meta = { mode: 0o644, mtimeNs: 1_700_000_000_000_000_000n, uid: 0, gid: 0 };
  const top: DirectoryEntry[] = [];
  let pieces: ObjectId[] = [];
  // Of a directory, and half of a long file.
  const size = Math.min(2000, Math.ceil(contents / 10));
  for (let first = 0; first < contents; first += size) {
    const count = Math.min(size, contents - first);
    const ids = Array.from(
      { length: count },
      (_, index) => contentId(first + index) as string as ObjectId,
    ); // a content's id is an object's
    if (kindOf(first, size) < 6) {
      const entries = ids.map(
        (object, index): DirectoryEntry => ({
          ...meta,
          type: "file",
          name: `file-${index}`,
          sizeBytes: CONTENT_BYTES,
          object,
        }),
      );
      const object = await writeDirectory(repository, entries);
      top.push({
        ...meta,
        type: "directory",
        name: `d${first}`,
        sizeBytes: 0,
        object,
        summary: NO_SUMMARY,
      });
    } else if (kindOf(first, size) < 9) {
      pieces.push(...ids);
    }
    if (pieces.length >= 2 * size || (pieces.length > 0 && first + size >= contents)) {
      const placed = pieces.map((object, index) => ({
        start: index * CONTENT_BYTES,
        length: CONTENT_BYTES,
        object,
      }));
      const metadataCodec = repository.codecs.byName("zstd-fastest");
      const object = await repository.objects.assemble(placed, { metadataCodec });
      const sizeBytes = pieces.length * CONTENT_BYTES;
      top.push({ ...meta, type: "file", name: `long${first}`, sizeBytes, object });
      pieces = [];
    }
  }
  await saveRoot(repository, await writeDirectory(repository, top));
}

async function saveRoot(repository: Repository, object: ObjectId): Promise<void> {
  const startTimeNs = BigInt(Date.now() - DAY_MS) * 1_000_000n;
  await saveSnapshot(repository, {
    source: { host: "host", userName: "user", path: "/data" },
    description: "",
    startTimeNs,
    endTimeNs: startTimeNs,
    stats: {
      totalSize: 0,
      excludedTotalSize: 0,
      fileCount: 0,
      cachedFiles: 0,
      nonCachedFiles: 0,
      dirCount: 0,
      excludedFileCount: 0,
      excludedDirCount: 0,
      ignoredErrorCount: 0,
      errorCount: 0,
    },
    root: {
      mode: 0o755,
      mtimeNs: startTimeNs,
      uid: 0,
      gid: 0,
      type: "directory",
      name: "data",
      sizeBytes: 0,
      object,
      summary: NO_SUMMARY,
    },
    tags: {},
    pins: [],
  });
}

async function writeDirectory(
  repository: Repository,
  entries: readonly DirectoryEntry[],
): Promise<ObjectId> {
  const bytes = encodeDirectory({ entries, summary: NO_SUMMARY });
  async function* data(): AsyncGenerator<Uint8Array, void, undefined> {
    yield bytes;
  }
  const codec = repository.codecs.byName("zstd-fastest");
  return (await repository.objects.write(data(), { prefix: "k", codec, metadataCodec: codec })).id;
}

async function writeMarkers(store: BlobStore): Promise<void> {
  for (let epoch = 1; epoch <= EPOCHS + 1; epoch++) {
    const mtimeMs = Date.now() - (EPOCHS + 3 - epoch) * DAY_MS;
    await store.put(epochMarkerId(epoch), [new Uint8Array(1)], { mtimeMs });
  }
}

async function writeIndexes(store: BlobStore, sealer: Sealer, contents: number): Promise<void> {
  const perEpoch = Math.ceil(contents / EPOCHS);
  const nowMs = Date.now();
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    const isRange = epoch < RANGES * EPOCHS_PER_RANGE;
    if (isRange && epoch % EPOCHS_PER_RANGE > 0) {
      continue;
    }
    const epochs = isRange ? EPOCHS_PER_RANGE : 1;
    const end = Math.min(contents, (epoch + epochs) * perEpoch);
    const first = epoch * perEpoch;
    const count = Math.max(1, Math.ceil((end - first) / ENTRIES_PER_BLOB));
    const prefix = isRange ? rangePrefix(epoch, epoch + epochs - 1) : uncompactedPrefix(epoch);
    const suffix = setSuffix(`s${epoch.toString(16).padStart(16, "0")}`, count);
    for (let blob = 0; blob < count; blob++) {
      const entries: ContentInfo[] = [];
      for (let number = first + blob; number < end; number += count) {
        entries.push(infoOf(number, nowMs));
      }
      const plain = encodeIndex(entries, { version: 2 });
      const { id, bytes } = sealBlob({ prefix, suffix, plain, sealer });
      await store.put(id, [bytes], { mtimeMs: nowMs - (EPOCHS + 2 - epoch) * DAY_MS });
    }
  }
}

function infoOf(number: number, nowMs: number): ContentInfo {
  return {
    id: contentId(number),
    packBlobId: packId(Math.floor(number / CONTENTS_PER_PACK)),
    packOffset: (number % CONTENTS_PER_PACK) * CONTENT_BYTES,
    packedLength: CONTENT_BYTES,
    originalLength: CONTENT_BYTES,
    timestampSeconds: Math.floor(nowMs / 1000) - 60 * 86_400,
    deleted: false,
    formatVersion: 2,
    compressionHeaderId: 0,
  };
}

const LOOK_UPS = 1_000_000;

/** Opens it, and looks up contents that are there and as many that are not. */
async function timeOpening(
  folder: string,
  contents: number,
  maxMemoryBytes?: number,
): Promise<object> {
  const { store, requests } = await largeStore(folder, contents);
  const start = performance.now();
  await using repository = await openRepository(store, {
    password: PASSWORD,
    maxMemoryBytes,
    readOnly: true,
  });
  const opened = performance.now();
  let found = 0;
  for (let count = 0; count < LOOK_UPS; count++) {
    const number = (count * 7919) % contents;
    found += repository.contents.isStored(contentId(count % 2 === 0 ? number : contents + number))
      ? 1
      : 0;
  }
  return {
    openSeconds: (opened - start) / 1000,
    lookUpMicroseconds: ((performance.now() - opened) * 1000) / LOOK_UPS,
    found,
    requests,
  };
}

/** As the command line does under a ceiling. */
function collectOften(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  let usedBytes = 0;
  const look = setInterval(() => {
    const { arrayBuffers } = process.memoryUsage();
    if (arrayBuffers > usedBytes + 2 ** 24) {
      collect();
      usedBytes = process.memoryUsage().arrayBuffers;
    } else {
      usedBytes = Math.min(usedBytes, arrayBuffers);
    }
  }, 100);
  look.unref();
}

async function main([
  command = "",
  folder = "",
  contentsText = "",
  ceilingText,
]: string[]): Promise<void> {
  const contents = Number(contentsText);
  const maxMemoryBytes = ceilingText === undefined ? undefined : Number(ceilingText) * 1024 * 1024;
  if (maxMemoryBytes !== undefined) {
    collectOften();
  }
  const start = performance.now();
  const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  const peak = (): string => `${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`;
  const say = (what: unknown): void => console.log(seconds(), peak(), JSON.stringify(what));
  if (command === "build") {
    await buildLargeRepository(folder, contents);
  } else if (command === "open") {
    say(await timeOpening(folder, contents, maxMemoryBytes));
  } else {
    say(await maintainLargeRepository(folder, contents, { maxMemoryBytes, onTask: say }));
  }
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  say({ userSeconds: userCPUTime / 1e6, systemSeconds: systemCPUTime / 1e6 });
}

if (process.argv[1]?.endsWith("scale.mjs") === true) {
  await main(process.argv.slice(2));
}
