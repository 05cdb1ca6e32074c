import type { ChildProcess } from "node:child_process";
import { readdirSync, symlinkSync, truncateSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli, ended, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository("--override-username", "ann", "--override-hostname", "home");
});

afterAll(() => cli[Symbol.dispose]());

const create = (...args: readonly string[]): Promise<SnapshotJson> =>
  cli.json<SnapshotJson>(["snapshot", "create", ...args]);

/** A megabyte that nothing shrinks. */
function noise(seed: number): Buffer {
  const block = Buffer.alloc(1_000_000);
  let state = seed;
  for (let at = 0; at < block.length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    block.writeUInt32LE((state ^ (state >>> 13)) >>> 0, at);
  }
  return block;
}

/** Waits until the program has stored one more pack of data, or has ended. */
async function newPack(child: ChildProcess): Promise<void> {
  const before = packCount();
  while (packCount() === before && child.exitCode === null) {
    await sleep(10);
  }
}

function packCount(): number {
  return readdirSync(cli.path("repo/p"), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  ).length;
}

describe("snapshot create", () => {
  test("prints Kopia's manifest as one document, and what was uploaded; counts only when asked", async () => {
    cli.write("docs/a.txt", "alpha");
    cli.write("docs/sub/b.txt", "beta");
    symlinkSync("a.txt", cli.path("docs/link"));
    const first = await create("docs", "--json-verbose");
    expect(Object.keys(first)).toEqual([
      "id",
      "source",
      "description",
      "startTime",
      "endTime",
      "stats",
      "rootEntry",
      "upload",
    ]);
    expect(first.source).toEqual({ host: "home", userName: "ann", path: cli.path("docs") });
    expect(first.rootEntry).toMatchObject({ name: "docs", type: "d" });
    expect(first.rootEntry.summ).toMatchObject({ size: 9, files: 2, numFailed: 0 });
    expect(first.stats).toMatchObject({ totalSize: 9, cachedFiles: 0, nonCachedFiles: 2 });
    expect(first.upload).toMatchObject({ saved: true, errors: [] });
    expect(first.upload["newContents"]).toBeGreaterThan(0);
    expect(first.upload["uploadedBlobs"]).toBeGreaterThan(0);

    const second = await create("docs", "--json-verbose");
    expect(second.stats).toMatchObject({ cachedFiles: 3, nonCachedFiles: 0 });
    expect(second.rootEntry.obj).toBe(first.rootEntry.obj);
    expect(second.id).not.toBe(first.id);
    expect(await create("docs")).not.toHaveProperty("stats");
    const forced = await create("docs", "--json-verbose", "--force-hash", "100");
    expect(forced.stats).toMatchObject({ cachedFiles: 0, nonCachedFiles: 2 });
  });

  test("tells people the id, the root and the amounts", async () => {
    const text = await cli.ok(["snapshot", "create", "docs"]);
    expect(text).toMatch(/^snapshot [0-9a-f]{32} of ann@home:/);
    expect(text).toContain("2 files, 1 link, 2 directories, 9 B");
  });

  test("several sources are one array; one that fails neither stops nor hides the others", async () => {
    const args = ["snapshot", "create", "docs/a.txt", "missing", "docs/sub"];
    const documents = await cli.json<(SnapshotJson & { path?: string })[]>(args, { status: 1 });
    expect(documents.map((document) => document.rootEntry?.type ?? document.path)).toEqual([
      "f",
      "missing",
      "d",
    ]);
    expect(documents[1]).toMatchObject({ error: { code: "source-failed" } });
    expect(await cli.fails(["snapshot", "create", "missing"])).toContain("[source-failed]");
  });

  test("keeps description, tags, pins and other times", async () => {
    const kept = ["--description", "weekly", "--tags", "kind:a:b", "--tags", "x:"];
    const pins = ["--pin", "p2", "--pin", "p1"];
    const start = ["--start-time", "2024-01-31 12:00:00 UTC"];
    const end = ["--end-time", "2024-01-31 14:00:01.5 +01:00"];
    const made = await create("docs", ...kept, ...pins, ...start, ...end);
    expect(made).toMatchObject({
      description: "weekly",
      tags: { "tag:kind": "a:b", "tag:x": "" },
      pins: ["p1", "p2"],
      startTime: "2024-01-31T12:00:00Z",
      endTime: "2024-01-31T13:00:01.5Z",
    });
  });

  test("a directory that cannot be understood is left out, told and counted; the rest is saved", async () => {
    cli.write("odd/good.txt", "x");
    cli.write("odd/bad/.kopiaignore", "[unterminated\n");
    const { status, stdout, stderr } = await cli.run(["snapshot", "create", "odd", "--json"]);
    const made = JSON.parse(stdout) as SnapshotJson; // checked right below
    expect(status).toBe(1);
    expect(stderr).toMatch(/^varve: error: bad: .*\[invalid-argument\]$/m);
    expect(made.upload.errors).toMatchObject([{ path: "bad", code: "invalid-argument" }]);
    expect(made.rootEntry.summ).toMatchObject({ files: 1, numFailed: 1 });
    expect(made).not.toHaveProperty("incomplete");

    const fast = await cli.json<SnapshotJson>(["snapshot", "create", "odd", "--fail-fast"], {
      status: 1,
    });
    expect(fast.incomplete).toBe("canceled");
  });

  test("what rules leave out is counted", async () => {
    cli.write("rules/.kopiaignore", "*.log\n");
    cli.write("rules/x.log", "12345");
    const made = await create("rules", "--json-verbose");
    expect(made.stats).toMatchObject({ excludedFileCount: 1, excludedTotalSize: 5 });
    expect(await cli.ok(["snapshot", "create", "rules"])).toContain("left out: 1 file by rules");
  });

  test("standard input becomes a file; such a source is not repeated by --all, nor is an overridden one", async () => {
    const first = await cli.json<SnapshotJson>(
      ["snapshot", "create", "/virtual/dir", "--stdin-file", "dump.sql"],
      { input: "select 1" },
    );
    expect(first.source.path).toBe("/virtual/dir");
    expect(await cli.ok(["show", `${first.id}/dump.sql`])).toBe("select 1");
    const other = await create("docs", "--override-source", "bob@far:/elsewhere");
    expect(other.source).toEqual({ host: "far", userName: "bob", path: "/elsewhere" });
    const moved = await create("docs", "--override-source", "ann@home:/moved");
    expect(moved.source.path).toBe("/moved");

    const all = await cli.json<SnapshotJson[]>(["snapshot", "create", "--all"], { status: 1 });
    expect(all.map(({ source }) => source?.path.slice(cli.dir.length))).toEqual([
      "/docs",
      "/docs/a.txt",
      "/docs/sub",
      "/odd",
      "/rules",
    ]);
  });

  test("a limit ends it in good order, as incomplete and as a failure", async () => {
    cli.write("limited/a", "small");
    cli.write("limited/b", Buffer.alloc(3_000_000, "x"));
    const made = await cli.json<SnapshotJson>(
      ["snapshot", "create", "limited", "--upload-limit-mb", "1"],
      { status: 1 },
    );
    expect(made.incomplete).toBe("limit reached");
    expect(made.rootEntry.summ.files).toBe(1);
  });

  test("Ctrl-C saves what is done, fails, and the next run goes on from there", async () => {
    for (let index = 10; index < 50; index++) {
      cli.write(`long/${index}`, noise(index));
    }
    truncateSync(cli.write("long/z", ""), 2 ** 36);
    const child = cli.start(["snapshot", "create", "long", "--json"]);
    const ending = ended(child);
    await newPack(child); // a full one: files are done
    child.kill("SIGINT");
    const { status, stdout, stderr } = await ending;
    const stopped = JSON.parse(stdout) as SnapshotJson; // checked right below
    expect(status).toBe(1);
    expect(stderr).toContain("incomplete (canceled)");
    expect(stopped.incomplete).toBe("canceled");

    truncateSync(cli.path("long/z"), 10);
    const resumed = await create("long", "--json-verbose");
    expect(resumed).not.toHaveProperty("incomplete");
    expect(resumed.stats?.["cachedFiles"]).toBeGreaterThan(0);
    expect(resumed.rootEntry.summ.files).toBe(41);
  });

  test("Ctrl-C does not wait for standard input", async () => {
    const child = cli.start(["snapshot", "create", "/pipe", "--stdin-file", "x"]);
    const ending = ended(child);
    child.stdin?.on("error", () => {}); // the program ends before it has taken all
    for (let index = 100; index < 160; index++) {
      child.stdin?.write(noise(index));
    }
    await newPack(child); // it is at work, and waits for more
    child.kill("SIGINT");
    const { status, stderr } = await ending;
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining("canceled") });
  });

  test.each([
    [["--tags", "a:1", "--tags", "a:2"]],
    [["--tags", "nocolon"]],
    [["--force-hash", "101"]],
    [["--parallel", "0"]],
    [["--start-time", "yesterday"]],
    [["--checkpoint-interval", "soon"]],
    [["--no-such-option"]],
  ])("%j is a usage error", async (args) => {
    const { status, stdout, stderr } = await cli.run(["snapshot", "create", "docs", ...args]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^varve: /);
  });

  test.each([
    ["nothing to back up", []],
    ["both --all and a source", ["docs", "--all"]],
    ["two sources for one stream", ["docs", "odd", "--stdin-file", "x"]],
    ["a description of more than 1024 bytes", ["docs", "--description", "x".repeat(1025)]],
    ["a checkpoint interval above 45m", ["docs", "--checkpoint-interval", "46m"]],
    [
      "a start after the end",
      ["docs", "--start-time", "2024-01-02 00:00:00Z", "--end-time", "2024-01-01 00:00:00Z"],
    ],
    ["a source without a path", ["docs", "--override-source", "nobody"]],
  ])("%s is refused", async (_, args) => {
    expect(await cli.fails(["snapshot", "create", ...args])).toContain("[invalid-argument]");
  });
});
