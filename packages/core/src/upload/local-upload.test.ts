import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  blobIds,
  createTestRepository,
  SOURCE,
  storedText,
  storedTree,
  testPolicy,
} from "../../test/upload-fixture.ts";
import { systemEnvironment } from "../base/environment.ts";
import { parseBlobId } from "../blob/store.ts";
import { createExecutor } from "../pipeline/create-executor.ts";
import type { Executor } from "../pipeline/executor.ts";
import type { Repository } from "../repository/repository.ts";
import { readDirectory } from "../snapshot/read-directory.ts";
import { localSource } from "../source/local-source.ts";
import { createSnapshot } from "./create-snapshot.ts";
import { upload } from "./upload.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "varve-upload-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function put(name: string, data: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, data);
  utimesSync(path, 1000, 1000);
  return path;
}

/** A repository whose executor does something before each job. */
function withJobs(repository: Repository, before: () => void): Repository {
  const { executor } = repository;
  const spying: Executor = {
    parallelJobs: executor.parallelJobs,
    run: (job, sink, options) => {
      before();
      return executor.run(job, sink, options);
    },
    [Symbol.asyncDispose]: () => executor[Symbol.asyncDispose](),
  };
  const spied: Repository = Object.create(repository, { executor: { value: spying } });
  return spied;
}

async function uploadFolder(repository: Repository, policy = testPolicy()) {
  return upload(repository, { source: SOURCE, root: await localSource(folder), policy });
}

describe("a local tree", () => {
  test("is stored with its files, links and odd names", async () => {
    const { repository } = await createTestRepository();
    put("a.txt", "alpha");
    put("sub/b.txt", "beta");
    put("empty", "");
    mkdirSync(join(folder, "void"));
    symlinkSync("nowhere", join(folder, "link"));
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/x`), Buffer.from([0xff])]), "odd");
    const { snapshot, errors } = await uploadFolder(repository);
    expect(errors).toEqual([]);
    expect(await storedTree(repository, snapshot.root)).toEqual({
      "a.txt": "alpha",
      "sub/b.txt": "beta",
      empty: "",
      "void/": "",
      link: "nowhere",
      "x\ufffd": "odd",
    });
  });

  test("unchanged adds one manifest content, even where a name is not UTF-8", async () => {
    const { repository, environment } = await createTestRepository();
    put("a.txt", "alpha");
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/x`), Buffer.from([0xff])]), "odd");
    await uploadFolder(repository);
    environment.advance(1000);
    const opened: number[] = [];
    const { contentStats, stats } = await uploadFolder(withJobs(repository, () => opened.push(1)));
    expect([contentStats.newContents, stats.cachedFiles, opened.length]).toEqual([1, 2, 0]);
  });

  test("with a renamed folder uploads directories only", async () => {
    const { repository } = await createTestRepository();
    put("before/a", "a".repeat(1000));
    await uploadFolder(repository);
    renameSync(join(folder, "before"), join(folder, "after"));
    const { contentStats } = await uploadFolder(repository);
    expect(contentStats.newContents).toBe(2); // root directory and manifest
  });

  test("of which a little has changed gets the ids that a first backup would give it", async () => {
    const { repository, environment } = await createTestRepository();
    const names = ["a", "b&b", "c\u00e9", "d", "e", "f.txt", "g", "h"];
    for (const name of names) {
      put(`plain/${name}`, name);
      put(`deep/er/${name}`, name);
    }
    symlinkSync("a", join(folder, "deep/er/link"));
    await uploadFolder(repository);
    environment.advance(1000);
    put("plain/d", "changed");
    put("plain/bb", "new, in between");
    put("plain/z", "new, at the end");
    rmSync(join(folder, "plain/a"));
    put("plain/sub/x", "new below");
    const next = await uploadFolder(repository);
    expect(next.stats).toMatchObject({ cachedFiles: 15, nonCachedFiles: 4, dirCount: 5 });
    environment.advance(1000);
    const root = await localSource(folder);
    const policy = testPolicy();
    const afresh = await upload(repository, { source: SOURCE, root, policy, previous: [] });
    expect(afresh.stats.cachedFiles).toBe(0);
    expect(next.snapshot.root).toEqual(afresh.snapshot.root);
    expect(next.stats.totalSize - afresh.stats.totalSize).toBe("a".length); // Kopia counts links when they are cached
  });

  test("loses a file that vanishes between listing and reading, and says so", async () => {
    const { repository } = await createTestRepository();
    put("a", "a");
    const gone = put("b", "b");
    const { snapshot, errors } = await uploadFolder(withJobs(repository, () => rmSync(gone)));
    expect(await storedTree(repository, snapshot.root)).toEqual({ a: "a" });
    expect(errors).toMatchObject([{ path: "b", code: "source-failed", ignored: false }]);
  });

  test("stores a file that grew or shrank as it was read, with the size that was read", async () => {
    const { repository } = await createTestRepository();
    const grows = put("grows", "1234");
    const shrinks = put("shrinks", "1234");
    const { snapshot } = await uploadFolder(
      withJobs(repository, () => {
        appendFileSync(grows, "5678");
        truncateSync(shrinks, 2);
      }),
    );
    const { entries } = await readDirectory(repository, snapshot.root.object);
    expect(entries.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual([
      ["grows", 8],
      ["shrinks", 2],
    ]);
    expect(snapshot.root.summary?.sizeBytes).toBe(10);
    // What was recorded is what the file was before it was read: the next upload reads it again.
    const again = await uploadFolder(repository);
    expect(again.stats).toMatchObject({ cachedFiles: 0, nonCachedFiles: 2 });
  });

  test("reports a file whose place was taken by something that cannot be read", async () => {
    const { repository } = await createTestRepository();
    const path = put("file", "x");
    const { errors, snapshot } = await uploadFolder(
      withJobs(repository, () => {
        rmSync(path);
        mkdirSync(path);
      }),
    );
    expect(errors).toMatchObject([{ path: "file", code: "source-failed" }]);
    expect(snapshot.root.summary?.failed).toBe(1);
  });

  test("cuts very long files at the policy's size, as Kopia does (spec §5.2)", async () => {
    const { repository } = await createTestRepository();
    const part = 300_000;
    const data = Buffer.alloc(part * 2, "0123456789");
    put("exact", data);
    const policy = testPolicy({
      splitter: { algorithm: "FIXED-256K" },
      upload: { parallelUploadAboveSize: part },
    });
    const { snapshot } = await uploadFolder(repository, policy);
    const [file] = (await readDirectory(repository, snapshot.root.object)).entries;
    const lengths: number[] = [];
    for await (const piece of repository.objects.pieces(file?.object ?? snapshot.root.object)) {
      lengths.push(piece.length);
    }
    expect(lengths).toEqual([262_144, 37_856, 262_144, 37_856, 0]);
    const stored = file === undefined ? "" : await storedText(repository, file);
    expect(stored === data.toString("latin1")).toBe(true);
  });
});

describe("a long file and many small ones", () => {
  test("give the same blobs byte for byte inline, when seed and clock are the same", async () => {
    put("long", Buffer.alloc(3_000_000, "abc"));
    put("short", "x");
    const stores: Record<string, string>[] = [];
    for (let count = 0; count < 2; count++) {
      const { repository, store } = await createTestRepository();
      await uploadFolder(repository);
      const blobs: Record<string, string> = {};
      for (const id of await blobIds(store)) {
        blobs[id] = Buffer.from(await store.get(id)).toString("base64");
      }
      stores.push(blobs);
    }
    expect(stores[1]).toEqual(stores[0]);
  });

  test("get the same ids inline and in workers", async () => {
    const long = Buffer.alloc(9_000_000);
    for (let index = 0; index < long.length; index += 4) {
      long.writeUInt32LE(Math.imul(index, 2_654_435_761) >>> 0, index);
    }
    put("long", long);
    for (let index = 0; index < 300; index++) {
      put(`many/${index % 7}/${index}`, `small ${index}`);
    }
    const policy = testPolicy({ compression: { compressorName: "zstd-fastest" } });
    const inline = await createTestRepository();
    const one = await uploadFolder(inline.repository, policy);
    const threaded = await createTestRepository();
    await using executor = createExecutor({
      parameters: threaded.repository.format,
      workers: 2,
      environment: systemEnvironment(),
      workerUrl: new URL("../../dist/pipeline/worker-entry.js", import.meta.url),
    });
    const repository: Repository = Object.create(threaded.repository, {
      executor: { value: executor },
    });
    const two = await uploadFolder(repository, policy);
    expect(two.snapshot.root).toEqual(one.snapshot.root);
    expect(two.stats).toEqual(one.stats);
  });
});

describe("createSnapshot", () => {
  test("takes source and policy from the repository and follows a link at the root", async () => {
    const { repository } = await createTestRepository();
    put("real/a", "a");
    const path = join(folder, "alias");
    symlinkSync("real", path);
    const { snapshot } = await createSnapshot(repository, { path });
    const { hostname, username } = repository.client;
    expect(snapshot.source).toEqual({ host: hostname, userName: username, path });
    expect(snapshot.root).toMatchObject({ type: "directory", name: "alias" });
    expect(await storedTree(repository, snapshot.root)).toEqual({ a: "a" });
  });

  test("fails for a path that is not there", async () => {
    const { repository, store } = await createTestRepository();
    const job = createSnapshot(repository, { path: join(folder, "missing") });
    await expect(job).rejects.toMatchObject({ code: "source-failed" });
    expect((await store.stat(parseBlobId("kopia.repository"))).size).toBeGreaterThan(0);
  });
});
