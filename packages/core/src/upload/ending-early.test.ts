import { describe, expect, test } from "vitest";
import {
  blobIds,
  createTestRepository,
  directoryOf,
  fileWith,
  openTestRepository,
  SOURCE,
  storedTree,
  testPolicy,
} from "../../test/upload-fixture.ts";
import { listSnapshots } from "../snapshot/snapshots.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import { upload } from "./upload.ts";
import type { UploadOptions } from "./upload-options.ts";

function options(root: SourceEntry, more: Partial<UploadOptions> = {}): UploadOptions {
  return { source: SOURCE, root, policy: testPolicy(), ...more };
}

/** `first`, a directory with `inner` and `later`, then `last`; `during` runs when `inner` is read. */
function rootWith(during: () => void): SourceEntry {
  return directoryOf("data", [
    fileWith("first", "1"),
    directoryOf("sub", [fileWith("inner", "2", { before: during }), fileWith("later", "3")]),
    fileWith("z-last", "4"),
  ]);
}

describe("stop", () => {
  test("saves what was stored before it as a canceled snapshot (behaviour §1.5)", async () => {
    const { repository, store, environment } = await createTestRepository();
    const stop = new AbortController();
    const root = rootWith(() => stop.abort());
    const { snapshot, saved } = await upload(repository, options(root, { stop: stop.signal }));
    expect(saved).toBe(true);
    expect(snapshot.incomplete).toBe("canceled");
    expect(snapshot.root.summary?.incomplete).toBe("canceled");
    const other = await openTestRepository(store, environment);
    expect(await storedTree(other, snapshot.root)).toEqual({ first: "1", "sub/": "" });
    expect((await listSnapshots(other)).snapshots).toHaveLength(1);
  });

  test("lets the next upload go on where it stopped; the complete snapshot supersedes it", async () => {
    const { repository, environment } = await createTestRepository();
    const stop = new AbortController();
    await upload(
      repository,
      options(
        rootWith(() => stop.abort()),
        { stop: stop.signal },
      ),
    );
    environment.advance(1000);
    const { stats, expired, snapshot } = await upload(repository, options(rootWith(() => {})));
    expect(stats).toMatchObject({ cachedFiles: 1, nonCachedFiles: 3 });
    expect(expired).toBe(1);
    expect((await listSnapshots(repository)).snapshots.map(({ id }) => id)).toEqual([snapshot.id]);
  });

  test("before the beginning gives an empty canceled snapshot", async () => {
    const { repository } = await createTestRepository();
    const { snapshot } = await upload(
      repository,
      options(
        rootWith(() => {}),
        { stop: AbortSignal.abort() },
      ),
    );
    expect(snapshot.incomplete).toBe("canceled");
    expect(await storedTree(repository, snapshot.root)).toEqual({ "/": "" });
  });
});

describe("signal", () => {
  test("rejects with its reason, and nothing is written after it", async () => {
    const { repository, store } = await createTestRepository();
    const before = await blobIds(store);
    const abort = new AbortController();
    const root = rootWith(() => abort.abort(new Error("enough")));
    const job = upload(repository, options(root, { signal: abort.signal }));
    await expect(job).rejects.toThrow("enough");
    expect(await blobIds(store)).toEqual(before);
    expect((await listSnapshots(repository)).snapshots).toEqual([]);
  });

  test("leaves the repository in order: a later upload and flush work", async () => {
    const { repository } = await createTestRepository();
    const abort = new AbortController();
    const root = rootWith(() => abort.abort(new Error("enough")));
    await upload(repository, options(root, { signal: abort.signal })).catch(() => {});
    const { snapshot } = await upload(repository, options(rootWith(() => {})));
    expect(snapshot.incomplete).toBeUndefined();
  });

  test("that is aborted already stops the upload before it begins", async () => {
    const { repository } = await createTestRepository();
    const signal = AbortSignal.abort(new Error("too late"));
    const job = upload(
      repository,
      options(
        rootWith(() => {}),
        { signal },
      ),
    );
    await expect(job).rejects.toThrow("too late");
  });
});

describe("the upload limit", () => {
  test("ends the snapshot before the file that would cross it", async () => {
    const { repository } = await createTestRepository();
    const root = directoryOf("data", [
      fileWith("a", "12345"),
      fileWith("b", "12345"),
      fileWith("c", "12345"),
    ]);
    const { snapshot } = await upload(repository, options(root, { uploadLimitBytes: 12 }));
    expect(snapshot.incomplete).toBe("limit reached");
    expect(await storedTree(repository, snapshot.root)).toEqual({ a: "12345", b: "12345" });
  });

  test("counts only what is read: uploads in turn bring the whole tree in", async () => {
    const { repository, environment } = await createTestRepository();
    const names = ["a", "b", "c", "d", "e"];
    const root = directoryOf(
      "data",
      names.map((name) => fileWith(name, "12345")),
    );
    const reasons: (string | undefined)[] = [];
    for (let count = 0; count < 3; count++) {
      environment.advance(1000);
      const report = await upload(repository, options(root, { uploadLimitBytes: 10 }));
      reasons.push(report.snapshot.incomplete);
    }
    expect(reasons).toEqual(["limit reached", "limit reached", undefined]);
  });

  test("below the first file stores an empty root", async () => {
    const { repository } = await createTestRepository();
    const root = directoryOf("data", [fileWith("a", "12345")]);
    const { snapshot } = await upload(repository, options(root, { uploadLimitBytes: 4 }));
    expect(await storedTree(repository, snapshot.root)).toEqual({ "/": "" });
  });

  test("holds for a stream that does not say how long it is", async () => {
    const { repository } = await createTestRepository();
    const root = directoryOf("data", [fileWith("a", "12345", { meta: { sizeBytes: 0 } })]);
    const { snapshot } = await upload(repository, options(root, { uploadLimitBytes: 4 }));
    expect(snapshot.incomplete).toBe("limit reached");
    expect(await storedTree(repository, snapshot.root)).toEqual({ "/": "" });
  });
});

describe("checkpoints", () => {
  test("save finished files of directories that are still open, durably", async () => {
    const { repository, store, environment } = await createTestRepository();
    const seen: string[][] = [];
    const root = directoryOf("data", [
      fileWith("a", "1"),
      directoryOf("sub", [
        fileWith("b", "2", { before: () => environment.advance(60_000) }),
        fileWith("c", "3", { before: () => environment.advance(1000) }),
      ]),
    ]);
    const spied = {
      ...root,
      async *children() {
        yield* root.children();
        const other = await openTestRepository(store, environment);
        for (const { root, incomplete } of (await listSnapshots(other)).snapshots) {
          seen.push([String(incomplete), ...Object.keys(await storedTree(other, root))]);
        }
      },
    };
    const more = { checkpointIntervalMs: 60_000 };
    const { checkpoints, snapshot, expired } = await upload(repository, options(spied, more));
    expect(checkpoints).toBe(1);
    expect(seen).toEqual([["checkpoint", "sub/b", "a"]]);
    expect(snapshot.incomplete).toBeUndefined();
    expect(expired).toBe(1);
    const { snapshots } = await listSnapshots(repository);
    expect(snapshots.map(({ id }) => id)).toEqual([snapshot.id]);
  });

  test("are what a killed upload leaves, and the next one starts from", async () => {
    const { repository, store, environment } = await createTestRepository();
    const abort = new AbortController();
    const root = (kill: () => void): SourceEntry =>
      directoryOf("data", [
        fileWith("a", "1", { before: () => environment.advance(60_000) }),
        fileWith("b", "2", { before: kill }),
      ]);
    const dying = options(
      root(() => abort.abort()),
      { signal: abort.signal, checkpointIntervalMs: 60_000 },
    );
    await expect(upload(repository, dying)).rejects.toThrow();
    const other = await openTestRepository(store, environment);
    const [left] = (await listSnapshots(other)).snapshots;
    expect(left?.incomplete).toBe("checkpoint");
    const { stats } = await upload(other, options(root(() => {})));
    expect(stats).toMatchObject({ cachedFiles: 1, nonCachedFiles: 1 });
  });

  test("do not take over pins, which would keep them for ever", async () => {
    const { repository, environment } = await createTestRepository();
    const root = directoryOf("data", [
      fileWith("a", "1", { before: () => environment.advance(60_000) }),
      fileWith("b", "2", { before: () => environment.advance(1000) }),
    ]);
    const more = { checkpointIntervalMs: 60_000, pins: ["keep"] };
    const { snapshot, checkpoints } = await upload(repository, options(root, more));
    expect([checkpoints, snapshot.pins]).toEqual([1, ["keep"]]);
    expect((await listSnapshots(repository)).snapshots).toHaveLength(1);
  });
});

test("a long upload commits its packs every ten minutes", async () => {
  const { repository, store, environment } = await createTestRepository();
  const indexes: number[] = [];
  const files = ["a", "b", "c", "d"].map((name) =>
    fileWith(name, `${name}${name}`, { before: () => environment.advance(6 * 60_000) }),
  );
  const root = directoryOf("data", files);
  const spied = {
    ...root,
    async *children() {
      for await (const child of root.children()) {
        indexes.push((await blobIds(store, "xn")).length);
        yield child;
      }
    },
  };
  await upload(repository, options(spied));
  expect(indexes.at(-1)).toBeGreaterThan(indexes[0] ?? 0);
});
