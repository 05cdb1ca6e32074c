import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemEnvironment } from "../../src/base/environment.ts";
import { openFileSystemStore } from "../../src/blob/filesystem-store.ts";
import type { BlobStore } from "../../src/blob/store.ts";
import { createExecutor } from "../../src/pipeline/create-executor.ts";
import type { Executor } from "../../src/pipeline/executor.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { listSnapshots } from "../../src/snapshot/snapshots.ts";
import { memorySource } from "../../src/source/memory-source.ts";
import { localSource } from "../../src/source/local-source.ts";
import type { SourceEntry } from "../../src/source/source-entry.ts";
import { faultyStore, type WriteFault } from "../../src/testing/faulty-store.ts";
import type { SeededEnvironment } from "../../src/testing/seeded-environment.ts";
import { upload } from "../../src/upload/upload.ts";
import type { UploadReport } from "../../src/upload/upload-options.ts";
import {
  blobIds,
  createTestRepository,
  openTestRepository,
  SOURCE,
  storedTree,
  testFormat,
  testPolicy,
} from "../upload-fixture.ts";

/** Kills the client at every storage write of a backup; whatever was acknowledged before must be there after. */

const EARLIER = { old: { data: "old file", mtimeNs: 1n }, kept: { data: "kept", mtimeNs: 1n } };
const LATER = {
  kept: { data: "kept", mtimeNs: 1n },
  fresh: { children: { a: { data: "a".repeat(5000) }, b: { data: "b" }, link: { target: "a" } } },
};
const EARLIER_TREE = { old: "old file", kept: "kept" };
const LATER_TREE = { kept: "kept", "fresh/a": "a".repeat(5000), "fresh/b": "b", "fresh/link": "a" };

const folder = mkdtempSync(join(tmpdir(), "varve-crash-"));
mkdirSync(join(folder, "fresh"));
writeFileSync(join(folder, "kept"), "kept");
writeFileSync(join(folder, "fresh/a"), "a".repeat(5000));
writeFileSync(join(folder, "fresh/b"), "b");
symlinkSync("a", join(folder, "fresh/link"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Files in memory are stored by this thread, those of a folder by the executor. */
const LATER_ROOTS = {
  memory: async () => memorySource("data", { children: LATER }),
  folder: () => localSource(folder),
  "folder, by threads that write to a folder": () => localSource(folder),
};
type Kind = keyof typeof LATER_ROOTS;

const THREADED: Kind = "folder, by threads that write to a folder";
let threads: Executor;
beforeAll(async () => {
  // Workers cannot load TypeScript: they run what the build made.
  const workerUrl = new URL("../../dist/pipeline/worker-entry.js", import.meta.url);
  const environment = systemEnvironment();
  const parameters = await testFormat();
  threads = createExecutor({ parameters, workers: 1, environment, workerUrl });
});
afterAll(() => threads[Symbol.asyncDispose]());

/** Stores of {@link THREADED}. */
const stores = mkdtempSync(join(tmpdir(), "varve-crash-"));
afterAll(() => rmSync(stores, { recursive: true }));

async function openClient(
  store: BlobStore,
  environment: SeededEnvironment,
  kind: Kind,
): Promise<Repository> {
  const executor = kind === THREADED ? threads : undefined;
  return await openTestRepository(store, environment, { executor });
}

/** `environment` moves on so far between two files that a checkpoint is due. */
function backUp(
  repository: Repository,
  environment: SeededEnvironment,
  plain: SourceEntry,
): Promise<UploadReport> {
  const root: SourceEntry = {
    ...plain,
    async *children(options) {
      for await (const child of plain.children(options)) {
        environment.advance(60_000);
        yield child;
      }
    },
    child: async () => undefined,
  };
  return upload(repository, {
    source: SOURCE,
    root,
    policy: testPolicy(),
    checkpointIntervalMs: 60_000,
  });
}

/**
 * A repository with one snapshot, whose storage then fails as `fault` says: asked at each write, or with threads at each of a pack that they
 * write themselves, since what else is written is the same.
 */
async function prepare(
  kind: Kind,
  fault: (number: number) => WriteFault | undefined,
): Promise<{
  good: BlobStore;
  faulty: ReturnType<typeof faultyStore>;
  environment: SeededEnvironment;
  /** Temporary files that storage holds. */
  temporary: () => string[];
}> {
  const { store, environment, repository } = await createTestRepository();
  await backUp(repository, environment, memorySource("data", { children: EARLIER }));
  await repository[Symbol.asyncDispose]();
  const root = mkdtempSync(join(stores, "store-"));
  const good = kind === THREADED ? await copyTo(root, store) : store;
  let number = 0;
  const faulty = faultyStore(good, {
    write: ({ id }) => (kind !== THREADED || id.startsWith("p") ? fault(++number) : undefined),
  });
  const temporary = (): string[] =>
    readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => /\.tmp\./.test(name));
  return { good, faulty, environment, temporary };
}

async function copyTo(root: string, store: BlobStore): Promise<BlobStore> {
  const folderStore = await openFileSystemStore(root, { create: true });
  for (const id of await blobIds(store)) {
    await folderStore.put(id, [await store.get(id)]);
  }
  return folderStore;
}

async function countWrites(later: SourceEntry, kind: Kind): Promise<number> {
  let writes = 0;
  const { faulty, environment } = await prepare(kind, (number) => {
    writes = number;
    return undefined;
  });
  await using repository = await openClient(faulty, environment, kind);
  await backUp(repository, environment, later);
  return writes;
}

describe.each([
  ["lost", "memory"],
  ["half-acknowledged", "memory"],
  ["lost", "folder"],
  ["half-acknowledged", "folder"],
  ["lost", THREADED],
  ["half-acknowledged", THREADED],
] as const)("a backup killed when a write is %s, of files in a %s", (outcome, kind) => {
  test("leaves a repository that opens, with every earlier snapshot whole, and the next backup works", async () => {
    const later = await LATER_ROOTS[kind]();
    const writes = await countWrites(later, kind);
    expect(writes).toBeGreaterThan(kind === THREADED ? 0 : 8);
    for (let killAt = 1; killAt <= writes; killAt++) {
      const { good, faulty, environment, temporary } = await prepare(kind, (number) =>
        number === killAt ? { outcome, crash: true } : undefined,
      );
      const dying = await openClient(faulty, environment, kind);
      // A marker that cannot be removed does not fail a backup, so the very last write may pass.
      const died = await backUp(dying, environment, later).catch(() => undefined);
      await dying[Symbol.asyncDispose]();
      expect(died === undefined || killAt > Math.max(1, writes - 3)).toBe(true);
      expect(temporary()).toEqual([]);

      await using repository = await openClient(good, environment, kind);
      const { snapshots, damaged } = await listSnapshots(repository);
      expect(damaged).toEqual([]);
      const complete = snapshots.filter(({ incomplete }) => incomplete === undefined);
      expect(await storedTree(repository, (complete[0] ?? snapshots[0])?.root ?? fail())).toEqual(
        EARLIER_TREE,
      );
      for (const { root } of snapshots) {
        expect(Object.keys(await storedTree(repository, root)).length).toBeGreaterThan(0);
      }

      environment.advance(1000);
      const { snapshot, errors } = await backUp(repository, environment, later);
      expect(errors).toEqual([]);
      await using reopened = await openTestRepository(good, environment);
      expect(await storedTree(reopened, snapshot.root)).toEqual(LATER_TREE);
    }
  });
});

function fail(): never {
  throw new Error("the earlier snapshot is gone");
}
