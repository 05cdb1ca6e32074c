import { describe, expect, test } from "vitest";
import {
  blobIds,
  createTestRepository,
  directoryOf,
  fileWith,
  openTestRepository,
  SOURCE,
  storedText,
  storedTree,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { VarveError } from "../base/errors.ts";
import { parseObjectId } from "../object/object-id.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { listSnapshots } from "../snapshot/snapshots.ts";
import { memorySource } from "../source/memory-source.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import { streamSource } from "../source/stream-source.ts";
import { upload } from "./upload.ts";
import type { UploadOptions, UploadProgress } from "./upload-options.ts";

const TREE = {
  "a.txt": { data: "alpha", mtimeNs: 5n },
  empty: { children: {} },
  link: { target: "a.txt", mtimeNs: 7n },
  sub: { children: { "b.txt": { data: "beta", mtimeNs: 9n }, nothing: { data: "" } } },
};

function options(root: SourceEntry, more: Partial<UploadOptions> = {}): UploadOptions {
  return { source: SOURCE, root, policy: testPolicy(), ...more };
}

describe("a snapshot", () => {
  test("holds the tree, and its root's summary counts it (spec §6.4)", async () => {
    const { repository } = await createTestRepository();
    const { snapshot, saved, errors } = await upload(repository, options(tree(TREE)));
    expect(saved).toBe(true);
    expect(errors).toEqual([]);
    expect(await storedTree(repository, snapshot.root)).toEqual({
      "a.txt": "alpha",
      "empty/": "",
      link: "a.txt",
      "sub/b.txt": "beta",
      "sub/nothing": "",
    });
    expect(snapshot.root.summary).toEqual({
      sizeBytes: 9,
      files: 3,
      symlinks: 1,
      directories: 3,
      maxTimeNs: 9n,
      failed: 0,
      ignoredErrors: 0,
      errors: [],
    });
    expect(snapshot.stats).toMatchObject({
      fileCount: 3,
      nonCachedFiles: 3,
      dirCount: 3,
      totalSize: 9,
    });
  });

  test("is found by another client after the upload, without a flush of the caller's", async () => {
    const { repository, store, environment } = await createTestRepository();
    const { snapshot } = await upload(
      repository,
      options(tree(TREE), { description: "first", tags: { k: "v" }, pins: ["b", "a", "b"] }),
    );
    const other = await openTestRepository(store, environment);
    const { snapshots } = await listSnapshots(other, { source: SOURCE });
    expect(snapshots).toEqual([snapshot]);
    expect(snapshots[0]).toMatchObject({
      description: "first",
      tags: { k: "v" },
      pins: ["a", "b"],
    });
  });

  test("of a single file has the file as its root, with a summary (behaviour §1.11)", async () => {
    const { repository } = await createTestRepository();
    const root = memorySource("notes", { data: "text", mtimeNs: 3n });
    const { snapshot } = await upload(repository, options(root));
    expect(snapshot.root).toMatchObject({
      type: "file",
      name: "notes",
      sizeBytes: 4,
      summary: { files: 1, sizeBytes: 4, directories: 0, maxTimeNs: 3n },
    });
    expect(await storedText(repository, snapshot.root)).toBe("text");
  });

  test("takes times that are given, and one moves the other", async () => {
    const { repository, environment } = await createTestRepository();
    const slow = directoryOf("data", [
      fileWith("a", "x", { before: () => environment.advance(5000) }),
    ]);
    const { snapshot } = await upload(repository, options(slow, { endTimeNs: 9_000_000_000n }));
    expect(snapshot).toMatchObject({ startTimeNs: 4_000_000_000n, endTimeNs: 9_000_000_000n });
    const bad = upload(repository, options(slow, { startTimeNs: 2n, endTimeNs: 1n }));
    await expect(bad).rejects.toMatchObject({ code: "invalid-argument" });
  });

  test("of a stream holds what came, and its length (behaviour §1.11)", async () => {
    const { repository, environment } = await createTestRepository();
    const data = (async function* () {
      yield new Uint8Array(1_000_000).fill(65);
      yield new Uint8Array(1_000_000).fill(66);
    })();
    const root = streamSource({ name: "dump", data, directoryName: "/data", environment });
    const { snapshot } = await upload(repository, options(root));
    expect(snapshot.root).toMatchObject({ name: "/data", summary: { sizeBytes: 2_000_000 } });
    expect(await storedTree(repository, snapshot.root)).toEqual({
      dump: "A".repeat(1_000_000) + "B".repeat(1_000_000),
    });
  });

  test("of a huge folder is complete", async () => {
    const { repository } = await createTestRepository();
    const children = Object.fromEntries(
      Array.from({ length: 5000 }, (_, index) => [`f${index}`, { data: `data ${index % 100}` }]),
    );
    const { snapshot } = await upload(repository, options(tree(children)));
    const { entries } = await readDirectory(repository, snapshot.root.object);
    expect(entries).toHaveLength(5000);
    expect(new Set(entries.map((entry) => entry.object)).size).toBe(100);
  });

  test("keeps a path's policy: splitter, compressor and metadata compressor", async () => {
    const { repository } = await createTestRepository();
    const data = "compress me ".repeat(50_000);
    const policy = testPolicy({
      splitter: { algorithm: "FIXED-128K" },
      compression: { compressorName: "zstd-fastest" },
      metadataCompression: { compressorName: "none" },
    });
    const { snapshot } = await upload(repository, options(tree({ f: { data } }), { policy }));
    const [file] = (await readDirectory(repository, snapshot.root.object)).entries;
    const infos = [];
    for await (const id of repository.objects.contents(file?.object ?? snapshot.root.object)) {
      infos.push(repository.contents.info(id));
    }
    const data0 = infos.filter((info) => info?.id.startsWith("x") === false);
    expect(data0.map((info) => info?.originalLength)).toEqual([
      131072, 131072, 131072, 131072, 75712,
    ]);
    expect(data0.every((info) => info?.compressionHeaderId === 0x1101)).toBe(true);
    expect(infos.find((info) => info?.id.startsWith("x"))?.compressionHeaderId).toBe(0);
  });
});

describe("a second snapshot", () => {
  test("of an unchanged tree adds one manifest content and nothing else", async () => {
    const { repository, environment } = await createTestRepository();
    const first = await upload(repository, options(tree(TREE)));
    const before = new Set([...repository.contents.entries()].map((info) => info.id));
    environment.advance(1000);
    const second = await upload(repository, options(tree(TREE)));
    const added = [...repository.contents.entries()].filter((info) => !before.has(info.id));
    expect(added.map((info) => info.id.slice(0, 1))).toEqual(["m"]);
    expect(second.snapshot.root).toEqual(first.snapshot.root);
    expect(second.contentStats.newContents).toBe(1);
    expect(second.stats).toMatchObject({
      cachedFiles: 4,
      nonCachedFiles: 0,
      fileCount: 0,
      totalSize: 14,
    });
  });

  test("never reads an unchanged file, and reads it again when one thing differs (behaviour §1.3)", async () => {
    const { repository } = await createTestRepository();
    let reads = 0;
    const root = (meta: Partial<SourceEntry["meta"]>): SourceEntry =>
      directoryOf("data", [fileWith("a", "same", { before: () => reads++, meta })]);
    await upload(repository, options(root({})));
    await upload(repository, options(root({})));
    expect(reads).toBe(1);
    for (const meta of [{ mtimeNs: 1n }, { mode: 0o600 }, { uid: 1 }, { gid: 1 }]) {
      await upload(repository, options(root({})));
      reads = 0;
      await upload(repository, options(root(meta)));
      expect(reads).toBe(1);
    }
  });

  test("uploads nothing of a renamed file", async () => {
    const { repository } = await createTestRepository();
    const data = "d".repeat(10_000);
    await upload(repository, options(tree({ before: { data, mtimeNs: 1n } })));
    const { contentStats, snapshot } = await upload(
      repository,
      options(tree({ after: { data, mtimeNs: 1n } })),
    );
    expect(contentStats.newContents).toBe(2); // the directory and the manifest
    expect(await storedTree(repository, snapshot.root)).toEqual({ after: data });
  });

  test("reads everything with forceHashPercent 100", async () => {
    const { repository } = await createTestRepository();
    await upload(repository, options(tree(TREE)));
    const { stats } = await upload(repository, options(tree(TREE), { forceHashPercent: 100 }));
    expect(stats).toMatchObject({ cachedFiles: 0, nonCachedFiles: 3 });
  });

  test("reads a file again whose stored content is gone", async () => {
    const { repository } = await createTestRepository();
    const { snapshot } = await upload(repository, options(tree(TREE)));
    const { entries } = await readDirectory(repository, snapshot.root.object);
    const file = entries.find((entry) => entry.name === "a.txt");
    for await (const id of repository.objects.contents(file?.object ?? snapshot.root.object)) {
      repository.contents.remove([id]);
    }
    const again = await upload(repository, options(tree(TREE)));
    expect(again.stats).toMatchObject({ cachedFiles: 3, nonCachedFiles: 1 });
    expect(await storedTree(repository, again.snapshot.root)).toMatchObject({ "a.txt": "alpha" });
  });

  test("goes on without an earlier directory that cannot be read", async () => {
    const { repository, environment } = await createTestRepository();
    const { snapshot } = await upload(repository, options(tree(TREE)));
    const object = parseObjectId(`k${"0".repeat(32)}`);
    const previous = [{ ...snapshot, root: { ...snapshot.root, object } }];
    const again = await upload(repository, options(tree(TREE), { previous }));
    expect(again.stats.nonCachedFiles).toBe(3);
    expect(environment.events.map((event) => event.level)).toContain("warning");
  });

  test("is not saved when the policy ignores identical ones, unless something changed", async () => {
    const { repository } = await createTestRepository();
    const policy = testPolicy({ retention: { ignoreIdenticalSnapshots: true } });
    await upload(repository, options(tree(TREE), { policy }));
    const same = await upload(repository, options(tree(TREE), { policy }));
    expect(same.saved).toBe(false);
    expect(same.snapshot.id).toBeUndefined();
    const other = await upload(repository, options(tree({}), { policy }));
    expect(other.saved).toBe(true);
    expect((await listSnapshots(repository)).snapshots).toHaveLength(2);
  });

  test("expires what the policy no longer keeps", async () => {
    const { repository, environment } = await createTestRepository();
    const policy = testPolicy({
      retention: {
        keepLatest: 2,
        keepHourly: 0,
        keepDaily: 0,
        keepWeekly: 0,
        keepMonthly: 0,
        keepAnnual: 0,
      },
    });
    const expired: number[] = [];
    for (let count = 0; count < 4; count++) {
      environment.advance(1000);
      expired.push((await upload(repository, options(tree(TREE), { policy }))).expired);
    }
    expect(expired).toEqual([0, 0, 1, 1]);
    expect((await listSnapshots(repository)).snapshots).toHaveLength(2);
  });
});

describe("what cannot be stored", () => {
  test("a file that fails is missing, and stands in the report and in the summaries above it", async () => {
    const { repository } = await createTestRepository();
    const root = directoryOf("data", [
      directoryOf("sub", [broken("bad"), fileWith("good", "g")]),
      { name: "unseen", error: new VarveError("source-failed", "lstat: denied") },
    ]);
    const { snapshot, errors, stats } = await upload(repository, options(root));
    expect(await storedTree(repository, snapshot.root)).toEqual({ "sub/good": "g" });
    expect(errors).toEqual(
      [
        { path: "unseen", code: "source-failed", message: "lstat: denied", ignored: false },
        { path: "sub/bad", code: "source-failed", message: "read bad: gone", ignored: false },
      ].sort((a, b) => (a.path < b.path ? -1 : 1)),
    );
    expect(stats).toMatchObject({ errorCount: 2, ignoredErrorCount: 0 });
    expect(snapshot.incomplete).toBeUndefined();
    expect(snapshot.root.summary).toMatchObject({
      failed: 2,
      errors: [
        { path: "sub/bad", error: "read bad: gone" },
        { path: "unseen", error: "lstat: denied" },
      ],
    });
  });

  test("the policy may ignore errors of files and of directories apart", async () => {
    const { repository } = await createTestRepository();
    const unlisted: SourceEntry = {
      ...directoryOf("dir", []),
      // oxlint-disable-next-line require-yield -- a listing that fails at once
      async *children() {
        throw new Error("EACCES");
      },
    };
    const root = directoryOf("data", [broken("bad"), unlisted]);
    const policy = testPolicy({ errorHandling: { ignoreFileErrors: true } });
    const { errors, snapshot } = await upload(repository, options(root, { policy }));
    expect(errors).toEqual([
      { path: "bad", code: "source-failed", message: "read bad: gone", ignored: true },
      { path: "dir", code: "source-failed", message: "EACCES", ignored: false },
    ]);
    expect(snapshot.root.summary).toMatchObject({ failed: 1, ignoredErrors: 1 });
  });

  test("a root that cannot be listed fails the call and saves nothing", async () => {
    const { repository } = await createTestRepository();
    const root: SourceEntry = {
      ...directoryOf("data", []),
      async *children() {
        yield fileWith("a", "a");
        throw new VarveError("source-failed", "list /data: I/O error");
      },
    };
    await expect(upload(repository, options(root))).rejects.toMatchObject({
      code: "source-failed",
      message: "list /data: I/O error",
    });
    expect((await listSnapshots(repository)).snapshots).toEqual([]);
  });

  test("failFast ends the snapshot at the first error that is not ignored", async () => {
    const { repository } = await createTestRepository();
    const root = directoryOf("data", [fileWith("a", "a"), broken("b"), fileWith("c", "c")]);
    const { snapshot, errors } = await upload(repository, options(root, { failFast: true }));
    expect(snapshot.incomplete).toBe("canceled");
    expect(errors).toHaveLength(1);
    expect(await storedTree(repository, snapshot.root)).toEqual({ a: "a" });
  });

  test("special files, long files and other file systems are skipped and counted", async () => {
    const { repository } = await createTestRepository();
    const root = memorySource("data", {
      deviceId: 1,
      children: {
        big: { data: "0123456789", deviceId: 1 },
        fifo: { special: true, deviceId: 1 },
        mount: { children: { x: { data: "x" } }, deviceId: 2 },
        small: { data: "s", deviceId: 1 },
      },
    });
    const policy = testPolicy({ files: { maxFileSize: 9, oneFileSystem: true } });
    const { snapshot, skipped, errors } = await upload(repository, options(root, { policy }));
    expect(await storedTree(repository, snapshot.root)).toEqual({ small: "s" });
    expect(skipped).toEqual({ special: 1, tooLarge: 1, otherFileSystem: 1, cacheDirectories: 0 });
    expect(errors).toEqual([]);
  });

  test("a special file is an error when the policy says so", async () => {
    const { repository } = await createTestRepository();
    const policy = testPolicy({ errorHandling: { ignoreUnknownTypes: false } });
    const root = tree({ fifo: { special: true } });
    const { errors } = await upload(repository, options(root, { policy }));
    expect(errors).toMatchObject([{ path: "fifo", code: "unsupported", ignored: false }]);
  });

  test("rules of the policy and of ignore files apply, and what they hide is counted", async () => {
    const { repository } = await createTestRepository();
    const root = tree({
      "#first": { data: "sorts before the ignore file" },
      ".kopiaignore": { data: "#first\n*.tmp\n" },
      "a.tmp": { data: "123" },
      cache: { children: { big: { data: "x" } } },
      sub: { children: { ".kopiaignore": { data: "!keep.tmp\n" }, "keep.tmp": { data: "k" } } },
    });
    const policy = testPolicy({ files: { ignore: ["/cache/", "\\#first"] } });
    const { snapshot, stats } = await upload(repository, options(root, { policy }));
    expect(Object.keys(await storedTree(repository, snapshot.root))).toEqual([
      "sub/.kopiaignore",
      "sub/keep.tmp",
      ".kopiaignore",
    ]);
    expect(stats).toMatchObject({
      excludedFileCount: 2,
      excludedDirCount: 1,
      excludedTotalSize: 31,
    });
  });

  test("a malformed ignore file fails its directory", async () => {
    const { repository } = await createTestRepository();
    const root = tree({ sub: { children: { ".kopiaignore": { data: "[" }, a: { data: "a" } } } });
    const { errors, snapshot } = await upload(repository, options(root));
    expect(errors).toMatchObject([{ path: "sub", code: "invalid-argument" }]);
    expect(await storedTree(repository, snapshot.root)).toEqual({ "/": "" });
  });

  test("a cache directory is stored empty", async () => {
    const { repository } = await createTestRepository();
    const tag = { data: "Signature: 8a477f597d28d172789f06886806bc55\n# more" };
    const root = tree({
      AAA: { children: { "CACHEDIR.TAG": tag, A: { data: "early" } } },
      not: { children: { "CACHEDIR.TAG": { data: "Signature: else" } } },
    });
    const { snapshot, skipped } = await upload(repository, options(root));
    expect(await storedTree(repository, snapshot.root)).toEqual({
      "AAA/": "",
      "not/CACHEDIR.TAG": "Signature: else",
    });
    expect(skipped.cacheDirectories).toBe(1);
  });

  test("names that a record must not hold are errors, and a name that comes twice counts once", async () => {
    const { repository } = await createTestRepository();
    const root = directoryOf("data", [
      fileWith("..", "up"),
      fileWith("a", "a"),
      fileWith("a", "a"),
      fileWith("b/c", "slash"),
    ]);
    const { errors, snapshot } = await upload(repository, options(root));
    expect(errors.map(({ path }) => path)).toEqual(["..", "b/c"]);
    expect(await storedTree(repository, snapshot.root)).toEqual({ a: "a" });
  });
});

describe("options that are refused", () => {
  test.each([
    [{ checkpointIntervalMs: 46 * 60_000 }],
    [{ forceHashPercent: 101 }],
    [{ forceHashPercent: Number.NaN }],
  ])("%j", async (more) => {
    const { repository } = await createTestRepository();
    const job = upload(repository, options(tree({}), more));
    await expect(job).rejects.toMatchObject({ code: "invalid-argument" });
  });

  test("a root that is neither a directory nor a file", async () => {
    const { repository } = await createTestRepository();
    const root = memorySource("fifo", { special: true });
    await expect(upload(repository, options(root))).rejects.toMatchObject({
      code: "invalid-argument",
    });
  });
});

test("progress is told at most every 100 ms, and ends with what was done", async () => {
  const { repository, environment, store } = await createTestRepository();
  const seen: UploadProgress[] = [];
  const files = Array.from({ length: 30 }, (_, index) =>
    fileWith(`f${index + 10}`, "12345", { before: () => environment.advance(30) }),
  );
  await upload(
    repository,
    options(directoryOf("data", files), { onProgress: (progress) => seen.push(progress) }),
  );
  expect(seen.length).toBeLessThanOrEqual(12);
  expect(seen.at(-1)).toMatchObject({
    phase: "done",
    filesDone: 30,
    bytesHashed: 150,
    errors: 0,
    currentPath: "f39",
  });
  expect(seen.at(-1)?.bytesUploaded).toBeGreaterThan(0);
  expect(await blobIds(store, "s")).toEqual([]);
});

function broken(name: string): SourceEntry {
  return fileWith(name, "", {
    before: () => {
      throw new VarveError("source-failed", `read ${name}: gone`);
    },
  });
}
