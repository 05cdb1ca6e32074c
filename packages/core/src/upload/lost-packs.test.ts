import { describe, expect, test } from "vitest";
import { changeBlob } from "../../test/tree-fixture.ts";
import {
  blobIds,
  createTestRepository,
  openTestRepository,
  SOURCE,
  storedTree,
  type TestRepository,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { passThrough } from "../blob/pass-through.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { verify } from "../verify/verify.ts";
import { upload } from "./upload.ts";
import type { UploadOptions, UploadReport } from "./upload-options.ts";

/** What a backup does when packs that the index names are gone from storage. */

const LONG = Buffer.from(seededEnvironment({ seed: 4 }).randomBytes(700_000)).toString("latin1");
const TREE = {
  "a.txt": { data: "alpha" },
  long: { data: Buffer.from(LONG, "latin1") },
  sub: { children: { "b.txt": { data: "beta" }, deep: { children: { c: { data: "gamma" } } } } },
};
const POLICY = testPolicy({ splitter: { algorithm: "FIXED-128K" } });
const STORED = { "a.txt": "alpha", long: LONG, "sub/b.txt": "beta", "sub/deep/c": "gamma" };

/** A backup by a client that has nothing in memory. */
async function backUp(
  made: Pick<TestRepository, "store" | "environment">,
  options: Partial<UploadOptions> = {},
): Promise<UploadReport> {
  made.environment.advance(60_000);
  await using repository = await openTestRepository(made.store, made.environment);
  return await upload(repository, {
    source: SOURCE,
    root: tree(TREE),
    policy: POLICY,
    ...options,
  });
}

async function verifyLatest(
  made: Pick<TestRepository, "store" | "environment">,
  report: UploadReport,
): Promise<{ damaged: number; found: Record<string, string> }> {
  await using repository = await openTestRepository(made.store, made.environment);
  const { id } = report.snapshot;
  const { damagedCount } = await verify(repository, id === undefined ? {} : { snapshots: [id] });
  return {
    damaged: damagedCount,
    found: damagedCount > 0 ? {} : await storedTree(repository, report.snapshot.root),
  };
}

async function deleteAll(made: TestRepository, prefix: string): Promise<number> {
  const ids = await blobIds(made.store, prefix);
  for (const id of ids) {
    await made.store.delete(id);
  }
  return ids.length;
}

describe("contents whose pack is gone are stored anew from the unchanged source", () => {
  test("file data", async () => {
    const made = await createTestRepository();
    await backUp(made);
    expect(await deleteAll(made, "p")).toBe(1);
    const report = await backUp(made);
    expect(report.lost).toEqual({ missingPacks: 1, shortPacks: 0, contents: 9, storedAnew: 9 });
    expect(report.stats).toMatchObject({ cachedFiles: 0, nonCachedFiles: 4 });
    expect(await verifyLatest(made, report)).toEqual({ damaged: 0, found: STORED });
  });

  test("directories, indexes of long files and manifests", async () => {
    const made = await createTestRepository();
    await backUp(made);
    const missingPacks = await deleteAll(made, "q");
    const report = await backUp(made);
    expect(report.lost).toMatchObject({ missingPacks });
    expect(report.lost.storedAnew).toBeGreaterThanOrEqual(3); // not the manifests, which nobody has
    expect(await verifyLatest(made, report)).toEqual({ damaged: 0, found: STORED });
  });

  test("one piece of a long file, whose index is there", async () => {
    const made = await createTestRepository();
    await backUp(made);
    const [pack] = await blobIds(made.store, "p");
    await changeBlob(made.store, pack ?? expect.fail(), (bytes) => bytes.subarray(0, 400_000));
    const report = await backUp(made);
    expect(report.lost).toMatchObject({ missingPacks: 0, shortPacks: 1 });
    expect(report.lost.storedAnew).toBe(report.lost.contents);
    // What lies before the cut is still trusted.
    expect(report.lost.contents).toBeLessThan(9);
    expect(report.stats.cachedFiles).toBeGreaterThan(0);
    expect(await verifyLatest(made, report)).toEqual({ damaged: 0, found: STORED });
  });

  test("all packs, and the snapshot that needed the same contents is whole again", async () => {
    const made = await createTestRepository();
    const first = await backUp(made);
    await deleteAll(made, "p");
    await backUp(made);
    expect(await verifyLatest(made, first)).toEqual({ damaged: 0, found: STORED });
  });

  test("what the source has no longer stays lost, and is said to be", async () => {
    const made = await createTestRepository();
    await backUp(made, { root: tree({ ...TREE, gone: { data: "only here" } }) });
    await deleteAll(made, "p");
    const report = await backUp(made);
    expect(report.lost).toMatchObject({ contents: 10, storedAnew: 9 });
    expect((await backUp(made)).lost).toMatchObject({ contents: 1, storedAnew: 0 });
  });
});

test("nothing is lost: everything is taken over, for one listing of each kind of pack", async () => {
  const listed: string[] = [];
  const made = await createTestRepository({
    wrap: (store) => ({
      ...passThrough(store),
      list: (prefix, options) => {
        listed.push(prefix);
        return store.list(prefix, options);
      },
    }),
  });
  await backUp(made);
  listed.length = 0;
  const report = await backUp(made);
  expect(report.lost).toEqual({ missingPacks: 0, shortPacks: 0, contents: 0, storedAnew: 0 });
  expect(report.stats).toMatchObject({ cachedFiles: 4, nonCachedFiles: 0 });
  expect(listed.filter((prefix) => /^[pq]/.test(prefix))).toEqual(["p", "q"]);
});

test("without the check the listing is spared and the index believed", async () => {
  const made = await createTestRepository();
  await backUp(made);
  await deleteAll(made, "p");
  const report = await backUp(made, { checkPacks: false });
  expect(report.lost).toEqual({ missingPacks: 0, shortPacks: 0, contents: 0, storedAnew: 0 });
  expect((await verifyLatest(made, report)).damaged).toBeGreaterThan(0);
});

test("packs that are still in hand are not lost", async () => {
  const made = await createTestRepository();
  await made.repository.contents.write(new Uint8Array(5000), { prefix: "" });
  expect(await made.repository.contents.auditPacks()).toMatchObject({ contents: 0 });
  await made.repository.flush();
  expect(await made.repository.contents.auditPacks()).toMatchObject({ contents: 0 });
});

test("what another client has moved to other packs is not lost", async () => {
  const made = await createTestRepository();
  await backUp(made);
  const late = await openTestRepository(made.store, made.environment);
  await deleteAll(made, "p");
  await backUp(made); // stores it all in a new pack
  expect(await late.contents.auditPacks()).toMatchObject({ contents: 0, missingPacks: 0 });
});
