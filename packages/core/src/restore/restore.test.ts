import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createTestRepository } from "../../test/upload-fixture.ts";
import {
  type Node,
  type Tree,
  damageContent,
  filesOf,
  flatten,
  memoryTarget,
  piecesOf,
  writeDirectory,
  writeEntry,
  writeRawDirectory,
} from "../../test/tree-fixture.ts";
import { VarveError } from "../base/errors.ts";
import { passThrough } from "../blob/pass-through.ts";
import type { BlobStore } from "../blob/store.ts";
import type { ContentInfo } from "../index/content-info.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { restore } from "./restore.ts";
import { MAX_DEPTH } from "./tree-walk.ts";

const environment = seededEnvironment({ seed: 7 });
const NOISE = environment.randomBytes(3_000_000);

/** A store that counts the reads of data packs and the bytes they gave. */
function counting(): { wrap: (store: BlobStore) => BlobStore; reads: number; bytes: number } {
  const counts = {
    reads: 0,
    bytes: 0,
    wrap: (store: BlobStore): BlobStore => ({
      ...passThrough(store),
      async get(id, options) {
        const bytes = await store.get(id, options);
        if (id.startsWith("p")) {
          counts.reads += 1;
          counts.bytes += bytes.length;
        }
        return bytes;
      },
    }),
  };
  return counts;
}

async function stored(repository: Repository, tree: Tree): Promise<DirectoryEntry> {
  const root = await writeEntry(repository, "root", { tree });
  await repository.flush();
  return root;
}

/** As under a low ceiling of memory. */
function withParallelReads(repository: Repository, parallelReads: number): Repository {
  const memory = { ...repository.memory, parallelReads };
  return new Proxy(repository, {
    get: (whole, name) => (name === "memory" ? memory : Reflect.get(whole, name, whole)),
  });
}

function infoOf(repository: Repository, object: ObjectId): ContentInfo {
  return (
    repository.contents.info(splitObjectId(object).contentId) ?? expect.fail(`no content ${object}`)
  );
}

function entryOf(entries: readonly DirectoryEntry[], name: string): DirectoryEntry {
  return entries.find((entry) => entry.name === name) ?? expect.fail(`no entry ${name}`);
}

const TREE: Tree = {
  empty: "",
  small: "small",
  noise: NOISE,
  again: NOISE,
  zeros: new Uint8Array(1_000_000),
  link: { link: "small" },
  sub: { tree: { deeper: { tree: { file: "in deeper" } }, file: "in sub", none: { tree: {} } } },
};

describe.each([{ ordered: false }, { ordered: true }])("to a target with %o", ({ ordered }) => {
  test("every file and link comes back, every directory is finished after what is in it", async () => {
    const { repository } = await createTestRepository();
    const target = memoryTarget({ ordered });
    const report = await restore(repository, { root: await stored(repository, TREE), target });
    expect(report.failures).toEqual([]);
    expect(filesOf(target)).toEqual(flatten(TREE));
    expect(report).toMatchObject({ files: 7, directories: 4, symlinks: 1, failed: 0 });
    expect(report.bytes).toBe(5 + 2 * NOISE.length + 1_000_000 + 9 + 6);
    expect(target.log.at(-1)).toBe("end");
    if (!ordered) {
      expect(target.found.get("sub/deeper/")).toBe("1");
      expect(target.log.indexOf("finish sub")).toBeGreaterThan(target.log.indexOf("file sub/file"));
      expect(target.log.indexOf("finish ")).toBe(target.log.length - 2);
    }
  });

  test("more files and bytes than a window holds", async () => {
    const tree: Record<string, Node> = { big: environment.randomBytes(36_000_000) };
    for (let index = 0; index < 600; index++) {
      tree[`f${index}`] = `file ${index % 300}`;
    }
    const { repository } = await createTestRepository();
    const target = memoryTarget({ ordered });
    const root = await stored(repository, tree);
    const few = withParallelReads(repository, 1);
    const report = await restore(few, { root, target });
    expect(report.failures).toEqual([]);
    expect(report.files).toBe(601);
    const files = filesOf(target);
    expect(files.get("f599")).toBe("file 299");
    expect(Buffer.from(files.get("big") ?? "", "latin1").equals(tree["big"] as Uint8Array)).toBe(
      true, // set above
    );
  });
});

test("any tree comes back, in order or not", async () => {
  const { repository } = await createTestRepository();
  const name = fc.stringMatching(/^[a-c]{1,2}$/);
  const { node } = fc.letrec<{ node: Node }>((tie) => ({
    node: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.integer({ min: 0, max: 400_000 }).map((length) => NOISE.subarray(0, length)),
      fc.record({ link: fc.stringMatching(/^[a-z/.]{1,20}$/) }),
      fc.record({ tree: fc.dictionary(name, tie("node"), { maxKeys: 4 }) }),
    ),
  }));
  const trees = fc.dictionary(name, node, { maxKeys: 5 });
  await fc.assert(
    fc.asyncProperty(trees, fc.boolean(), async (tree, ordered) => {
      const target = memoryTarget({ ordered });
      const report = await restore(repository, { root: await stored(repository, tree), target });
      expect(report.failures).toEqual([]);
      expect(filesOf(target)).toEqual(flatten(tree));
    }),
    { seed: 1, numRuns: 50 },
  );
});

describe("reading", () => {
  test("many small files of one pack come with few reads, a shared content with one", async () => {
    const counts = counting();
    const { repository } = await createTestRepository({ wrap: counts.wrap });
    const tree: Record<string, Node> = {};
    for (let index = 0; index < 200; index++) {
      tree[`f${index}`] = `file ${index}`;
      tree[`n${index}`] = NOISE.subarray(0, 100_000);
    }
    const root = await stored(repository, tree);
    const target = memoryTarget();
    await restore(repository, { root, target });
    expect(filesOf(target).size).toBe(400);
    expect(counts.reads).toBeLessThanOrEqual(4);
    expect(counts.bytes).toBeLessThan(300_000);
  });

  test("what is skipped is not read", async () => {
    const counts = counting();
    const { repository } = await createTestRepository({ wrap: counts.wrap });
    const root = await stored(repository, { a: NOISE, b: "b" });
    const target = memoryTarget({ skip: () => true });
    const report = await restore(repository, { root, target });
    expect(report).toMatchObject({ skipped: 2, files: 0, failed: 0 });
    expect(counts.reads).toBe(0);
  });

  test("contents that are not flushed yet are restored too", async () => {
    const { repository } = await createTestRepository();
    const root = await writeEntry(repository, "root", { tree: { file: "pending" } });
    const target = memoryTarget();
    const report = await restore(repository, { root, target });
    expect(report.failures).toEqual([]);
    expect(filesOf(target)).toEqual(new Map([["file", "pending"]]));
  });

  test("a single file is a root, and a bare object id too", async () => {
    const { repository } = await createTestRepository();
    const entry = await writeEntry(repository, "alone", NOISE);
    const root = await stored(repository, { alone: "x" });
    const file = memoryTarget();
    await restore(repository, { root: entry, target: file });
    expect([...file.found.keys()]).toEqual([""]);
    const bare = memoryTarget();
    await restore(repository, { root: entry.object, target: bare });
    expect(bare.found.get("")?.length).toBe(NOISE.length);
    const directory = memoryTarget();
    await restore(repository, { root: root.object, target: directory });
    expect(filesOf(directory)).toEqual(new Map([["alone", "x"]]));
  });
});

describe("damage", () => {
  test("spoils the files that need it and no neighbour", async () => {
    const { repository, store } = await createTestRepository();
    const entries: DirectoryEntry[] = [];
    for (let index = 0; index < 20; index++) {
      entries.push(await writeEntry(repository, `f${index}`, `file ${index}`));
    }
    entries.push({ ...entryOf(entries, "f7"), name: "copy" });
    const root = await writeDirectory(repository, "root", entries);
    await repository.flush();
    await damageContent(store, infoOf(repository, entryOf(entries, "f7").object));
    const target = memoryTarget();
    const report = await restore(repository, { root, target });
    expect(report.failures.map(({ path, code }) => `${path} ${code}`).sort()).toEqual([
      "copy corrupt",
      "f7 corrupt",
    ]);
    expect(report).toMatchObject({ files: 19, failed: 2 });
    expect(target.log).toContain("abandon f7");
  });

  test("a file damaged half way is abandoned, in order too", async () => {
    const { repository, store } = await createTestRepository();
    const root = await stored(repository, { a: NOISE, b: "fine" });
    const { entries } = await readDirectory(repository, root.object);
    const pieces = await piecesOf(repository, entryOf(entries, "a").object);
    await damageContent(store, infoOf(repository, pieces[5]?.object ?? root.object));
    for (const ordered of [false, true]) {
      const target = memoryTarget({ ordered });
      const report = await restore(repository, { root, target });
      expect(report.failures.map(({ path }) => path)).toEqual(["a"]);
      expect([...filesOf(target).keys()]).toEqual(["b"]);
      expect(target.log).toContain("abandon a");
    }
  });

  test("with ignoreErrors false the first failure ends it", async () => {
    const { repository, store } = await createTestRepository();
    const file = await writeEntry(repository, "file", "file");
    const root = await writeDirectory(repository, "root", [file]);
    await repository.flush();
    await damageContent(store, infoOf(repository, file.object));
    const target = memoryTarget();
    const failed = restore(repository, { root, target, ignoreErrors: false });
    await expect(failed).rejects.toMatchObject({ code: "corrupt" });
    expect(target.log.at(-1)).toBe("abandoned");
  });

  test("a directory that cannot be read is one failure, its neighbours are restored", async () => {
    const { repository } = await createTestRepository();
    const gone = { ...(await writeEntry(repository, "gone", { tree: {} })) };
    const file = await writeEntry(repository, "file", "file");
    const missing = { ...gone, object: `k${"00".repeat(16)}` as ObjectId }; // a well-formed id
    const root = await writeDirectory(repository, "root", [missing, file]);
    const target = memoryTarget();
    const report = await restore(repository, { root, target });
    expect(report.failures).toMatchObject([{ path: "gone", code: "content-not-found" }]);
    expect(filesOf(target)).toEqual(new Map([["file", "file"]]));
  });
});

describe("hostile trees", () => {
  test("names that would lead elsewhere are reported and nothing is made of them", async () => {
    const { repository } = await createTestRepository();
    const { object } = await writeEntry(repository, "x", "x");
    const names = ["..", ".", "", "a/b", "/etc/passwd", "nul\0", "good", "good"];
    const entries = names.map((name) => ({ name, type: "f", mode: "0644", size: 1, obj: object }));
    const target = memoryTarget();
    const root = await writeRawDirectory(repository, entries);
    const report = await restore(repository, { root, target });
    expect([...filesOf(target).keys()]).toEqual(["good"]);
    expect(report.failed).toBe(7);
    expect(new Set(report.failures.map(({ code }) => code))).toEqual(new Set(["corrupt"]));
  });

  test("a length that is not the object's is reported, and the object is restored", async () => {
    const { repository } = await createTestRepository();
    const file = await writeEntry(repository, "file", "12345");
    const root = await writeDirectory(repository, "root", [{ ...file, sizeBytes: 10 ** 15 }]);
    const target = memoryTarget();
    const report = await restore(repository, { root, target });
    expect(report.failures).toMatchObject([{ path: "file", code: "corrupt" }]);
    expect(filesOf(target)).toEqual(new Map([["file", "12345"]]));
  });

  test("directories nested without end are cut off", async () => {
    const { repository } = await createTestRepository();
    let root = await writeEntry(repository, "d", { tree: {} });
    for (let depth = 0; depth < MAX_DEPTH + 2; depth++) {
      root = await writeDirectory(repository, "d", [root]);
    }
    const report = await restore(repository, { root, target: memoryTarget() });
    expect(report.failures).toMatchObject([{ code: "corrupt" }]);
    expect(report.directories).toBe(MAX_DEPTH + 1);
  });

  test("a link's text of a megabyte is reported", async () => {
    const { repository } = await createTestRepository();
    const file = await writeEntry(repository, "link", new Uint8Array(1_000_000));
    const root = await writeDirectory(repository, "root", [{ ...file, type: "symlink" }]);
    const report = await restore(repository, { root, target: memoryTarget() });
    expect(report.failures).toMatchObject([{ path: "link", code: "corrupt" }]);
  });
});

describe("ending early", () => {
  test("an abort rejects with its reason, lets go of open files and abandons the target", async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    const { repository } = await createTestRepository();
    const root = await stored(repository, { a: NOISE, b: "b" });
    const target = memoryTarget();
    const aborting = {
      ...target,
      file: async (...args: Parameters<typeof target.file>) => {
        abort.abort(reason);
        return await target.file(...args);
      },
    };
    const aborted = restore(repository, { root, target: aborting, signal: abort.signal });
    await expect(aborted).rejects.toBe(reason);
    expect(target.log.at(-1)).toBe("abandoned");
    expect(target.log.some((line) => line.startsWith("abandon "))).toBe(true);
    expect(target.log).not.toContain("end");
  });

  test("a target that fails for one entry gets the others", async () => {
    const { repository } = await createTestRepository();
    const root = await stored(repository, { a: "a", b: "b", d: { tree: { c: "c" } } });
    const target = memoryTarget();
    const failing = {
      ...target,
      directory: async (...args: Parameters<typeof target.directory>) => {
        if (args[0].name === "d") {
          throw new VarveError("access-denied", "no");
        }
        return await target.directory(...args);
      },
      file: async (...args: Parameters<typeof target.file>) => {
        if (args[0].name === "a") {
          throw new VarveError("storage-full", "no room");
        }
        return await target.file(...args);
      },
    };
    const report = await restore(repository, { root, target: failing });
    expect(report.failures.map(({ path, code }) => `${path} ${code}`).sort()).toEqual([
      "a storage-full",
      "d access-denied",
    ]);
    expect([...filesOf(target).keys()]).toEqual(["b"]);
  });
});
