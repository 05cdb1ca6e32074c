import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { isVarveError } from "../base/errors.ts";
import { msToNs } from "../base/time.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import { createRepository } from "../repository/create-repository.ts";
import { openRepository } from "../repository/open-repository.ts";
import type { Repository } from "../repository/repository.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { encodeDirectory } from "./directory.ts";
import type { DirectoryEntry } from "./entry.ts";
import { findEntry, readDirectory, walkTree } from "./read-directory.ts";
import { selectSnapshot } from "./select-snapshot.ts";
import { snapshotFromJson, snapshotToJson } from "./snapshot-json.ts";
import type { Snapshot } from "./snapshot-manifest.ts";
import {
  deleteSnapshot,
  formatSource,
  listSnapshots,
  listSources,
  loadSnapshot,
  parseSource,
  pinSnapshot,
  replaceSnapshot,
  saveSnapshot,
} from "./snapshots.ts";
import { buildSummary } from "./summary.ts";

const { snapshot: vector } = JSON.parse(
  readFileSync(new URL("../../test/golden/vectors/directory.json", import.meta.url), "utf8"),
) as { snapshot: { labels: string[]; payload: object } }; // the shape of our own file

const password = "p";
const client = { username: "ann", hostname: "box" };

async function newRepository(): Promise<Repository> {
  const environment = seededEnvironment({ seed: 1, startMs: Date.UTC(2024, 2, 15, 12) });
  const store = createMemoryStore({ environment });
  await createRepository(store, {
    password,
    environment,
    keyDerivation: "pbkdf2-sha256-600000",
  });
  return openRepository(store, { password, environment, client });
}

let shared: Repository;
beforeAll(async () => {
  shared = await newRepository();
});

const noStats = snapshotFromJson(
  {
    source: { host: "h", userName: "u", path: "/" },
    startTime: "2024-01-01T00:00:00Z",
    endTime: "2024-01-01T00:00:00Z",
    rootEntry: { name: "x", type: "d", obj: "kaa" },
  },
  "test",
).stats;

function made(more: Partial<Snapshot> = {}): Snapshot {
  return {
    source: { host: "box", userName: "ann", path: "/data" },
    description: "",
    startTimeNs: 1n,
    endTimeNs: 2n,
    stats: noStats,
    root: directoryEntry("data", parseObjectId("kaa")),
    tags: {},
    pins: [],
    ...more,
  };
}

function directoryEntry(name: string, object: ObjectId): DirectoryEntry {
  return {
    name,
    type: "directory",
    mode: 0o755,
    sizeBytes: 0,
    mtimeNs: 5n,
    uid: 0,
    gid: 0,
    object,
  };
}

function fileEntry(name: string, object: ObjectId): DirectoryEntry {
  return { ...directoryEntry(name, object), type: "file", mode: 0o644, sizeBytes: 1 };
}

async function writeDirectory(
  repository: Repository,
  entries: readonly DirectoryEntry[],
): Promise<ObjectId> {
  const summary = buildSummary({ entries, mtimeNs: 0n });
  async function* data(): AsyncGenerator<Uint8Array> {
    yield encodeDirectory({ entries, summary });
  }
  return (await repository.objects.write(data(), { prefix: "k" })).id;
}

describe("a snapshot manifest", () => {
  test("is stored as stock Kopia stores it", async () => {
    const snapshot = snapshotFromJson(vector.payload, "vector");
    expect(snapshot).toMatchObject({ tags: { a: "b", zz: "c d" }, pins: ["p1", "p2"] });
    expect(JSON.stringify(snapshotToJson(snapshot))).toBe(JSON.stringify(vector.payload));
    const { id } = await saveSnapshot(shared, snapshot);
    const { labels, payload } = await shared.manifests.get(id);
    expect(
      Object.entries(labels)
        .map(([key, value]) => `${key}:${value}`)
        .sort(),
    ).toEqual(vector.labels);
    expect(payload).toEqual(vector.payload);
    await deleteSnapshot(shared, id);
  });

  test("is what was saved, pins sorted and unique", async () => {
    const snapshot = made({
      description: "<d>",
      incomplete: "checkpoint",
      tags: { k: "v" },
      bareTags: { b: "w" },
      pins: ["z", "a", "z"],
    });
    const saved = await saveSnapshot(shared, snapshot);
    expect(saved).toEqual({ ...snapshot, pins: ["a", "z"], id: saved.id });
    expect(await loadSnapshot(shared, saved.id)).toEqual(saved);
    await deleteSnapshot(shared, saved.id);
    await expect(loadSnapshot(shared, saved.id)).rejects.toMatchObject({
      code: "manifest-not-found",
    });
  });

  test.each([
    ["no host", { source: { host: "", userName: "u", path: "/" } }],
    ["no path", { source: { host: "h", userName: "u", path: "" } }],
    ["a reserved bare tag", { bareTags: { path: "/x" } }],
    ["a bare tag with the prefix", { bareTags: { "tag:x": "y" } }],
  ])("with %s is refused", async (_, more) => {
    await expect(saveSnapshot(shared, made(more))).rejects.toMatchObject({
      code: "invalid-argument",
    });
  });

  test.each([
    ["no root", { rootEntry: undefined }],
    ["a root without object", { rootEntry: { name: "x", type: "d" } }],
    ["a file root that climbs", { rootEntry: { name: "../x", type: "f", obj: "aa" } }],
    ["no source", { source: undefined }],
    ["a bad time", { startTime: "now" }],
    ["tags that are no map", { tags: ["a"] }],
  ])("with %s is corrupt", (_, more) => {
    expect(() => snapshotFromJson({ ...vector.payload, ...more }, "test")).toThrow(
      expect.objectContaining({ code: "corrupt" }),
    );
  });

  test("of any JSON is a snapshot or a VarveError", () => {
    const member = fc.constantFrom(...Object.keys(vector.payload));
    fc.assert(
      fc.property(fc.dictionary(member, fc.jsonValue()), (changes) => {
        try {
          snapshotToJson(snapshotFromJson({ ...vector.payload, ...changes }, "fuzz"));
        } catch (error) {
          expect(isVarveError(error)).toBe(true);
        }
      }),
      { seed: 1, numRuns: 1000 },
    );
  });
});

describe("edits", () => {
  test("give a new id and keep what varve does not know", async () => {
    const { id } = await saveSnapshot(
      shared,
      made({ tags: { old: "1" }, bareTags: { velero: "x" } }),
    );
    const { labels, payload } = await shared.manifests.get(id);
    const foreign = { ...(payload as object), future: { n: [1] } }; // saved just now
    const strange = await shared.manifests.put({ ...labels, extra: "e" }, foreign);
    await deleteSnapshot(shared, id);
    const edited = await replaceSnapshot(shared, strange, { tags: { new: "2" }, description: "d" });
    expect(edited.id).not.toBe(strange);
    const stored = await shared.manifests.get(edited.id);
    expect(stored.payload).toEqual({
      ...foreign,
      description: "d",
      tags: { "tag:new": "2", velero: "x" },
    });
    expect(stored.labels).toEqual({
      type: "snapshot",
      hostname: "box",
      username: "ann",
      path: "/data",
      extra: "e",
      "tag:new": "2",
      velero: "x",
    });
    await expect(loadSnapshot(shared, strange)).rejects.toMatchObject({
      code: "manifest-not-found",
    });
    expect(await loadSnapshot(shared, edited.id)).toEqual(edited);
    await deleteSnapshot(shared, edited.id);
  });

  test("of pins add and remove, and write nothing when nothing changes", async () => {
    const first = await saveSnapshot(shared, made({ pins: ["b"] }));
    const pinned = await pinSnapshot(shared, first.id, { add: ["a", "b"] });
    expect(pinned.pins).toEqual(["a", "b"]);
    expect(await pinSnapshot(shared, pinned.id, { add: ["a"], remove: ["x"] })).toEqual(pinned);
    const bare = await pinSnapshot(shared, pinned.id, { remove: ["a", "b"] });
    expect(bare.pins).toEqual([]);
    expect((await shared.manifests.get(bare.id)).payload).not.toHaveProperty("pins");
    await deleteSnapshot(shared, bare.id);
  });

  test("touch no manifest of another type", async () => {
    const id = await shared.manifests.put({ type: "policy", policyType: "global" }, {});
    for (const edit of [
      deleteSnapshot(shared, id),
      replaceSnapshot(shared, id, {}),
      loadSnapshot(shared, id),
    ]) {
      await expect(edit).rejects.toMatchObject({ code: "manifest-not-found" });
    }
    await shared.manifests.delete(id);
  });
});

describe("listSnapshots", () => {
  test("filters by source, tags and completeness, sorts by time, sets damage aside", async () => {
    const repository = await newRepository();
    const other = { host: "box", userName: "ann", path: "/other" };
    await saveSnapshot(repository, made({ startTimeNs: 3n, tags: { t: "1" } }));
    await saveSnapshot(repository, made({ startTimeNs: 1n, incomplete: "canceled" }));
    await saveSnapshot(repository, made({ startTimeNs: 2n, source: other, bareTags: { t: "1" } }));
    const bad = await repository.manifests.put(
      { type: "snapshot", hostname: "box", username: "ann", path: "/data" },
      { id: "" },
    );
    const starts = async (filter?: Parameters<typeof listSnapshots>[1]): Promise<number[]> =>
      (await listSnapshots(repository, filter)).snapshots.map(({ startTimeNs }) =>
        Number(startTimeNs),
      );
    expect(await starts()).toEqual([1, 2, 3]);
    expect(await starts({ source: made().source })).toEqual([1, 3]);
    expect(await starts({ incomplete: false })).toEqual([2, 3]);
    expect(await starts({ tags: { t: "1" } })).toEqual([3]);
    expect(await starts({ bareTags: { t: "1" } })).toEqual([2]);
    expect((await listSnapshots(repository)).damaged).toMatchObject([
      { id: bad, error: { code: "corrupt" } },
    ]);
    expect((await listSnapshots(repository, { source: other })).damaged).toEqual([]);
    expect((await listSources(repository)).map(formatSource)).toEqual([
      "ann@box:/data",
      "ann@box:/other",
    ]);
  });
});

test("sources are written and read as user@host:/path", () => {
  const source = { userName: "ann", host: "box", path: "/a:b@c" };
  expect(parseSource(formatSource(source))).toEqual(source);
  for (const text of ["", "/a", "a@b", "a@b:", "@b:/x", "a@:/x"]) {
    expect(() => parseSource(text)).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  }
});

function at(day: number): bigint {
  return msToNs(Date.UTC(2024, 2, day, 6));
}

describe("trees", () => {
  const file = parseObjectId("0123456789abcdef0123456789abcdef");
  const missing = parseObjectId("kffffffffffffffffffffffffffffffff");
  let root: DirectoryEntry;
  beforeAll(async () => {
    const deep = await writeDirectory(shared, [fileEntry("leaf", file)]);
    const sub = await writeDirectory(shared, [directoryEntry("deep", deep), fileEntry("f", file)]);
    root = directoryEntry(
      "data",
      await writeDirectory(shared, [
        directoryEntry("gone", missing),
        directoryEntry("sub", sub),
        fileEntry("top", file),
      ]),
    );
  });

  test("are walked in order, past directories that cannot be read", async () => {
    const seen: string[] = [];
    for await (const item of walkTree(shared, root)) {
      seen.push("entry" in item ? item.path : `${item.path}!`);
    }
    expect(seen).toEqual(["", "gone", "gone!", "sub", "sub/deep", "sub/deep/leaf", "sub/f", "top"]);
  });

  test("are looked up by path", async () => {
    expect((await findEntry(shared, root, "sub/deep/leaf")).object).toBe(file);
    expect((await findEntry(shared, root, "/sub//deep/")).name).toBe("deep");
    expect(await findEntry(shared, root, "")).toBe(root);
    for (const path of ["no", "top/x", "sub/..", ".."]) {
      await expect(findEntry(shared, root, path)).rejects.toMatchObject({
        code: "object-not-found",
      });
    }
    await expect(readDirectory(shared, missing)).rejects.toMatchObject({
      code: "content-not-found",
    });
  });

  describe("selectSnapshot", () => {
    let repository: Repository;
    const ids: string[] = [];
    beforeAll(async () => {
      repository = { ...shared, manifests: (await newRepository()).manifests };
      const empty = directoryEntry("data", await writeDirectory(shared, []));
      for (const snapshot of [
        made({ root, startTimeNs: at(1) }),
        made({ root, startTimeNs: at(10) }),
        made({ root: empty, startTimeNs: at(14) }),
        made({ root, startTimeNs: at(15), incomplete: "checkpoint" }),
        made({
          root,
          startTimeNs: at(15),
          source: { host: "other", userName: "ann", path: "/data" },
        }),
        made({
          root: directoryEntry("sub", (await findEntry(shared, root, "sub")).object),
          startTimeNs: at(5),
          source: { host: "box", userName: "ann", path: "/data/sub" },
        }),
      ]) {
        ids.push((await saveSnapshot(repository, snapshot)).id);
      }
    });
    const select = async (text: string, snapshotTime?: string): Promise<string> => {
      const { snapshot, path, entry } = await selectSnapshot(repository, text, { snapshotTime });
      return `${snapshot === undefined ? "none" : ids.indexOf(snapshot.id)} ${path} ${entry.name}`;
    };

    test.each([
      ["/data", undefined, "2  data"],
      ["/data/", "latest", "2  data"],
      ["/data", "oldest", "0  data"],
      ["/data", "2024-03-10", "1  data"],
      ["/data", "2024-03-10T05", "0  data"],
      ["/data", "yesterday", "2  data"],
      ["ann@other:/data", undefined, "4  data"],
      // The newest snapshot that holds the path, whichever source it is of.
      ["/data/sub/deep", undefined, "1 sub/deep deep"],
      ["/data/sub/deep", "7d-ago", "5 deep deep"],
      ["/data/sub/deep", "oldest", "0 sub/deep deep"],
      ["ann@box:/data/top", undefined, "1 top top"],
    ])("%s at %s is %s", async (text, time, expected) => {
      expect(await select(text, time)).toBe(expected);
    });

    test("an id, its beginning, a root object, another object, each with a path below", async () => {
      const [first = ""] = ids;
      expect(await select(first)).toBe("0  data");
      expect(await select(`${first}/sub/f`)).toBe("0 sub/f f");
      expect(await select(ids[3] ?? "")).toBe("3  data");
      expect(await select(first.slice(0, 12))).toBe("0  data");
      expect(await select(`${root.object}/top`)).toBe("4 top top");
      const deep = await findEntry(shared, root, "sub/deep");
      expect(await select(`${deep.object}/leaf`)).toBe("none leaf leaf");
    });

    test.each([
      ["/nowhere", "object-not-found"],
      ["/data/nothing", "object-not-found"],
      ["bob@box:/data", "object-not-found"],
      ["relative/path", "object-not-found"],
      ["zzzz", "object-not-found"],
      ["", "object-not-found"],
    ])("%j: %s", async (text, code) => {
      await expect(select(text)).rejects.toMatchObject({ code });
    });

    test("a beginning that two ids share, and a time that is none, mean nothing", async () => {
      // Ids are random: some hundreds are enough for two that begin alike.
      const crowded = await newRepository();
      const seen = new Set<string>();
      let prefix = "";
      while (prefix === "") {
        const beginning = (await saveSnapshot(crowded, made())).id.slice(0, 4);
        prefix = seen.has(beginning) ? beginning : "";
        seen.add(beginning);
      }
      await expect(selectSnapshot(crowded, prefix)).rejects.toMatchObject({
        code: "invalid-argument",
      });
      await expect(select("/data", "soon")).rejects.toMatchObject({ code: "invalid-argument" });
    });
  });
});
