import { describe, expect, test } from "vitest";
import { changeBlob, type Tree, writeEntry, writeSnapshot } from "../../test/tree-fixture.ts";
import {
  blobIds,
  createTestRepository,
  openTestRepository,
  type TestRepository,
} from "../../test/upload-fixture.ts";
import { type BlobStore, parseBlobId } from "../blob/store.ts";
import { runMaintenance } from "../maintenance/run.ts";
import { listSnapshots } from "../snapshot/snapshots.ts";
import { verify } from "../verify/verify.ts";
import { recoverIndex, type RecoverIndexOptions } from "./recover-index.ts";

const TREE: Tree = {
  "a.txt": "alpha",
  sub: { tree: { "b.txt": "beta", big: "x".repeat(300_000) } },
};

async function withSnapshots(count = 2): Promise<TestRepository> {
  const made = await createTestRepository();
  for (let number = 0; number < count; number++) {
    made.environment.advance(60_000);
    const tree = { ...TREE, number: String(number) };
    await writeSnapshot(made.repository, await writeEntry(made.repository, "r", { tree }));
  }
  return made;
}

async function flip(store: BlobStore, prefix: string): Promise<number> {
  const ids = await blobIds(store, prefix);
  for (const id of ids) {
    await changeBlob(store, id, (bytes) => bytes.map((byte, at) => (at === 40 ? byte ^ 1 : byte)));
  }
  return ids.length;
}

async function recover(made: TestRepository, options: Partial<RecoverIndexOptions> = {}) {
  await using repository = await openTestRepository(made.store, made.environment);
  return await recoverIndex(repository, { commit: true, ...options });
}

async function look({ store, environment }: TestRepository) {
  await using repository = await openTestRepository(store, environment);
  const { snapshots } = await listSnapshots(repository);
  const { damaged } = await verify(repository);
  return { snapshots: snapshots.length, damage: repository.damage.length, damaged: damaged.length };
}

const WHOLE = { snapshots: 2, damage: 0, damaged: 0 };

describe("when all index blobs are gone", () => {
  test("packs tell what they hold, and snapshots are there again", async () => {
    const made = await withSnapshots();
    const indexes = await blobIds(made.store, "x");
    for (const id of indexes) {
      await made.store.delete(id);
    }
    expect(await look(made)).toMatchObject({ snapshots: 0 });
    const told = await recover(made, { commit: false });
    expect(await blobIds(made.store, "x")).toEqual([]);
    const done = await recover(made);
    expect(done).toEqual(told);
    expect(done.recovered).toBeGreaterThan(5);
    expect(await look(made)).toEqual(WHOLE);
    expect((await recover(made)).recovered).toBe(0);
  });

  test("entries keep their times", async () => {
    const made = await withSnapshots();
    const before = [...made.repository.contents.entries()];
    for (const id of await blobIds(made.store, "x")) {
      await made.store.delete(id);
    }
    made.environment.advance(1e9);
    await recover(made);
    await using repository = await openTestRepository(made.store, made.environment);
    for (const info of before) {
      expect(repository.contents.info(info.id)).toEqual(info);
    }
  });
});

describe("when index blobs are damaged", () => {
  test("they are removed once all is recovered, and maintenance runs again", async () => {
    const made = await withSnapshots();
    const count = await flip(made.store, "x");
    expect(await look(made)).toMatchObject({ snapshots: 0, damage: count, damaged: count });
    await using damaged = await openTestRepository(made.store, made.environment);
    await expect(runMaintenance(damaged, { force: true, mode: "full" })).rejects.toMatchObject({
      code: "corrupt",
    });
    expect((await recover(made, { commit: false })).removed).toEqual([]);
    expect((await recover(made)).removed).toHaveLength(count);
    expect(await look(made)).toEqual(WHOLE);
    await using repository = await openTestRepository(made.store, made.environment);
    await runMaintenance(repository, { mode: "full" });
  });

  test("none is removed while a pack does not say what it holds, unless that is asked for", async () => {
    const made = await withSnapshots();
    await flip(made.store, "x");
    const [pack] = await blobIds(made.store, "p");
    const tail = async (change: number) =>
      await changeBlob(made.store, pack ?? expect.fail(), (bytes) =>
        bytes.map((byte, at) => (at === bytes.length - 3 ? byte ^ change : byte)),
      );
    await tail(1);
    const report = await recover(made);
    expect(report.unreadable).toMatchObject([{ id: pack, error: { code: "corrupt" } }]);
    expect(report.removed).toEqual([]);
    expect((await recover(made, { ignoreErrors: true })).removed.length).toBeGreaterThan(0);
    await tail(1); // back
    expect((await recover(made)).recovered).toBeGreaterThan(0);
    expect(await look(made)).toEqual(WHOLE);
  });

  test("packs that were named are recovered, and no index blob is removed", async () => {
    const made = await withSnapshots();
    await flip(made.store, "x");
    const packs = await blobIds(made.store, "q");
    expect(await recover(made, { packs })).toMatchObject({ packs: packs.length, removed: [] });
    expect(await recover(made, { prefixes: ["p"] })).toMatchObject({ removed: [] });
    expect(await look(made)).toMatchObject({ snapshots: 2 });
    await expect(recover(made, { prefixes: ["x"] })).rejects.toMatchObject({
      code: "invalid-argument",
    });
  });
});

test("a content whose pack is lost is found in another pack that has it", async () => {
  const made = await withSnapshots();
  const { contents } = made.repository;
  const before = new Set(await blobIds(made.store, "p"));
  await contents.rewrite([...contents.entries({ prefix: "" })].slice(0, 1));
  await made.repository.flush();
  const [moved] = (await blobIds(made.store, "p")).filter((id) => !before.has(id));
  await made.store.delete(moved ?? expect.fail());
  expect((await look(made)).damaged).toBeGreaterThan(0);
  expect((await recover(made)).recovered).toBe(1);
  expect(await look(made)).toEqual(WHOLE);
});

test("what was deleted so long ago that its mark is hidden comes back rather than being lost", async () => {
  const made = await withSnapshots();
  const { contents } = made.repository;
  const ids = Array.from(contents.entries({ prefix: "" }), ({ id }) => id);
  contents.remove(ids);
  await made.repository.flush();
  const seconds = Math.floor(made.environment.nowMs() / 1000) + 10;
  await made.store.put(parseBlobId(`xw${seconds}`), []);
  made.environment.advance(60_000);
  expect((await look(made)).damaged).toBeGreaterThan(0);
  expect((await recover(made)).recovered).toBe(ids.length);
  expect(await look(made)).toEqual(WHOLE);
});

test("packs that were swapped say so", async () => {
  const made = await withSnapshots();
  const [one, other] = await blobIds(made.store, "q");
  const bytes = await made.store.get(one ?? expect.fail());
  await made.store.put(one ?? expect.fail(), [await made.store.get(other ?? expect.fail())]);
  await made.store.put(other ?? expect.fail(), [bytes]);
  expect((await recover(made)).unreadable.map(({ id }) => id).sort()).toEqual([one, other]);
});
