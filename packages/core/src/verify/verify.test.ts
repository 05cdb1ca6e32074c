import { describe, expect, test } from "vitest";
import {
  type Node,
  changeBlob,
  damageContent,
  piecesOf,
  writeBytes,
  writeDirectory,
  writeEntry,
  writeRawDirectory,
  writeSnapshot,
} from "../../test/tree-fixture.ts";
import {
  type TestRepository,
  createTestRepository,
  openTestRepository,
} from "../../test/upload-fixture.ts";
import { utf8 } from "../base/bytes.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { type ObjectId, parseObjectId, splitObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { parseManifestId } from "../manifest/manifest-store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { type VerifyOptions, type VerifyReport, verify } from "./verify.ts";
import { verifyContents } from "./verify-contents.ts";

const NOISE = seededEnvironment({ seed: 9 }).randomBytes(1_000_000);

interface Fixture extends TestRepository {
  readonly first: string;
  readonly second: string;
  /** Entries by path in the first snapshot. */
  readonly at: Record<"a" | "big" | "sub" | "sub/a again" | "sub/c", DirectoryEntry>;
}

/** Each entry in packs of its own; the second snapshot shares `sub` and has one file more. */
async function twoSnapshots(): Promise<Fixture> {
  const made = await createTestRepository();
  const { repository } = made;
  const write = async (name: string, node: Node): Promise<DirectoryEntry> => {
    const entry = await writeEntry(repository, name, node);
    await repository.flush();
    return entry;
  };
  const a = await write("a", "the text of a");
  const big = await write("big", NOISE);
  const c = await write("c", "the text of c");
  const again = { ...a, name: "a again" };
  const sub = await writeDirectory(repository, "sub", [again, c]);
  await repository.flush();
  const first = await writeSnapshot(
    repository,
    await writeDirectory(repository, "r", [a, big, sub]),
  );
  const other = await write("other", "only in the second");
  const second = await writeSnapshot(
    repository,
    await writeDirectory(repository, "r", [other, sub]),
  );
  return {
    ...made,
    first: first.id,
    second: second.id,
    at: { a, big, sub, "sub/a again": again, "sub/c": c },
  };
}

function infoOf(repository: Repository, object: ObjectId): ContentInfo {
  return (
    repository.contents.info(splitObjectId(object).contentId) ?? expect.fail(`no content ${object}`)
  );
}

/** `snapshot:path code`, the snapshots numbered. */
function damagedPaths(fixture: Fixture, report: VerifyReport): string[] {
  expect(report.damagedCount).toBe(report.damaged.length);
  return report.damaged
    .map(({ snapshot, path, code }) => {
      const number = snapshot === fixture.first ? 1 : snapshot === fixture.second ? 2 : 0;
      return `${number}:${path} ${code}`;
    })
    .sort();
}

/** Verifies as somebody who has nothing in memory. */
async function verifyAnew(fixture: Fixture, options: VerifyOptions = {}): Promise<string[]> {
  await using repository = await openTestRepository(fixture.store, fixture.environment);
  return damagedPaths(fixture, await verify(repository, options));
}

const EVERY_PATH_OF_A = ["1:a corrupt", "1:sub/a again corrupt", "2:sub/a again corrupt"];

describe("what is damaged is named by every path that needs it", () => {
  test("nothing is, and every content of a file is read once", async () => {
    const fixture = await twoSnapshots();
    const report = await verify(fixture.repository);
    expect(damagedPaths(fixture, report)).toEqual([]);
    const fileBytes = "the text of a".length * 2 + NOISE.length + "only in the second".length;
    expect(report).toMatchObject({ snapshots: 2, directories: 3, files: 4, bytesRead: fileBytes });
    expect(report.contentsRead).toBe(3 + Math.ceil(NOISE.length / 131_072));
  });

  test("a flipped bit in a content", async () => {
    const fixture = await twoSnapshots();
    await damageContent(fixture.store, infoOf(fixture.repository, fixture.at.a.object));
    expect(await verifyAnew(fixture)).toEqual(EVERY_PATH_OF_A);
    expect(await verifyAnew(fixture, { readFraction: 0 })).toEqual([]);
  });

  test("a truncated pack, without reading it", async () => {
    const fixture = await twoSnapshots();
    const info = infoOf(fixture.repository, fixture.at.a.object);
    await changeBlob(fixture.store, info.packBlobId, (bytes) =>
      bytes.subarray(0, info.packOffset + info.packedLength - 1),
    );
    expect(await verifyAnew(fixture, { readFraction: 0 })).toEqual(EVERY_PATH_OF_A);
    expect(await verifyAnew(fixture)).toEqual(EVERY_PATH_OF_A);
  });

  test("a missing pack, without reading it", async () => {
    const fixture = await twoSnapshots();
    const { packBlobId } = infoOf(fixture.repository, fixture.at.a.object);
    await fixture.store.delete(packBlobId);
    const missing = EVERY_PATH_OF_A.map((line) => line.replace("corrupt", "blob-not-found"));
    expect(await verifyAnew(fixture, { readFraction: 0 })).toEqual(missing);
  });

  test("one piece of a long file, and the index of its pieces", async () => {
    const fixture = await twoSnapshots();
    const { object } = fixture.at.big;
    const pieces = await piecesOf(fixture.repository, object);
    expect(pieces.length).toBeGreaterThan(5);
    await damageContent(fixture.store, infoOf(fixture.repository, pieces[3]?.object ?? object));
    expect(await verifyAnew(fixture)).toEqual(["1:big corrupt"]);
    const other = await twoSnapshots();
    await damageContent(other.store, infoOf(other.repository, object));
    expect(await verifyAnew(other)).toEqual(["1:big corrupt"]);
  });

  test("a directory stands for all in it, and the rest is checked all the same", async () => {
    const fixture = await twoSnapshots();
    await damageContent(fixture.store, infoOf(fixture.repository, fixture.at.sub.object));
    await damageContent(fixture.store, infoOf(fixture.repository, fixture.at.a.object));
    expect(await verifyAnew(fixture)).toEqual(["1:a corrupt", "1:sub corrupt", "2:sub corrupt"]);
  });

  test("contents that are in no index", async () => {
    const { repository, ...made } = await createTestRepository();
    const lost = await writeEntry(repository, "lost", "x");
    const root = await writeDirectory(repository, "r", [
      { ...lost, object: parseObjectId("00".repeat(16)) },
    ]);
    const { id } = await writeSnapshot(repository, root);
    const fixture = { ...made, repository, first: id, second: "", at: {} };
    const report = await verify(repository);
    expect(report.damaged).toMatchObject([
      { snapshot: fixture.first, path: "lost", code: "content-not-found" },
    ]);
  });
});

describe("hostile records", () => {
  test("manifests that cannot be read, for snapshots may be among them", async () => {
    const fixture = await twoSnapshots();
    const { store, environment, repository } = fixture;
    for (const info of repository.contents.entries({ prefix: "m" })) {
      await damageContent(store, info);
    }
    const report = await verify(await openTestRepository(store, environment));
    expect(report).toMatchObject({ snapshots: 0 });
    expect(report.damagedCount).toBeGreaterThan(0);
    expect(report.damaged[0]).toMatchObject({
      snapshot: expect.stringMatching(/^m/),
      path: "",
      code: "corrupt",
    });
  });

  test("names that restore would refuse, and lengths that are not so", async () => {
    const { repository } = await createTestRepository();
    const object = await writeBytes(repository, utf8("12345"));
    const file = { type: "f", mode: "0644", obj: object };
    const raw = await writeRawDirectory(repository, [
      { ...file, name: "..", size: 5 },
      { ...file, name: "liar", size: 6 },
      { ...file, name: "good", size: 5 },
    ]);
    const root = await writeDirectory(repository, "r", [raw]);
    const { id } = await writeSnapshot(repository, root);
    const report = await verify(repository);
    expect(report.damaged.map(({ path, code }) => `${path} ${code}`).sort()).toEqual([
      "raw/.. corrupt",
      "raw/liar corrupt",
    ]);
    expect(report.damaged[0]?.snapshot).toBe(id);
  });

  test("a tree that doubles at every level is read in one pass", async () => {
    const { repository } = await createTestRepository();
    let root = await writeEntry(repository, "d", { tree: { file: "x" } });
    for (let level = 0; level < 60; level++) {
      const half = { ...root, summary: undefined }; // its totals double too, beyond all numbers
      root = await writeDirectory(repository, "d", [
        { ...half, name: "left" },
        { ...half, name: "right" },
      ]);
    }
    await writeSnapshot(repository, root);
    const report = await verify(repository);
    expect(report).toMatchObject({ damagedCount: 0, directories: 61, files: 1 });
  });
});

describe("what to verify can be chosen", () => {
  test("snapshots by id, roots by object id", async () => {
    const fixture = await twoSnapshots();
    await damageContent(fixture.store, infoOf(fixture.repository, fixture.at.big.object));
    const second = parseManifestId(fixture.second);
    expect(await verifyAnew(fixture, { snapshots: [second] })).toEqual([]);
    const { big, sub } = fixture.at;
    expect(await verifyAnew(fixture, { roots: [sub.object] })).toEqual([]);
    expect(await verifyAnew(fixture, { roots: [sub.object, big.object] })).toEqual(["0: corrupt"]);
    const unknown = verify(fixture.repository, { snapshots: [parseManifestId("unknown")] });
    await expect(unknown).rejects.toMatchObject({ code: "manifest-not-found" });
  });

  test("a fraction reads the same files for the same seed", async () => {
    const { repository } = await createTestRepository();
    const tree: Record<string, Node> = {};
    for (let index = 0; index < 200; index++) {
      tree[`f${index}`] = `file ${index}`;
    }
    await writeSnapshot(repository, await writeEntry(repository, "r", { tree }));
    const read = async (readFraction: number, readSeed?: string): Promise<number> =>
      (await verify(repository, { readFraction, readSeed })).contentsRead;
    const half = await read(0.5);
    expect(half).toBeGreaterThan(70);
    expect(half).toBeLessThan(130);
    expect(await read(0.5)).toBe(half);
    expect(await read(0)).toBe(0);
    expect(await read(1)).toBe(200);
  });

  test("an abort rejects with its reason", async () => {
    const fixture = await twoSnapshots();
    const reason = new Error("enough");
    const aborted = verify(fixture.repository, { signal: AbortSignal.abort(reason) });
    await expect(aborted).rejects.toBe(reason);
  });
});

describe("contents against packs", () => {
  test("counts what is missing, truncated and corrupted, and names the packs", async () => {
    const fixture = await twoSnapshots();
    const { repository, store, at } = fixture;
    const missing = infoOf(repository, at.a.object);
    const truncated = infoOf(repository, at["sub/c"].object);
    const pieces = await piecesOf(repository, at.big.object);
    const corrupted = infoOf(repository, pieces[0]?.object ?? at.big.object);
    await store.delete(missing.packBlobId);
    await changeBlob(store, truncated.packBlobId, (bytes) =>
      bytes.subarray(0, truncated.packOffset + 3),
    );
    await damageContent(store, corrupted);
    await using anew = await openTestRepository(store, fixture.environment);
    const quick = await verifyContents(anew, { readFraction: 0 });
    expect(quick).toMatchObject({
      contentsInMissingPacks: 1,
      contentsInTruncatedPacks: 1,
      unreadableContents: 0,
      contentsRead: 0,
      damagedCount: 2,
    });
    const full = await verifyContents(anew, { readFraction: 1 });
    expect(full).toMatchObject({ unreadableContents: 1, damagedCount: 3 });
    expect(full.contentsRead).toBe(full.contents - 3);
    expect(new Map(full.packs.map(({ id, problem }) => [id, problem]))).toEqual(
      new Map([
        [missing.packBlobId, "missing"],
        [truncated.packBlobId, "truncated"],
        [corrupted.packBlobId, "corrupted"],
      ]),
    );
    expect(full.damaged.map(({ content }) => content).sort()).toEqual(
      [missing.id, truncated.id, corrupted.id].sort(),
    );
    const byPath = full.affected.map(({ snapshot, path }) => `${snapshot} ${path}`).sort();
    const { first, second } = fixture;
    const inBoth = ["sub/a again", "sub/c"];
    expect(byPath).toEqual(
      [
        ...["a", "big", ...inBoth].map((path) => `${first} ${path}`),
        ...inBoth.map((path) => `${second} ${path}`),
      ].sort(),
    );
    const metadata = await verifyContents(anew, { readFraction: 1, prefix: "k" });
    expect(metadata).toMatchObject({ contents: 3, damagedCount: 0 });
  });
});
