import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openDescriptors } from "../../test/open-descriptors.ts";
import { fileSystemError } from "./filesystem-errors.ts";
import { openFileSystemStore } from "./filesystem-store.ts";
import { type BlobDraft, type BlobId, type BlobStore, parseBlobId } from "./store.ts";

const PACK = parseBlobId("p2c595fd3d48f4e1eae414bedfe5a28e4-s316c7ae01d1a9aa8147");
const PACK_PATH = "p/2c5/95fd3d48f4e1eae414bedfe5a28e4-s316c7ae01d1a9aa8147.f";
const SHORT = parseBlobId("kopia.repository");
const BYTES = Uint8Array.of(1, 2, 3);

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "varve-fs-"));
});
afterEach(() => rm(root, { recursive: true }));

async function listedIds(store: BlobStore, prefix = ""): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of store.list(prefix)) {
    ids.push(id);
  }
  return ids.sort();
}

async function allFiles(): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

test("a new store has Kopia's layout and modes", async () => {
  const store = await openFileSystemStore(join(root, "new/store"), { create: true });
  await store.put(PACK, [BYTES]);
  await store.put(SHORT, [BYTES]);
  const at = (path: string) => join(root, "new/store", path);
  expect(await readFile(at(".shards"), "utf8")).toBe(
    '{"default":[1,3],"maxNonShardedLength":20}\n',
  );
  expect(new Uint8Array(await readFile(at(PACK_PATH)))).toEqual(BYTES);
  expect((await stat(at(PACK_PATH))).mode & 0o777).toBe(0o600);
  expect((await stat(at("p/2c5"))).mode & 0o777).toBe(0o700);
  expect((await stat(at("."))).mode & 0o777).toBe(0o700);
  expect((await stat(at("kopia.repository.f"))).size).toBe(3);
});

test("file and directory modes can be chosen", async () => {
  const store = await openFileSystemStore(root, { fileMode: 0o640, directoryMode: 0o750 });
  await store.put(PACK, [BYTES]);
  expect((await stat(join(root, "p2c/595"))).mode & 0o777).toBe(0o750);
  const [name = ""] = await readdir(join(root, "p2c/595"));
  expect((await stat(join(root, "p2c/595", name))).mode & 0o777).toBe(0o640);
});

describe("the sharding", () => {
  test("is that of .shards, overrides included", async () => {
    const json =
      '{"default":[9],"overrides":[{"prefix":"p2","shards":[2,2]}],"maxNonShardedLength":5}';
    await writeFile(join(root, ".shards"), json);
    const store = await openFileSystemStore(root, { create: true });
    await store.put(PACK, [BYTES]);
    expect(await readdir(join(root, "p2/c5"))).toEqual([`${PACK.slice(4)}.f`]);
    expect(await readFile(join(root, ".shards"), "utf8")).toBe(json);
  });

  test("is [3,3] for a store that has none, and written before the first blob", async () => {
    const store = await openFileSystemStore(root);
    expect(await readdir(root)).toEqual([]);
    await Promise.all([store.put(PACK, [BYTES]), store.put(SHORT, [BYTES])]);
    expect(await readFile(join(root, ".shards"), "utf8")).toContain("[3,3]");
    expect(await readdir(join(root, "p2c/595"))).toHaveLength(1);
  });

  test("is never written by a read-only store", async () => {
    const store = await openFileSystemStore(root, { readOnly: true });
    await expect(store.put(PACK, [BYTES])).rejects.toMatchObject({ code: "read-only" });
    await expect(store.delete(PACK)).rejects.toMatchObject({ code: "read-only" });
    expect(await readdir(root)).toEqual([]);
  });

  test("is another client's when that wrote it first", async () => {
    const [ours, theirs] = await Promise.all([
      openFileSystemStore(root, { create: true }),
      openFileSystemStore(root, { shards: [2] }),
    ]);
    await theirs.put(SHORT, [BYTES]);
    await ours.put(PACK, [BYTES]);
    expect(await theirs.get(PACK)).toEqual(BYTES);
  });

  test("that cannot be understood is corrupt", async () => {
    await writeFile(join(root, ".shards"), "{");
    const opening = openFileSystemStore(root, { create: true });
    await expect(opening).rejects.toMatchObject({
      code: "corrupt",
      message: expect.stringContaining(".shards"),
    });
  });
});

describe("opening", () => {
  test("a directory that is missing fails and makes nothing", async () => {
    const opening = openFileSystemStore(join(root, "missing"));
    await expect(opening).rejects.toMatchObject({ code: "storage-failed" });
    expect(await readdir(root)).toEqual([]);
  });

  test("a file fails", async () => {
    await writeFile(join(root, "file"), "");
    const opening = openFileSystemStore(join(root, "file"));
    await expect(opening).rejects.toMatchObject({ code: "storage-failed" });
  });

  test("a symlink to a directory is fine", async () => {
    await mkdir(join(root, "real"));
    await symlink("real", join(root, "link"));
    const store = await openFileSystemStore(join(root, "link"), { create: true });
    await store.put(PACK, [BYTES]);
    expect(await listedIds(await openFileSystemStore(join(root, "real")))).toEqual([PACK]);
  });
});

describe("a list", () => {
  test("leaves out temporary and foreign files, and blobs of other prefixes", async () => {
    const store = await openFileSystemStore(root, { create: true });
    await store.put(PACK, [BYTES]);
    await store.put(SHORT, [BYTES]);
    await writeFile(join(root, `${PACK_PATH}.tmp.0123456789abcdef`), "torn");
    await writeFile(join(root, "p/README"), "");
    await writeFile(join(root, "p/not a blob.f"), "");
    await writeFile(join(root, ".f"), "");
    await mkdir(join(root, "lost+found"));
    expect(await listedIds(store)).toEqual([SHORT, PACK]);
    expect(await listedIds(store, "p2c5")).toEqual([PACK]);
    expect(await listedIds(store, "p2c6")).toEqual([]);
  });

  test("removes what writers that were killed a day ago have left, where it may write", async () => {
    const store = await openFileSystemStore(root, { create: true });
    await store.put(PACK, [BYTES]);
    const [old, young, foreign] = ["0123456789abcdef", "fedcba9876543210", "mine"].map((end) =>
      join(root, `${PACK_PATH}.tmp.${end}`),
    ) as [string, string, string];
    for (const file of [old, young, foreign]) {
      await writeFile(file, "torn");
    }
    const dayAgo = (Date.now() - 25 * 3_600_000) / 1000;
    await utimes(old, dayAgo, dayAgo);
    await utimes(foreign, dayAgo, dayAgo);
    await utimes(join(root, PACK_PATH), dayAgo, dayAgo);
    const before = await allFiles();
    expect(await listedIds(await openFileSystemStore(root, { readOnly: true }))).toEqual([PACK]);
    expect(await allFiles()).toEqual(before);
    expect(await listedIds(store)).toEqual([PACK]);
    expect((await allFiles()).sort()).toEqual(
      before.filter((name) => name !== basename(old)).sort(),
    );
  });

  test("does not enter directories that cannot hold the prefix", async () => {
    const store = await openFileSystemStore(root, { create: true });
    await store.put(PACK, [BYTES]);
    await writeFile(join(root, "x"), "");
    await rm(join(root, "p"), { recursive: true });
    // Walking it would fail: it is a loop.
    await symlink("p", join(root, "p"));
    expect(await listedIds(store, "x")).toEqual([]);
  });

  test("is not put off by what vanishes on the way", async () => {
    const store = await openFileSystemStore(root, { create: true });
    const ids = Array.from({ length: 40 }, (_, index) =>
      parseBlobId(`p${100 + index}${PACK.slice(4)}`),
    );
    for (const id of ids) {
      await store.put(id, [BYTES]);
    }
    const seen: string[] = [];
    for await (const { id } of store.list("p")) {
      seen.push(id);
      if (seen.length === 1) {
        const others = ids.filter((other) => other !== id);
        await Promise.all(
          others.map((other) => rm(join(root, "p", other.slice(1, 4)), { recursive: true })),
        );
      }
    }
    expect(seen.length).toBeLessThan(20); // some directories were looked at ahead
  });

  test("fails when the store itself has vanished: it must not look empty", async () => {
    const store = await openFileSystemStore(join(root, "disk"), { create: true });
    await store.put(SHORT, [BYTES]);
    await rm(join(root, "disk"), { recursive: true });
    await expect(listedIds(store)).rejects.toMatchObject({ code: "storage-failed" });
    await expect(store.put(PACK, [BYTES])).rejects.toMatchObject({ code: "storage-failed" });
    expect(await readdir(root)).toEqual([]);
  });

  test("gives a blob once that lies in two places, and one that lies in the wrong place", async () => {
    const wrong = await openFileSystemStore(root, { shards: [2] });
    await wrong.put(PACK, [BYTES]);
    await rm(join(root, ".shards"));
    const store = await openFileSystemStore(root, { create: true });
    expect(await listedIds(store)).toEqual([PACK]);
    await store.put(PACK, [BYTES]);
    expect(await listedIds(store)).toEqual([PACK]);
  });
});

describe("a put that fails", () => {
  test("leaves no file, torn or temporary, when a part cannot be written", async () => {
    const store = await openFileSystemStore(root, { create: true });
    await store.put(PACK, [BYTES]);
    const bad = [BYTES, "not bytes" as unknown as Uint8Array]; // what a caller in JavaScript might pass
    await expect(store.put(PACK, bad)).rejects.toBeDefined();
    expect((await allFiles()).sort()).toEqual([".shards", PACK_PATH.split("/")[2]]);
    expect(await store.get(PACK)).toEqual(BYTES);
  });

  test("leaves no temporary file when the name cannot be taken", async () => {
    const store = await openFileSystemStore(root, { create: true });
    await store.put(SHORT, [BYTES]);
    await mkdir(join(root, "taken.f"));
    await expect(store.put(parseBlobId("taken"), [BYTES])).rejects.toMatchObject({
      code: "storage-failed",
    });
    const again = store.put(SHORT, [BYTES], { ifAbsent: true });
    await expect(again).rejects.toMatchObject({ code: "blob-exists" });
    expect((await readdir(root)).sort()).toEqual([".shards", "kopia.repository.f", "taken.f"]);
  });

  test("leaves no temporary file when it is aborted half way", async () => {
    const store = await openFileSystemStore(root, { create: true });
    await store.put(SHORT, [BYTES]);
    const controller = new AbortController();
    const putting = store.put(PACK, [new Uint8Array(1_000_000)], { signal: controller.signal });
    const reason = new Error("stop");
    controller.abort(reason);
    await expect(putting).rejects.toBe(reason);
    expect((await allFiles()).sort()).toEqual([".shards", "kopia.repository.f"]);
  });
});

describe("a draft", () => {
  const PIECE = { offset: 0, bytes: BYTES };

  test("holds what any thread wrote to its descriptor, around what is written last", async () => {
    const store = await openFileSystemStore(root, { create: true });
    const draft = await openDraft(store, PACK);
    const bytes = new Uint8Array(1_300_000).fill(7);
    for (const at of [1_000_000, 0]) {
      const text = `const { writeSync } = require("node:fs");
        const { fd, length, at } = require("node:worker_threads").workerData;
        writeSync(fd, new Uint8Array(length).fill(7), 0, length, at + 3);`;
      const length = Math.min(1_000_000, bytes.length - at);
      const workerData = { fd: draft.descriptor, length, at };
      await once(new Worker(text, { eval: true, workerData }), "exit");
    }
    const written = await draft.read({ offset: 3, length: bytes.length });
    expect(Buffer.from(written).equals(bytes)).toBe(true);
    await expect(draft.read({ offset: 4, length: bytes.length })).rejects.toThrow("file ended");
    await draft.publish([{ offset: 3 + bytes.length, bytes: BYTES }, PIECE]);
    expect((await store.get(PACK)).length).toBe(bytes.length + 6);
    expect(await store.get(PACK, { range: { offset: bytes.length, length: 6 } })).toEqual(
      Uint8Array.of(7, 7, 7, 1, 2, 3),
    );
    expect((await stat(join(root, PACK_PATH))).mode & 0o777).toBe(0o600);
    expect((await allFiles()).sort()).toEqual([".shards", PACK_PATH.split("/")[2]]);
  });

  test("leaves neither a file nor a descriptor when it is discarded, aborted or cannot be published", async () => {
    const store = await openFileSystemStore(root, { create: true });
    await store.put(SHORT, [BYTES]);
    await mkdir(join(root, "taken.f"));
    const before = openDescriptors(root);
    const drafts = await Promise.all(
      [PACK, PACK, PACK, parseBlobId("taken")].map((id) => openDraft(store, id)),
    );
    expect(openDescriptors(root)).toBe(before + 4);
    const [discarded, aborted, bad, taken] = drafts;
    await discarded?.discard();
    const reason = new Error("stop");
    await expect(aborted?.publish([PIECE], { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    const notBytes = "not bytes" as unknown as Uint8Array; // what a caller in JavaScript might pass
    await expect(bad?.publish([{ offset: 0, bytes: notBytes }])).rejects.toBeDefined();
    await expect(taken?.publish([PIECE])).rejects.toMatchObject({ code: "storage-failed" });
    expect((await allFiles()).sort()).toEqual([".shards", "kopia.repository.f"]);
    expect(openDescriptors(root)).toBe(before);
  });

  test("is made in no store that is read-only or gone", async () => {
    const readOnly = await openFileSystemStore(root, { readOnly: true });
    await expect(openDraft(readOnly, PACK)).rejects.toMatchObject({ code: "read-only" });
    const store = await openFileSystemStore(join(root, "disk"), { create: true });
    await store.put(SHORT, [BYTES]);
    await rm(join(root, "disk"), { recursive: true });
    await expect(openDraft(store, PACK)).rejects.toMatchObject({ code: "storage-failed" });
    expect(await readdir(root)).toEqual([]);
  });
});

async function openDraft(store: BlobStore, id: BlobId): Promise<BlobDraft> {
  const draft = await store.draft?.(id);
  return draft ?? Promise.reject(new Error("a folder has drafts"));
}

test("a blob id that would lead out of the root is refused", async () => {
  await writeFile(join(root, ".shards"), '{"default":[2],"maxNonShardedLength":3}');
  const store = await openFileSystemStore(root);
  const id = parseBlobId("..escape");
  for (const call of [store.put(id, [BYTES]), store.get(id), store.stat(id), store.delete(id)]) {
    await expect(call).rejects.toMatchObject({ code: "invalid-argument" });
  }
});

test("a file cut short behind our back shows in stat and get alike", async () => {
  const store = await openFileSystemStore(root, { create: true });
  await store.put(SHORT, [BYTES]);
  await truncate(join(root, "kopia.repository.f"), 1);
  expect((await store.stat(SHORT)).size).toBe(1);
  expect(await store.get(SHORT)).toEqual(Uint8Array.of(1));
});

test("capacity is that of the volume", async () => {
  const store = await openFileSystemStore(root);
  const capacity = await store.capacity?.();
  expect(capacity?.sizeBytes).toBeGreaterThan(capacity?.freeBytes ?? Number.POSITIVE_INFINITY);
});

test.each([
  ["ENOENT", "blob-not-found", false],
  ["ENOSPC", "storage-full", false],
  ["EDQUOT", "storage-full", false],
  ["EACCES", "access-denied", false],
  ["EPERM", "access-denied", false],
  ["EROFS", "read-only", false],
  ["EIO", "storage-failed", false],
  ["EMFILE", "storage-failed", true],
  ["EAGAIN", "storage-failed", true],
  ["ESTALE", "storage-failed", true],
])("%s is %s, retryable: %s", (name, code, retryable) => {
  const cause = Object.assign(new Error(name), { code: name });
  expect(fileSystemError(cause, "get a")).toMatchObject({ code, retryable, cause });
});

test("errors that are not the system's pass as they are", () => {
  const reason = new DOMException("stop", "AbortError");
  expect(fileSystemError(reason, "get a")).toBe(reason);
});

test("a directory without permission is access-denied", async () => {
  const store = await openFileSystemStore(root, { create: true });
  await store.put(PACK, [BYTES]);
  await chmod(join(root, "p"), 0);
  const outcome = await store.get(PACK).then(
    () => "read all the same", // by the superuser, whom permissions do not stop
    (error: { code: string }) => error.code,
  );
  await chmod(join(root, "p"), 0o700);
  expect(["access-denied", "read all the same"]).toContain(outcome);
});
