import { expect, test } from "vitest";
import { createMemoryStore } from "../blob/memory-store.ts";
import type { BlobStore } from "../blob/store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type ManifestId, parseManifestId } from "../manifest/manifest-store.ts";
import { contentPrefix } from "../index/content-id.ts";
import { createRepository } from "../repository/create-repository.ts";
import { openRepository } from "../repository/open-repository.ts";
import type { Repository } from "../repository/repository.ts";
import { deleteSnapshot, listSnapshots } from "../snapshot/snapshots.ts";
import type { MemoryNode } from "../source/memory-source.ts";
import { type SeededEnvironment, seededEnvironment } from "../testing/seeded-environment.ts";
import { upload } from "../upload/upload.ts";
import { verify } from "../verify/verify.ts";
import {
  blobIds,
  createTestRepository,
  openTestRepository,
  SOURCE,
  storedTree,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { collectSnapshotGarbage } from "./snapshot-gc.ts";
import { type MaintenanceReport, runMaintenance } from "./run.ts";
import { MAINTENANCE_BLOB } from "./schedule.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

async function backUp(
  repository: Repository,
  children: Readonly<Record<string, MemoryNode>>,
): Promise<ManifestId> {
  const root = tree(children);
  const { snapshot } = await upload(repository, { source: SOURCE, root, policy: testPolicy() });
  return parseManifestId(snapshot.id ?? "");
}

async function remove(repository: Repository, id: ManifestId): Promise<void> {
  await deleteSnapshot(repository, id);
  await repository.flush();
}

function file(letter: string): MemoryNode {
  return { data: letter.repeat(3000), mtimeNs: 1n };
}

async function packBytes(store: BlobStore): Promise<number> {
  let bytes = 0;
  for (const prefix of ["p", "q"]) {
    for await (const { size } of store.list(prefix)) {
      bytes += size;
    }
  }
  return bytes;
}

function countsOf(report: MaintenanceReport, task: string): Readonly<Record<string, number>> {
  const found = report.tasks.find((entry) => entry.task === task);
  return found?.counts ?? {};
}

/** All that there is reads back, also for a client that has just come. */
async function expectSound(
  store: BlobStore,
  environment: SeededEnvironment,
  trees: readonly Record<string, string>[],
): Promise<void> {
  await using repository = await openTestRepository(store, environment);
  const { damaged } = await verify(repository);
  expect(damaged).toEqual([]);
  const { snapshots } = await listSnapshots(repository);
  const stored: Record<string, string>[] = [];
  for (const { root } of snapshots) {
    stored.push(await storedTree(repository, root));
  }
  expect(stored).toEqual(trees);
}

test("without safety margins the space of a deleted snapshot comes back at once", async () => {
  const { store, environment, repository } = await createTestRepository();
  const old = await backUp(repository, { a: file("a"), b: file("b") });
  environment.advance(1000);
  await backUp(repository, { b: file("b") });
  environment.advance(1000);
  await remove(repository, old);
  const before = await packBytes(store);
  environment.advance(1000);
  const report = await runMaintenance(repository, { mode: "full", safety: "none" });
  expect(countsOf(report, "snapshot-gc")).toMatchObject({ snapshots: 1, missing: 0 });
  expect(countsOf(report, "snapshot-gc")["markedDeleted"]).toBeGreaterThan(0);
  expect(countsOf(report, "full-delete-blobs")["blobs"]).toBeGreaterThan(0);
  expect(await packBytes(store)).toBeLessThan(before);
  expect(repository.contents.entries({ deleted: true })).not.toContainEqual(
    expect.objectContaining({ deleted: true }),
  );
  await expectSound(store, environment, [{ b: "b".repeat(3000) }]);
});

test("with them it takes a day, then two more collections, and nothing else is lost on the way", async () => {
  const { store, environment, repository } = await createTestRepository();
  const old = await backUp(repository, { a: file("a") });
  const [content] = [...repository.contents.entries({ prefix: "" })];
  environment.advance(1000);
  await backUp(repository, { b: file("b") });
  await remove(repository, old);
  const states: string[] = [];
  for (let hours = 0; hours <= 90; hours += 5) {
    await runMaintenance(repository, { mode: "full" });
    const info = content && repository.contents.info(content.id);
    states.push(info === undefined ? "dropped" : info.deleted ? "marked" : "live");
    await expectSound(store, environment, [{ b: "b".repeat(3000) }]);
    environment.advance(5 * HOUR_MS);
  }
  const firstMarked = states.indexOf("marked");
  expect(firstMarked * 5).toBeGreaterThan(24);
  expect(states.indexOf("dropped")).toBeGreaterThanOrEqual(firstMarked + 2);
});

test("and then its space is free: the pack is gone, four days after the snapshot", async () => {
  const { store, environment, repository } = await createTestRepository();
  const old = await backUp(repository, { a: file("a") });
  const [pack] = await blobIds(store, "p");
  await remove(repository, old);
  environment.advance(25 * HOUR_MS);
  await runMaintenance(repository, { mode: "full" });
  await backUp(repository, { b: file("b") });
  const before = await packBytes(store);
  expect(await blobIds(store, "p")).toContain(pack);
  for (let hours = 30; hours <= 96; hours += 6) {
    environment.advance(6 * HOUR_MS);
    await runMaintenance(repository, { mode: "full" });
  }
  expect(await blobIds(store, "p")).not.toContain(pack);
  expect(await packBytes(store)).toBeLessThan(before - 3000);
  await expectSound(store, environment, [{ b: "b".repeat(3000) }]);
});

test("a file of several pieces keeps the list of its pieces, too", async () => {
  const { store, environment, repository } = await createTestRepository();
  const big = { data: "large".repeat(4_000_000), mtimeNs: 1n };
  await backUp(repository, { big });
  environment.advance(1000);
  const prefixes = [...repository.contents.entries()].map(({ id }) => contentPrefix(id));
  expect(new Set(prefixes)).toEqual(new Set(["", "k", "m", "x"]));
  const report = await runMaintenance(repository, { mode: "full", safety: "none" });
  expect(countsOf(report, "snapshot-gc")).toMatchObject({ markedDeleted: 0 });
  await expectSound(store, environment, [{ big: big.data }]);
});

test("a backup by a client that has not seen the collection brings its contents back", async () => {
  const { store, environment, repository } = await createTestRepository();
  const old = await backUp(repository, { a: file("a") });
  await remove(repository, old);
  const stale = await openTestRepository(store, environment);
  environment.advance(25 * HOUR_MS);
  await runMaintenance(repository, { mode: "full" });
  // Within the 15 minutes after which a client looks at the index again.
  await stale.refresh();
  environment.advance(HOUR_MS);
  await backUp(stale, { a: file("a") });
  environment.advance(5 * HOUR_MS);
  await runMaintenance(repository, { mode: "full" });
  for (let round = 0; round < 6; round++) {
    environment.advance(DAY_MS);
    await runMaintenance(repository, { mode: "full" });
  }
  await expectSound(store, environment, [{ a: "a".repeat(3000) }]);
});

test("a collection unmarks what a snapshot refers to all the same", async () => {
  const { store, environment, repository } = await createTestRepository();
  const writer = await openTestRepository(store, environment);
  await backUp(repository, { a: file("a") });
  await writer.refresh();
  const ids = [...repository.contents.entries()].map(({ id }) => id);
  repository.contents.remove(ids.filter((id) => !id.startsWith("m")));
  await repository.flush();
  environment.advance(1000);
  const report = await runMaintenance(repository, { mode: "full" });
  expect(countsOf(report, "snapshot-gc")["recovered"]).toBe(2); // the file and its directory
  await expectSound(store, environment, [{ a: "a".repeat(3000) }]);
});

test("contents of short packs are gathered into one", async () => {
  const { store, environment, repository } = await createTestRepository();
  const texts: Record<string, MemoryNode> = {};
  for (const letter of "abcdef") {
    texts[letter] = file(letter);
    await backUp(repository, texts);
    environment.advance(HOUR_MS);
  }
  expect((await blobIds(store, "p")).length).toBe(6);
  environment.advance(3 * HOUR_MS);
  const first = await runMaintenance(repository, { mode: "full" });
  expect(countsOf(first, "full-rewrite-contents")).toMatchObject({ failed: 0 });
  expect((await blobIds(store, "p")).length).toBe(7); // nobody may lose what he reads
  expect(first.tasks.find(({ task }) => task === "full-delete-blobs")?.skipped).toMatch(/moved/);
  environment.advance(25 * HOUR_MS);
  const second = await runMaintenance(repository, { mode: "full" });
  expect(second.tasks.find(({ task }) => task === "full-rewrite-contents")?.skipped).toMatch(
    /has not been deleted/,
  );
  expect((await blobIds(store, "p")).length).toBe(1);
  const all = Object.fromEntries(
    Array.from("abcdef").map((letter) => [letter, letter.repeat(3000)]),
  );
  const prefixes = Array.from("abcdef").map((_, index) =>
    Object.fromEntries(Object.entries(all).slice(0, index + 1)),
  );
  await expectSound(store, environment, prefixes);
});

test("packs of a session that has not committed yet are kept while its marker is young", async () => {
  const { store, environment, repository } = await createTestRepository();
  environment.advance(3 * HOUR_MS);
  await runMaintenance(repository, { mode: "full" }); // puts the packs of creation together
  environment.advance(3 * HOUR_MS);
  await runMaintenance(repository, { mode: "full" });
  const writer = await openTestRepository(store, environment);
  const big = new Uint8Array(repository.format.maxPackSize + 1);
  await writer.contents.write(big, { prefix: "" });
  await expect.poll(async () => (await blobIds(store, "p")).length).toBe(1);
  environment.advance(95 * HOUR_MS);
  const kept = await runMaintenance(repository, { mode: "full" });
  expect(countsOf(kept, "full-delete-blobs")).toMatchObject({ blobs: 0, keptBlobs: 2 });
  environment.advance(2 * HOUR_MS);
  const gone = await runMaintenance(repository, { mode: "full" });
  expect(countsOf(gone, "full-delete-blobs")["blobs"]).toBe(2); // the pack and the marker
});

test("nothing is collected while a directory cannot be read, and the run says which", async () => {
  const { environment, store, repository } = await createTestRepository();
  const old = await backUp(repository, { a: file("a") });
  environment.advance(1000);
  await backUp(repository, { b: file("b") });
  await remove(repository, old);
  environment.advance(25 * HOUR_MS);
  const directory = [...repository.contents.entries({ prefix: "k" })].at(-1);
  const bytes = await store.get(directory?.packBlobId as never);
  bytes[(directory?.packOffset ?? 0) + 5] = 0xff ^ (bytes[(directory?.packOffset ?? 0) + 5] ?? 0);
  await store.put(directory?.packBlobId as never, [bytes]);
  const other = await openTestRepository(store, environment);
  const before = await blobIds(store, "x");
  await expect(runMaintenance(other, { mode: "full" })).rejects.toThrow(/nothing is collected/);
  expect(await blobIds(store, "x")).toEqual(before);
});

test("a file whose content is missing does not end collection", async () => {
  const { environment, store, repository } = await createTestRepository();
  await backUp(repository, { a: file("a") });
  const content = [...repository.contents.entries({ prefix: "" })][0];
  repository.contents.remove(content === undefined ? [] : [content.id]);
  await repository.flush();
  environment.advance(1000);
  const { missing } = await collectSnapshotGarbage(repository, {
    startMs: environment.nowMs(),
    minContentAgeMs: 0,
    dryRun: true,
  });
  expect(missing).toBe(0); // marked deleted is not missing
  expect(await blobIds(store, "p")).toHaveLength(1);
});

test("only the owner runs it, unless it is forced", async () => {
  const { store, environment } = await createTestRepository();
  const stranger = await openTestRepository(store, environment);
  const other = {
    ...stranger,
    refresh: () => stranger.refresh(),
    client: { username: "x", hostname: "y" },
  };
  await expect(runMaintenance(other, { mode: "quick" })).rejects.toMatchObject({
    code: "not-owner",
  });
  const { mode } = await runMaintenance(other, { mode: "quick", force: true });
  expect(mode).toBe("quick");
});

test("clocks that differ by more than five minutes end it before anything is deleted", async () => {
  const { environment, repository } = await createTestRepository({
    wrap: (store) => ({
      ...passThrough(store),
      put: async (id, parts, options) => {
        const info = await store.put(id, parts, options);
        return { ...info, mtimeMs: info.mtimeMs - 301_000 };
      },
    }),
  });
  environment.advance(1000);
  await expect(runMaintenance(repository, { mode: "full", safety: "none" })).rejects.toThrow(
    /clocks/,
  );
});

test("auto runs what is due: full once a day, quick once an hour, nothing in between and nothing in a new repository", async () => {
  const { environment, repository } = await createTestRepository();
  const modes: string[] = [];
  for (let half = 0; half < 100; half++) {
    modes.push((await runMaintenance(repository)).mode);
    environment.advance(HOUR_MS / 2);
  }
  expect(modes.slice(0, 6)).toEqual(["none", "none", "quick", "none", "quick", "none"]);
  expect(modes.flatMap((mode, half) => (mode === "full" ? [half] : []))).toEqual([48, 96]);
});

test("a history that was lost is due at once", async () => {
  const { repository } = await createTestRepository();
  await repository.blobs.put(MAINTENANCE_BLOB, [new Uint8Array(100)]);
  expect((await runMaintenance(repository)).mode).toBe("full");
});

test("in a repository without epochs, too, space comes back and indexes are put together", async () => {
  const environment = seededEnvironment({ seed: 3, startMs: Date.UTC(2030, 0, 1) });
  const store = createMemoryStore({ environment });
  await createRepository(store, { password: "p", environment, version: 1 });
  await using repository = await openRepository(store, { password: "p", environment });
  const gone = await backUp(repository, { a: file("a") });
  for (const letter of ["b", "c", "d", "e", "f"]) {
    environment.advance(1000);
    await backUp(repository, { [letter]: file(letter) });
  }
  await remove(repository, gone);
  environment.advance(1000);
  const before = await packBytes(store);
  await runMaintenance(repository, { mode: "full", safety: "none" });
  expect(await packBytes(store)).toBeLessThan(before);
  expect((await blobIds(store, "n")).length).toBeLessThan(3);
  await runMaintenance(repository, { mode: "quick" });
  await using other = await openRepository(store, { password: "p", environment });
  expect([...other.contents.entries({ deleted: true })].filter((info) => info.deleted)).toEqual([]);
  expect((await verify(other)).damaged).toEqual([]);
  expect((await listSnapshots(other)).snapshots).toHaveLength(5);
});
