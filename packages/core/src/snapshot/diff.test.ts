import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createTestRepository, SOURCE, testPolicy, tree } from "../../test/upload-fixture.ts";
import { utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import type { Repository } from "../repository/repository.ts";
import type { MemoryNode } from "../source/memory-source.ts";
import { upload } from "../upload/upload.ts";
import { encodeDirectory } from "./directory.ts";
import { diffTrees, DiffTally, type TreeChange } from "./diff.ts";
import type { DirectoryEntry } from "./entry.ts";
import { findEntry, type ObjectsOf } from "./read-directory.ts";
import { EMPTY_SUMMARY } from "./summary.ts";

type Children = Readonly<Record<string, MemoryNode>>;

async function stored(repository: Repository, children: Children): Promise<DirectoryEntry> {
  const options = { source: SOURCE, root: tree(children), policy: testPolicy(), previous: [] };
  return (await upload(repository, options)).snapshot.root;
}

async function changes(
  repository: ObjectsOf,
  before: DirectoryEntry,
  after: DirectoryEntry,
): Promise<TreeChange[]> {
  const found: TreeChange[] = [];
  for await (const change of diffTrees(repository, before, after)) {
    found.push(change);
  }
  return found;
}

function told(found: readonly TreeChange[]): string[] {
  return found.map((change) => {
    const what = change.kind === "modified" ? ` ${change.differences.join()}` : "";
    return `${change.kind} ${change.path}${what}`;
  });
}

async function diff(before: Children, after: Children): Promise<string[]> {
  const { repository } = await createTestRepository();
  const roots = [await stored(repository, before), await stored(repository, after)] as const;
  return told(await changes(repository, ...roots));
}

describe("diffTrees", () => {
  test("tells what was added, removed and modified, directories with all that is in them", async () => {
    const before = {
      same: { data: "x" },
      changed: { data: "old" },
      gone: { children: { deep: { children: { file: { data: "" } } } } },
    };
    const after = {
      same: { data: "x" },
      changed: { data: "newer" },
      fresh: { children: { file: { data: "" } } },
    };
    expect(await diff(before, after)).toEqual([
      "modified changed content,size",
      "added fresh",
      "added fresh/file",
      "removed gone",
      "removed gone/deep",
      "removed gone/deep/file",
    ]);
  });

  test("tells which metadata differ, also of the roots' directories", async () => {
    const before = { d: { mode: 0o755, children: { f: { data: "x" }, l: { target: "a" } } } };
    const after = {
      d: {
        mode: 0o700,
        uid: 5,
        children: { f: { data: "x", mtimeNs: 1n, gid: 7, mode: 0o4755 }, l: { target: "b" } },
      },
    };
    expect(await diff(before, after)).toEqual([
      "modified d mode,uid",
      "modified d/f mode,mtime,gid",
      "modified d/l content",
    ]);
  });

  test("an entry of another type is removed and added", async () => {
    const before = { x: { data: "file" } };
    const after = { x: { children: { y: { data: "" } } } };
    expect(await diff(before, after)).toEqual(["removed x", "added x", "added x/y"]);
  });

  test("names that are not UTF-8 are told apart by their bytes", async () => {
    const before = { "a\ufffd": { data: "", nameBytes: new Uint8Array([0x61, 0xff]) } };
    const after = { "a\ufffd": { data: "", nameBytes: new Uint8Array([0x61, 0xfe]) } };
    expect(await diff(before, after)).toEqual(["removed a\ufffd", "added a\ufffd"]);
  });

  test("single files are compared as roots", async () => {
    const { repository } = await createTestRepository();
    const root = await stored(repository, { f: { data: "x" } });
    const file: DirectoryEntry = { ...root, type: "file", name: "f" };
    const found = await changes(repository, file, { ...file, name: "g", mode: 1 });
    expect(told(found)).toEqual(["modified  mode"]);
    expect(told(await changes(repository, file, root))).toEqual(["removed ", "added ", "added f"]);
  });

  test("what both have is not read", async () => {
    const { repository } = await createTestRepository();
    const shared = { children: { big: { children: { file: { data: "x" } } } } };
    const before = await stored(repository, { shared });
    const after = await stored(repository, { shared, more: { data: "" } });
    const opened: string[] = [];
    const watched: ObjectsOf = {
      objects: {
        ...repository.objects,
        open: (id, options) => {
          opened.push(id);
          return repository.objects.open(id, options);
        },
      },
    };
    expect(told(await changes(watched, before, after))).toEqual(["added more"]);
    expect(opened).toEqual([before.object, after.object]);
  });

  test("an unreadable record is a problem of its side, and the rest goes on", async () => {
    const { repository } = await createTestRepository();
    const before = await stored(repository, {
      bad: { children: { f: { data: "1" } } },
      good: { data: "1" },
    });
    const after = await stored(repository, {
      bad: { children: { f: { data: "2" } } },
      good: { data: "2" },
    });
    const unreadable = await badDirectoryOf(repository, after);
    const broken: ObjectsOf = {
      objects: {
        ...repository.objects,
        open: async (id, options) => {
          if (id === unreadable) {
            throw new VarveError("corrupt", "flipped");
          }
          return repository.objects.open(id, options);
        },
      },
    };
    const found = await changes(broken, before, after);
    expect(told(found)).toEqual(["problem bad", "modified good content"]);
    expect(found[0]).toEqual({ kind: "problem", path: "bad", side: "after", message: "flipped" });
  });

  test("entries that were set aside are problems", async () => {
    const { repository } = await createTestRepository();
    const before = await stored(repository, {});
    const record = new TextDecoder()
      .decode(encodeDirectory({ entries: [{ ...before, name: "evil" }], summary: EMPTY_SUMMARY }))
      .replace("evil", "..");
    const { id } = await repository.objects.write(once(utf8(record)), { prefix: "k" });
    const found = await changes(repository, before, { ...before, object: id });
    expect(told(found)).toEqual(["problem .."]);
  });

  test("an abort ends it", async () => {
    const { repository } = await createTestRepository();
    const before = await stored(repository, { a: { data: "1" } });
    const after = await stored(repository, { a: { data: "2" } });
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(diffTrees(repository, before, after, { signal }).next()).rejects.toThrow("enough");
  });

  test("back and forth are mirror images (random trees)", async () => {
    const { repository } = await createTestRepository();
    const file = fc.record({ data: fc.constantFrom("", "1", "2"), mode: fc.constantFrom(1, 2) });
    const names = fc.constantFrom("a", "b", "c", "\uffee", "\u{1f600}");
    const { node } = fc.letrec<{ node: MemoryNode; children: Children }>((tie) => ({
      node: fc.oneof({ maxDepth: 3 }, file, fc.record({ children: tie("children") })),
      children: fc.dictionary(names, tie("node"), { maxKeys: 4 }),
    }));
    const children = fc.dictionary(names, node, { maxKeys: 4 });
    await fc.assert(
      fc.asyncProperty(children, children, async (a, b) => {
        const [before, after] = [await stored(repository, a), await stored(repository, b)];
        const there = await changes(repository, before, after);
        const back = await changes(repository, after, before);
        expect(there.length === 0).toBe(before.object === after.object);
        expect(told(back).map(mirrored).sort()).toEqual(told(there).sort());
      }),
      { seed: 1, numRuns: 60 },
    );
  });
});

describe("DiffTally", () => {
  test("counts with the meanings of Kopia's statistics", async () => {
    const { repository } = await createTestRepository();
    const before = await stored(repository, {
      content: { data: "1" },
      mode: { data: "x", mode: 0o644 },
      times: { data: "x", mtimeNs: 1n, uid: 1 },
      d: { children: {}, mode: 0o700 },
    });
    const after = await stored(repository, {
      content: { data: "2" },
      mode: { data: "x", mode: 0o600 },
      times: { data: "x", mtimeNs: 2n, uid: 2 },
      d: { children: {}, mode: 0o755 },
      new: { children: { link: { target: "x" } } },
    });
    const tally = new DiffTally();
    for (const change of await changes(repository, before, after)) {
      tally.add(change);
    }
    expect(tally.files).toEqual({
      added: 1,
      removed: 0,
      modified: 3,
      sameContentButDifferentMetadata: 2,
      sameContentButDifferentMode: 1,
      sameContentButDifferentModificationTime: 1,
      sameContentButDifferentUserOwner: 1,
      sameContentButDifferentGroupOwner: 0,
    });
    expect(tally.directories).toMatchObject({ added: 1, modified: 1 });
    expect(tally.directories.sameContentButDifferentMode).toBe(1);
    expect(tally.problems).toBe(0);
  });
});

function mirrored(line: string): string {
  return line.replace(/^(added|removed)/, (word) => (word === "added" ? "removed" : "added"));
}

async function badDirectoryOf(repository: Repository, root: DirectoryEntry): Promise<string> {
  return (await findEntry(repository, root, "bad")).object;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
