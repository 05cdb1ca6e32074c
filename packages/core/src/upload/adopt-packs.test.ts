import { expect, test } from "vitest";
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
import type { BlobStore } from "../blob/store.ts";
import { runMaintenance } from "../maintenance/run.ts";
import { listSnapshots } from "../snapshot/snapshots.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { verify } from "../verify/verify.ts";
import { adoptPacks } from "./adopt-packs.ts";
import type { UploadReport } from "./upload-options.ts";
import { upload } from "./upload.ts";

/** What is found again of a client that was killed between its packs and its index. */

const POLICY = testPolicy({ splitter: { algorithm: "FIXED-128K" } });
const bytes = (seed: number): Uint8Array => seededEnvironment({ seed }).randomBytes(400_000);
const TREE = { a: { data: bytes(1) }, sub: { children: { b: { data: bytes(2) } } } };

/** By a client of its own. */
async function backUp(
  made: Pick<TestRepository, "store" | "environment">,
  options: { readonly resumes?: boolean } = {},
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

/** All its packs are stored, that of its manifest, too; no index is. */
async function killed(): Promise<TestRepository> {
  const made = await createTestRepository();
  const store: BlobStore = {
    ...passThrough(made.store),
    put: async (id, parts, options) => {
      if (id.startsWith("x")) {
        throw new Error("killed");
      }
      return await made.store.put(id, parts, options);
    },
  };
  await expect(backUp({ ...made, store })).rejects.toThrow("killed");
  expect(await blobIds(made.store, "p")).toHaveLength(1);
  return made;
}

async function snapshotsOf({ store, environment }: TestRepository): Promise<number> {
  await using repository = await openTestRepository(store, environment);
  expect((await verify(repository)).damagedCount).toBe(0);
  return (await listSnapshots(repository)).snapshots.length;
}

test("what a killed upload had stored is not stored again", async () => {
  const made = await killed();
  const { contentStats, snapshot } = await backUp(made, { resumes: true });
  expect(contentStats.newContents).toBe(1); // the manifest
  expect(await blobIds(made.store, "p")).toHaveLength(1);
  await using repository = await openTestRepository(made.store, made.environment);
  expect(Object.keys(await storedTree(repository, snapshot.root)).toSorted()).toEqual([
    "a",
    "sub/b",
  ]);
  expect(await snapshotsOf(made)).toBe(1);
});

test("unless it is asked to, an upload looks for nothing of the kind", async () => {
  const made = await killed();
  const read: string[] = [];
  const store: BlobStore = {
    ...passThrough(made.store),
    get: async (id, options) => {
      read.push(id);
      return await made.store.get(id, options);
    },
  };
  await backUp({ ...made, store });
  expect(read.filter((id) => id.startsWith("p"))).toEqual([]);
});

test("a snapshot that was never committed does not come back", async () => {
  const made = await killed();
  await using repository = await openTestRepository(made.store, made.environment);
  await adoptPacks(repository);
  expect(repository.contents.stats.uploadedBlobs).toBe(1); // the index
  expect(await snapshotsOf(made)).toBe(0);
});

test("a client that is at work says the same of its packs, and both snapshots hold", async () => {
  const made = await createTestRepository();
  let adopt = async (): Promise<void> => {};
  const store: BlobStore = {
    ...passThrough(made.store),
    put: async (id, parts, options) => {
      if (id.startsWith("x")) {
        await adopt(); // by another client, between this one's packs and its index
      }
      return await made.store.put(id, parts, options);
    },
  };
  let adopted = 0;
  adopt = async () => {
    await using other = await openTestRepository(made.store, made.environment);
    await adoptPacks(other);
    adopted += other.contents.stats.uploadedBlobs;
  };
  await backUp({ ...made, store });
  expect(adopted).toBe(1);
  await backUp(made, { resumes: true });
  expect(await snapshotsOf(made)).toBe(2);
  await using repository = await openTestRepository(made.store, made.environment);
  made.environment.advance(1000);
  await runMaintenance(repository, { mode: "full", safety: "none", force: true });
  expect(await snapshotsOf(made)).toBe(2);
});

test("packs that may be deleted soon, and damaged ones, are left alone", async () => {
  const old = await killed();
  old.environment.advance(13 * 3_600_000);
  expect((await backUp(old, { resumes: true })).contentStats.newContents).toBeGreaterThan(6);
  const damaged = await killed();
  for (const id of await blobIds(damaged.store, "p")) {
    await changeBlob(damaged.store, id, (whole) => whole.subarray(0, whole.length - 100));
  }
  expect((await backUp(damaged, { resumes: true })).contentStats.newContents).toBe(9);
  expect(await snapshotsOf(damaged)).toBe(1);
});
