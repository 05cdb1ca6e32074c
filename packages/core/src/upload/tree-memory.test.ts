import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { memoryCache } from "../../test/memory-cache.ts";
import {
  createTestRepository,
  openTestRepository,
  SOURCE,
  storedTree,
  type TestRepository,
  testPolicy,
} from "../../test/upload-fixture.ts";
import type { CacheSource } from "../blob/blob-cache.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { PolicyTree } from "../policy/policy-tree.ts";
import { findEntry } from "../snapshot/read-directory.ts";
import { localSource } from "../source/local-source.ts";
import { upload } from "./upload.ts";
import type { UploadOptions, UploadReport } from "./upload-options.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "varve-memory-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function put(name: string, text: string): void {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
}

interface World extends Pick<TestRepository, "store" | "environment"> {
  readonly notes: CacheSource & { entries: Map<string, Uint8Array> };
  /** Objects that the last backup has opened. */
  readonly opened: ObjectId[];
}

async function world(): Promise<World> {
  const { store, environment } = await createTestRepository();
  return { store, environment, notes: memoryCache(), opened: [] };
}

/** A backup by a process of its own. */
async function backUp(
  { store, environment, notes, opened }: World,
  options: Partial<UploadOptions> = {},
): Promise<UploadReport> {
  environment.advance(60_000);
  await using repository = await openTestRepository(store, environment, { notes });
  const open = repository.objects.open.bind(repository.objects);
  opened.length = 0;
  repository.objects.open = (id, options) => {
    opened.push(id);
    return open(id, options);
  };
  const root = await localSource(folder);
  return await upload(repository, { source: SOURCE, root, policy: testPolicy(), ...options });
}

/** What a backup records that compares with nothing. */
async function backUpAnew(made: World, policy?: PolicyTree): Promise<UploadReport> {
  const alone = { ...made, notes: memoryCache() };
  return await backUp(alone, { previous: [], ...(policy === undefined ? {} : { policy }) });
}

describe("the next backup on the same machine", () => {
  test("of an unchanged tree reads no record of a directory, and counts as one that does", async () => {
    const made = await world();
    put("a", "alpha");
    put("sub/deep/b", "beta");
    put("sub/c", "gamma");
    mkdirSync(join(folder, "void"));
    symlinkSync("nowhere", join(folder, "sub/link"));
    const first = await backUp(made);
    const other = await backUp({ ...made, notes: memoryCache() });
    expect(made.opened.length).toBe(4);
    const again = await backUp(made);
    expect(made.opened).toEqual([]);
    expect(again.snapshot.root).toEqual(first.snapshot.root);
    expect(again.stats).toEqual(other.stats);
    expect(again.contentStats.newContents).toBe(1); // the manifest
  });

  test("reads the records of the directories that changed, and of those above", async () => {
    const made = await world();
    for (const name of ["a/1", "a/2", "b/x/1", "b/y/1", "c/1"]) {
      put(name, name);
    }
    await backUp(made);
    appendFileSync(join(folder, "b/x/1"), "more");
    const { snapshot, stats } = await backUp(made);
    expect(stats.cachedFiles).toBe(4);
    await using repository = await openTestRepository(made.store, made.environment);
    expect(await storedTree(repository, snapshot.root)).toMatchObject({ "b/x/1": "b/x/1more" });
    expect(snapshot.root).toEqual((await backUpAnew(made)).snapshot.root);
  });

  test("records what a backup would that compares with nothing, whatever was changed", async () => {
    const names = ["a", "b", "d/a", "d/b", "d/e/a", "d/e/f/a", "g/a", "g/h/a"];
    const edit = fc.record({
      name: fc.constantFrom(...names),
      kind: fc.constantFrom("write", "remove", "chmod", "touch", "link", "rename", "folder"),
    });
    const step = fc.record({
      edits: fc.array(edit, { maxLength: 3 }),
      ignored: fc.constantFrom([], ["a"], ["f/"], ["e/a", "h/"]),
    });
    const property = fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 4 }),
      async (steps) => {
        rmSync(folder, { recursive: true });
        mkdirSync(folder);
        const made = await world();
        names.forEach((name) => put(name, name));
        await backUp(made);
        for (const { edits, ignored } of steps) {
          edits.forEach(({ name, kind }, index) => change(name, kind, index));
          const policy = testPolicy({ files: { ignore: ignored } });
          const { snapshot } = await backUp(made, { policy });
          expect(snapshot.root).toEqual((await backUpAnew(made, policy)).snapshot.root);
        }
      },
    );
    await fc.assert(property, { seed: 1, numRuns: 25 });
  });

  test("reads a file again whose content the index has lost", async () => {
    const made = await world();
    put("sub/a", "alpha");
    put("sub/b", "beta");
    const { snapshot } = await backUp(made);
    await using repository = await openTestRepository(made.store, made.environment);
    const { object } = await findEntry(repository, snapshot.root, "sub/b");
    repository.contents.remove([splitObjectId(object).contentId]);
    await repository.flush();
    const { stats } = await backUp(made);
    expect([stats.cachedFiles, stats.nonCachedFiles]).toEqual([1, 1]);
    expect((await backUp(made)).stats.cachedFiles).toBe(2);
  });

  test("is not misled by notes that are torn, or of another snapshot", async () => {
    const made = await world();
    put("sub/a", "alpha");
    await backUp(made);
    const old = new Map(made.notes.entries);
    put("sub/a", "other");
    const { snapshot } = await backUp(made);
    for (const [name, note] of old) {
      for (const damaged of [note, note.slice(0, 40), note.map((byte) => byte ^ 1)]) {
        made.notes.entries.set(name, damaged);
        expect((await backUp(made)).snapshot.root).toEqual(snapshot.root);
      }
    }
  });

  test("finds names and contents of the source nowhere in the notes", async () => {
    const made = await world();
    put("a-name-to-look-for/x", "alpha");
    await backUp(made);
    expect(made.notes.entries.size).toBe(1);
    for (const [name, note] of made.notes.entries) {
      expect(name + Buffer.from(note).toString("latin1")).not.toMatch(/name-to-look-for|host|data/);
    }
  });
});

function change(name: string, kind: string, index: number): void {
  const path = join(folder, name);
  const above = join(path, "..");
  mkdirSync(above, { recursive: true });
  const isThere = readdirSync(above).includes(path.slice(above.length + 1));
  if (kind === "folder") {
    mkdirSync(`${path}-${index}`, { recursive: true });
  } else if (kind === "link") {
    rmSync(path, { force: true });
    symlinkSync(`to-${index}`, path);
  } else if (!isThere || kind === "write") {
    rmSync(path, { force: true });
    writeFileSync(path, `${name} ${index}`.repeat(index + 1));
  } else if (kind === "rename") {
    rmSync(`${path}-${index}`, { force: true, recursive: true });
    renameSync(path, `${path}-${index}`);
  } else if (kind === "remove") {
    rmSync(path);
  } else {
    rmSync(path);
    writeFileSync(path, name);
    if (kind === "chmod") {
      chmodSync(path, 0o640 + index);
    } else {
      utimesSync(path, 1000 + index, 1000 + index);
    }
  }
}
