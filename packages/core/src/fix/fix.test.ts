import { describe, expect, test } from "vitest";
import {
  changeBlob,
  damageContent,
  type Tree,
  writeBytes,
  writeDirectory,
  writeEntry,
  writeRawDirectory,
  writeSnapshot,
} from "../../test/tree-fixture.ts";
import {
  blobIds,
  createTestRepository,
  openTestRepository,
  storedText,
  storedTree,
  type TestRepository,
} from "../../test/upload-fixture.ts";
import { utf8 } from "../base/bytes.ts";
import { type ObjectId, parseObjectId, splitObjectId } from "../object/object-id.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { findEntry, readDirectory } from "../snapshot/read-directory.ts";
import { listSnapshots, replaceSnapshot, type SavedSnapshot } from "../snapshot/snapshots.ts";
import { faultyStore } from "../testing/faulty-store.ts";
import { verify } from "../verify/verify.ts";
import { fixSnapshots } from "./fix.ts";
import type { FixOptions, FixReport } from "./fix-options.ts";

const TREE: Tree = {
  "a.txt": "alpha",
  good: { tree: { "g.txt": "gamma" } },
  sub: {
    tree: { "bad.txt": "the lost text", "c.iso": "an image", deep: { tree: { d: "delta" } } },
  },
};

interface Fixture extends TestRepository {
  readonly snapshot: SavedSnapshot;
  readonly at: (path: string) => Promise<DirectoryEntry>;
}

/** Every content in a pack of its own, so that damage is exact. */
async function oneSnapshot(tree: Tree = TREE): Promise<Fixture> {
  const made = await createTestRepository();
  const { repository } = made;
  const write = async (name: string, node: Tree): Promise<DirectoryEntry> => {
    const entries: DirectoryEntry[] = [];
    for (const [child, value] of Object.entries(node)) {
      const isTree = typeof value === "object" && "tree" in value;
      entries.push(
        isTree ? await write(child, value.tree) : await writeEntry(repository, child, value),
      );
      await repository.flush();
    }
    return await writeDirectory(repository, name, entries);
  };
  const root = await write("r", tree);
  await repository.flush();
  const snapshot = await writeSnapshot(repository, root);
  return { ...made, snapshot, at: (path) => findEntry(repository, root, path) };
}

async function lose(made: TestRepository, object: ObjectId): Promise<void> {
  const info = made.repository.contents.info(splitObjectId(object).contentId);
  await made.store.delete(info?.packBlobId ?? expect.fail());
}

/** By somebody who has nothing in memory. */
async function fix(made: TestRepository, options: Partial<FixOptions> = {}): Promise<FixReport> {
  made.environment.advance(60_000);
  await using repository = await openTestRepository(made.store, made.environment);
  return await fixSnapshots(repository, { commit: true, ...options });
}

const INVALID: Partial<FixOptions> = { invalidFiles: { handling: "stub", readFraction: 0 } };

function removing(...names: string[]): Partial<FixOptions> {
  return { removeFiles: { names, objects: [] } };
}

interface Seen {
  readonly snapshots: readonly SavedSnapshot[];
  readonly tree: Record<string, string>;
  readonly damaged: readonly string[];
}

async function look(made: TestRepository): Promise<Seen> {
  await using repository = await openTestRepository(made.store, made.environment);
  const { snapshots } = await listSnapshots(repository);
  const { damaged } = await verify(repository);
  const root = snapshots[0]?.root ?? expect.fail("no snapshot");
  const tree = damaged.length > 0 ? {} : await storedTree(repository, root);
  return { snapshots, tree, damaged: damaged.map(({ path }) => path) };
}

describe("files that cannot be read", () => {
  test("become stubs that tell what they were; the rest keeps its ids, sums are right", async () => {
    const made = await oneSnapshot();
    const bad = await made.at("sub/bad.txt");
    await lose(made, bad.object);
    const report = await fix(made, INVALID);
    expect(report).toMatchObject({ snapshots: 1, changeCount: 1, unreadable: [] });
    expect(report.changes).toMatchObject([
      { snapshot: made.snapshot.id, path: "sub/bad.txt", action: "stub", code: "blob-not-found" },
    ]);
    const { snapshots, tree, damaged } = await look(made);
    expect(damaged).toEqual([]);
    const { "sub/.INVALID.bad.txt": stub = "", ...others } = tree;
    expect(others).toEqual({
      "a.txt": "alpha",
      "good/g.txt": "gamma",
      "sub/c.iso": "an image",
      "sub/deep/d": "delta",
    });
    expect(JSON.parse(stub)).toMatchObject({ entry: { name: "bad.txt", obj: bad.object } });
    const [fixed] = snapshots;
    expect(snapshots).toHaveLength(1);
    expect(fixed?.id).toBe(report.fixed[0]?.id);
    expect(fixed?.id).not.toBe(made.snapshot.id);
    expect(fixed?.root.summary).toMatchObject({
      files: 5,
      directories: 4,
      sizeBytes: 5 + 5 + 8 + 5 + stub.length,
    });
    const root = fixed?.root ?? expect.fail();
    const good = await findEntry(made.repository, made.snapshot.root, "good");
    expect(await findEntry(await reopened(made), root, "good")).toEqual(good);
  });

  test("are told and nothing is written without commit", async () => {
    const made = await oneSnapshot();
    await lose(made, (await made.at("sub/bad.txt")).object);
    const before = await blobIds(made.store);
    const report = await fix(made, { ...INVALID, commit: false });
    expect(report).toMatchObject({ changeCount: 1, fixed: [{ before: { id: made.snapshot.id } }] });
    expect(report.fixed[0]?.id).toBeUndefined();
    expect(await blobIds(made.store)).toEqual(before);
  });

  test.each([
    ["remove", []],
    ["keep", ["sub/bad.txt"]],
  ] as const)("%s", async (handling, damaged) => {
    const made = await oneSnapshot();
    await lose(made, (await made.at("sub/bad.txt")).object);
    const report = await fix(made, { invalidFiles: { handling, readFraction: 0 } });
    expect(report.changes).toMatchObject([{ path: "sub/bad.txt", action: handling }]);
    expect(report.fixed).toHaveLength(handling === "keep" ? 0 : 1);
    const seen = await look(made);
    expect(seen.damaged).toEqual(damaged);
    expect(Object.keys(seen.tree).filter((path) => path.includes("bad"))).toEqual([]);
  });

  test("fail the call when they are to, and nothing is changed", async () => {
    const made = await oneSnapshot();
    await lose(made, (await made.at("sub/bad.txt")).object);
    const before = await blobIds(made.store);
    const failing = fix(made, { invalidFiles: { handling: "fail", readFraction: 0 } });
    await expect(failing).rejects.toMatchObject({ code: "blob-not-found" });
    expect(await blobIds(made.store)).toEqual(before);
  });

  test("whose bytes are wrong are found when they are read", async () => {
    const made = await oneSnapshot();
    const { object } = await made.at("sub/bad.txt");
    const info = made.repository.contents.info(splitObjectId(object).contentId);
    await damageContent(made.store, info ?? expect.fail());
    expect(await fix(made, INVALID)).toMatchObject({ changeCount: 0, fixed: [] });
    const read = { handling: "stub", readFraction: 1 } as const;
    expect(await fix(made, { invalidFiles: read })).toMatchObject({ changeCount: 1 });
    expect((await look(made)).damaged).toEqual([]);
  });

  test("are not what storage only fails to give: the call fails", async () => {
    const made = await oneSnapshot();
    const sub = made.repository.contents.info(
      splitObjectId((await made.at("sub")).object).contentId,
    );
    const store = {
      ...made.store,
      get: async (...args: Parameters<typeof made.store.get>) => {
        if (args[0] === sub?.packBlobId) {
          throw new Error("the network is down");
        }
        return await made.store.get(...args);
      },
    };
    await expect(fix({ ...made, store }, INVALID)).rejects.toThrow("the network is down");
    await expect(fix({ ...made, store }, removing("x"))).rejects.toThrow("the network is down");
  });

  test("of names as long as names may be, or with a stub already, get a stub of another name", async () => {
    const long = "ä".repeat(127);
    const made = await oneSnapshot({ [long]: "1", f: "22", ".INVALID.f": "333" });
    await lose(made, (await made.at(long)).object);
    await lose(made, (await made.at("f")).object);
    await fix(made, INVALID);
    const names = Object.keys((await look(made)).tree);
    expect(names.sort()).toEqual([".INVALID.f", ".INVALID.f~1", `.INVALID.${"ä".repeat(123)}`]);
  });

  test("as the root of a snapshot become its root", async () => {
    const made = await createTestRepository();
    const file = await writeEntry(made.repository, "notes", "text");
    await made.repository.flush();
    await writeSnapshot(made.repository, file);
    await lose(made, file.object);
    await fix(made, { invalidFiles: { handling: "remove", readFraction: 0 } });
    const { snapshots, damaged } = await look(made);
    expect(damaged).toEqual([]);
    expect(snapshots[0]?.root).toMatchObject({
      name: ".INVALID.notes",
      type: "file",
      summary: { files: 1 },
    });
  });
});

describe("directories that cannot be read", () => {
  test.each([
    ["invalid-files", INVALID],
    ["remove-files", removing("nothing of that name")],
  ])("become stubs with %s", async (_, options) => {
    const made = await oneSnapshot();
    await lose(made, (await made.at("sub")).object);
    await fix(made, options);
    const { tree, damaged } = await look(made);
    expect(damaged).toEqual([]);
    expect(Object.keys(tree).sort()).toEqual([".INVALID.sub", "a.txt", "good/g.txt"]);
  });

  test("stay, or fail the call", async () => {
    const made = await oneSnapshot();
    await lose(made, (await made.at("sub")).object);
    const kept = await fix(made, { ...INVALID, invalidDirectories: "keep" });
    expect(kept).toMatchObject({ fixed: [], changes: [{ path: "sub", action: "keep" }] });
    const failing = fix(made, { ...INVALID, invalidDirectories: "fail" });
    await expect(failing).rejects.toMatchObject({ code: "corrupt" });
  });

  test("at the root make a snapshot of one stub", async () => {
    const made = await oneSnapshot();
    await lose(made, made.snapshot.root.object);
    await fix(made, INVALID);
    const { snapshots, damaged } = await look(made);
    expect(damaged).toEqual([]);
    expect(snapshots[0]?.root).toMatchObject({ name: ".INVALID.r", type: "file" });
  });
});

describe("entries that are named", () => {
  test("are removed by patterns of their names and by object ids, with all below", async () => {
    const made = await oneSnapshot();
    const { object } = await made.at("a.txt");
    const report = await fix(made, {
      removeFiles: { names: ["*.is[n-p]", "de?p"], objects: [object] },
    });
    expect(report.changes.map(({ path, action }) => `${action} ${path}`).sort()).toEqual([
      "remove a.txt",
      "remove sub/c.iso",
      "remove sub/deep",
    ]);
    const { tree, snapshots } = await look(made);
    expect(tree).toEqual({ "good/g.txt": "gamma", "sub/bad.txt": "the lost text" });
    expect(snapshots[0]?.root.summary).toMatchObject({ files: 2, directories: 3, sizeBytes: 18 });
  });

  test("leave nothing behind but empty directories", async () => {
    const made = await oneSnapshot();
    await fix(made, removing("*.txt", "*.iso", "d"));
    expect((await look(made)).tree).toEqual({ "good/": "", "sub/deep/": "" });
  });

  test.each([[[]], [["a/b"]], [["[a"]], [[""]]])("%j names nothing", async (names) => {
    const made = await createTestRepository();
    const failing = fix(made, removing(...names));
    await expect(failing).rejects.toMatchObject({ code: "invalid-argument" });
  });
});

describe("manifests", () => {
  test("keep pins, tags, descriptions, times and what varve does not know", async () => {
    const made = await oneSnapshot();
    const { repository, snapshot } = made;
    const changes = { pins: ["p"], tags: { k: "v" }, description: "text" };
    const edited = await replaceSnapshot(repository, snapshot.id, changes);
    await repository.flush();
    await fix(made, removing("c.iso"));
    const { snapshots } = await look(made);
    const { root, id, ...others } = snapshots[0] ?? expect.fail();
    expect(edited).toMatchObject(others);
    expect(others).toMatchObject(changes);
    expect([root.object, id]).not.toContain(edited.id);
  });

  test("are only those that were chosen", async () => {
    const made = await oneSnapshot();
    const other = await writeSnapshot(made.repository, made.snapshot.root, "/other");
    const report = await fix(made, { ...removing("c.iso"), snapshots: [other.id] });
    expect(report.fixed.map(({ before }) => before.id)).toEqual([other.id]);
    const ids = (await look(made)).snapshots.map(({ id }) => id);
    expect(new Set(ids)).toEqual(new Set([made.snapshot.id, report.fixed[0]?.id]));
  });

  test("change all or none, wherever the client is killed", async () => {
    const plain = await oneSnapshot();
    await writeSnapshot(plain.repository, plain.snapshot.root, "/other");
    const counting = faultyStore(plain.store);
    await fix({ ...plain, store: counting }, removing("c.iso"));
    expect(counting.writes).toBeGreaterThan(3);
    for (let number = 1; number <= counting.writes; number++) {
      const made = await oneSnapshot();
      await writeSnapshot(made.repository, made.snapshot.root, "/other");
      const store = faultyStore(made.store, {
        write: (write) =>
          write.number === number ? { outcome: "half-acknowledged", crash: true } : undefined,
      });
      await fix({ ...made, store }, removing("c.iso")).catch(() => undefined);
      const { snapshots, damaged } = await look(made);
      expect(damaged).toEqual([]);
      expect(snapshots).toHaveLength(2);
      expect(new Set(snapshots.map(({ root }) => root.object)).size).toBe(1);
    }
  });
});

describe("hostile trees", () => {
  test("that double at every level are rewritten in one pass", async () => {
    const { repository, ...made } = await createTestRepository();
    let below = await writeEntry(repository, "x", { tree: { "c.iso": "1" } });
    for (let level = 0; level < 40; level++) {
      const again = { ...below, name: "y", mtimeNs: 5n };
      below = await writeDirectory(repository, "x", [below, again]);
    }
    await writeSnapshot(repository, below);
    const report = await fix({ ...made, repository }, removing("c.iso"));
    expect(report).toMatchObject({ fixed: [{}] });
    expect(report.directories).toBeLessThan(100);
  });

  test("with entries that were set aside lose them only where told to, or where rewritten", async () => {
    const { repository, ...made } = await createTestRepository();
    const object = await writeBytes(repository, utf8("12345"));
    const file = { type: "f", mode: "0644", obj: object, size: 5 };
    const raw = await writeRawDirectory(repository, [
      { ...file, name: ".." },
      { ...file, name: "good" },
    ]);
    await writeSnapshot(repository, await writeDirectory(repository, "r", [raw]));
    const fixture = { ...made, repository };
    expect(await fix(fixture, INVALID)).toMatchObject({ fixed: [] });
    const removed = await fix(fixture, { invalidFiles: { handling: "remove", readFraction: 0 } });
    expect(removed.changes).toMatchObject([{ path: "raw/..", action: "remove", code: "corrupt" }]);
    expect((await look(fixture)).tree).toEqual({ "raw/good": "12345" });
  });

  test("that nest too deep end in a stub", async () => {
    const { repository, ...made } = await createTestRepository();
    let below = await writeEntry(repository, "x", "end");
    for (let level = 0; level < 1010; level++) {
      below = await writeDirectory(repository, "x", [below]);
    }
    await writeSnapshot(repository, below);
    const report = await fix({ ...made, repository }, INVALID);
    expect(report.changes).toMatchObject([{ action: "stub", code: "corrupt" }]);
  });
});

test("directories that are written again lie where they can be read, though the index names a lost pack", async () => {
  const made = await oneSnapshot();
  const { repository } = made;
  // What the fix will write was in the repository once, in a pack that is gone.
  const sub = await made.at("sub");
  const { entries } = await readDirectory(repository, sub.object);
  const without = await writeDirectory(
    repository,
    "sub",
    entries.filter(({ name }) => name !== "c.iso"),
  );
  await repository.flush();
  await lose(made, without.object);
  await fix(made, removing("c.iso"));
  const { damaged, snapshots } = await look(made);
  expect(damaged).toEqual([]);
  const again = await reopened(made);
  const found = await findEntry(again, snapshots[0]?.root ?? expect.fail(), "sub");
  expect(found.object).toBe(without.object);
  expect(await storedText(again, await findEntry(again, found, "bad.txt"))).toBe("the lost text");
});

test("an object id that is nowhere, and a cut pack, are damage too", async () => {
  const { repository, ...made } = await createTestRepository();
  const lost = await writeEntry(repository, "lost", "x");
  const cut = await writeEntry(repository, "cut", "some text");
  await repository.flush();
  const nowhere = { ...lost, object: parseObjectId("00".repeat(16)) };
  await writeSnapshot(repository, await writeDirectory(repository, "r", [nowhere, cut]));
  const info = repository.contents.info(splitObjectId(cut.object).contentId) ?? expect.fail();
  await changeBlob(made.store, info.packBlobId, (bytes) =>
    bytes.subarray(0, info.packOffset + info.packedLength - 1),
  );
  const report = await fix({ ...made, repository }, INVALID);
  expect(report.changes.map(({ path, code }) => `${path} ${code}`).sort()).toEqual([
    "cut corrupt",
    "lost content-not-found",
  ]);
});

async function reopened(made: TestRepository): Promise<TestRepository["repository"]> {
  return await openTestRepository(made.store, made.environment);
}
