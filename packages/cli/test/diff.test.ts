import { chmodSync, rmSync, utimesSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;
let before: string;
let after: string;

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository();
  const create = async (): Promise<string> => {
    utimesSync(cli.path("docs"), 1e9, 1e9);
    return (await cli.json<SnapshotJson>(["snapshot", "create", "docs"])).id;
  };
  cli.write("docs/changed", "one");
  cli.write("docs/removed", "x");
  cli.write("docs/mode", "x");
  cli.write("docs/same", "x");
  utimesSync(cli.path("docs/changed"), 1e9, 1e9);
  before = await create();
  cli.write("docs/changed", "three");
  utimesSync(cli.path("docs/changed"), 1e9, 1e9);
  rmSync(cli.path("docs/removed"));
  chmodSync(cli.path("docs/mode"), 0o600);
  cli.write("docs/new\ndirectory/file", "x");
  after = await create();
});

afterAll(() => cli[Symbol.dispose]());

test("text for people, safe for terminals", async () => {
  expect(await cli.ok(["diff", before, after])).toBe(
    [
      "modified ./changed: content, size 3 -> 5",
      "modified ./mode: mode -rw-r--r-- -> -rw-------",
      "added directory ./new\\x0adirectory",
      "added file ./new\\x0adirectory/file (1 B)",
      "removed file ./removed (1 B)",
      "files and links: 1 added, 1 removed, 2 modified",
      "directories: 1 added, 0 removed, 0 modified",
      "",
    ].join("\n"),
  );
});

test("equal trees have no changes", async () => {
  expect(await cli.json<object>(["diff", before, before])).toMatchObject({ changes: [] });
});

const STATS = {
  fileEntries: {
    added: 1,
    removed: 1,
    modified: 2,
    sameContentButDifferentMetadata: 1,
    sameContentButDifferentMode: 1,
    sameContentButDifferentModificationTime: 0,
    sameContentButDifferentUserOwner: 0,
    sameContentButDifferentGroupOwner: 0,
  },
  directoryEntries: {
    added: 1,
    removed: 0,
    modified: 0,
    sameContentButDifferentMetadata: 0,
    sameContentButDifferentMode: 0,
    sameContentButDifferentModificationTime: 0,
    sameContentButDifferentUserOwner: 0,
    sameContentButDifferentGroupOwner: 0,
  },
};

test("one JSON document with every change and Kopia's statistics", async () => {
  const { changes, stats } = await cli.json<{ changes: object[]; stats: object }>([
    "diff",
    before,
    after,
  ]);
  expect(changes).toMatchObject([
    { change: "modified", path: "changed", differences: ["content", "size"], after: { size: 5 } },
    { change: "modified", path: "mode", before: { mode: "0644" }, after: { mode: "0600" } },
    { change: "added", path: "new\ndirectory", entry: { type: "d" } },
    { change: "added", path: "new\ndirectory/file" },
    { change: "removed", path: "removed" },
  ]);
  expect(stats).toEqual(STATS);
});

test("only the statistics, as Kopia prints them", async () => {
  expect(JSON.parse(await cli.ok(["diff", "--stats-only", before, after]))).toEqual(STATS);
});

test("directories and files below snapshots can be compared", async () => {
  const changed = await cli.ok(["diff", `${before}/changed`, `${after}/changed`]);
  expect(changed).toContain("modified .: content");
  expect(await cli.fails(["diff", before, `${after}/nothing`])).toContain("[object-not-found]");
});
