import { describe, expect, test } from "vitest";
import { changeBlob, damageContent } from "../../test/tree-fixture.ts";
import {
  blobIds,
  createTestRepository,
  openTestRepository,
  SOURCE,
  testPolicy,
  tree,
  type TestRepository,
} from "../../test/upload-fixture.ts";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import type { BlobStore } from "../blob/store.ts";
import { openRepository } from "../repository/open-repository.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { upload } from "../upload/upload.ts";
import { verify } from "../verify/verify.ts";
import { repairContents, type RepairContentsOptions } from "./repair-contents.ts";

const LONG = Buffer.from(seededEnvironment({ seed: 3 }).randomBytes(900_000)).toString("latin1");
const FILES = {
  "a.txt": { data: "alpha" },
  empty: { data: "" },
  link: { target: "a.txt" },
  sub: { children: { long: { data: LONG }, other: { data: "other" } } },
};

async function backedUp(): Promise<TestRepository & { readonly mirror: BlobStore }> {
  const made = await createTestRepository();
  const policy = testPolicy({ splitter: { algorithm: "FIXED-128K" } });
  await upload(made.repository, { source: SOURCE, root: tree(FILES), policy });
  await made.repository.flush();
  const mirror = createMemoryStore({ environment: made.environment });
  for (const id of await blobIds(made.store)) {
    await mirror.put(id, [await made.store.get(id)]);
  }
  return { ...made, mirror };
}

async function repair(made: TestRepository, options: Partial<RepairContentsOptions>) {
  made.environment.advance(60_000);
  await using repository = await openTestRepository(made.store, made.environment);
  return await repairContents(repository, { commit: true, ...options });
}

async function damagedPaths(made: TestRepository): Promise<string[]> {
  await using repository = await openTestRepository(made.store, made.environment);
  return (await verify(repository)).damaged.map(({ path }) => path).sort();
}

/** One bit of every content of file data, or of everything. */
async function flipAll(made: TestRepository, prefix?: ""): Promise<void> {
  const options = prefix === undefined ? {} : { prefix };
  for (const info of [...made.repository.contents.entries(options)]) {
    await damageContent(made.store, info);
  }
}

describe("from a mirror", () => {
  test.each(["flipped", "missing"] as const)("everything that is %s comes back", async (how) => {
    const made = await backedUp();
    await (how === "flipped"
      ? flipAll(made)
      : Promise.all(
          ["p", "q"].map(async (prefix) => {
            for (const id of await blobIds(made.store, prefix)) {
              await made.store.delete(id);
            }
          }),
        ));
    await using mirror = await openTestRepository(made.mirror, made.environment);
    const before = await blobIds(made.store);
    const told = await repair(made, { mirror, commit: false });
    expect(await blobIds(made.store)).toEqual(before);
    const done = await repair(made, { mirror });
    expect(done).toMatchObject({ unhealed: [], fromMirror: done.damaged, fromSource: 0 });
    expect(told.fromMirror).toBe(done.fromMirror);
    expect(await damagedPaths(made)).toEqual([]);
    expect(await repair(made, {})).toMatchObject({ damaged: 0, unhealed: [] });
  });

  test("that is damaged itself, only what it has", async () => {
    const made = await backedUp();
    await flipAll(made, "");
    for (const id of await blobIds(made.mirror, "p")) {
      await changeBlob(made.mirror, id, (bytes) =>
        bytes.map((byte, at) => (at > 200_000 ? byte ^ 1 : byte)),
      );
    }
    await using mirror = await openTestRepository(made.mirror, made.environment);
    const { fromMirror, unhealed } = await repair(made, { mirror });
    expect(fromMirror).toBeGreaterThan(0);
    expect(unhealed.map(({ path }) => path)).toContain("sub/long");
    expect(await damagedPaths(made)).toEqual(unhealed.map(({ path }) => path).sort());
  });
});

describe("from the files", () => {
  test("what is as it was comes back, cut where it was cut then", async () => {
    const made = await backedUp();
    await flipAll(made, "");
    expect(await damagedPaths(made)).toEqual(["a.txt", "empty", "link", "sub/long", "sub/other"]);
    const report = await repair(made, { source: async () => tree(FILES) });
    expect(report).toMatchObject({ unhealed: [], fromMirror: 0, fromSource: report.damaged });
    expect(report.damaged).toBeGreaterThan(4 + LONG.length / 131_072);
    expect(await damagedPaths(made)).toEqual([]);
  });

  test("what has changed is named, and so is what is no file", async () => {
    const made = await backedUp();
    await flipAll(made, "");
    const changed = { ...FILES, "a.txt": { data: "ALPHA" }, link: { data: "a.txt" } };
    const { unhealed } = await repair(made, { source: async () => tree(changed) });
    expect(unhealed.map(({ path }) => path).sort()).toEqual(["a.txt", "link"]);
    expect(unhealed[0]).toMatchObject({
      snapshot: expect.stringMatching(/^[0-9a-f]{32}$/),
      code: "corrupt",
    });
    expect(await damagedPaths(made)).toEqual(["a.txt", "link"]);
  });

  test("nothing is done without any, and what cannot be read for now is no damage", async () => {
    const made = await backedUp();
    await flipAll(made, "");
    expect(await repair(made, {})).toMatchObject({ fromMirror: 0, fromSource: 0 });
    const store: BlobStore = {
      ...made.store,
      get: async (...args: Parameters<BlobStore["get"]>) => {
        if (args[0].startsWith("p")) {
          throw new Error("the network is down");
        }
        return await made.store.get(...args);
      },
    };
    await expect(repair({ ...made, store }, {})).rejects.toThrow(/network is down/);
  });
});

test("what error correction makes whole is stored anew", async () => {
  const path = new URL("../../test/golden/fixtures/v3-ecc-deflate", import.meta.url).pathname;
  const golden = await openFileSystemStore(path, { readOnly: true });
  const environment = seededEnvironment({ seed: 1 });
  const store = createMemoryStore({ environment });
  for (const id of await blobIds(golden)) {
    await store.put(id, [await golden.get(id)]);
  }
  const options = { password: "small 5", environment };
  await using repository = await openRepository(store, options);
  const infos = [...repository.contents.entries()];
  for (const info of infos) {
    await damageContent(store, info);
  }
  const [index = expect.fail()] = await blobIds(store, "xn");
  await changeBlob(store, index, (bytes) => bytes.map((byte, at) => (at === 9 ? byte ^ 1 : byte)));
  const told = await repairContents(repository, { commit: false });
  expect(told).toMatchObject({ damaged: 0, corrected: infos.length + 1 });
  expect(await repairContents(repository, { commit: true })).toEqual(told);
  expect(await repairContents(repository, { commit: true })).toMatchObject({ corrected: 0 });
  expect(await store.get(index)).toEqual(await golden.get(index));
});
