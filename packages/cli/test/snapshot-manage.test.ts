import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;
let first: SnapshotJson;
let second: SnapshotJson;
let elsewhere: SnapshotJson;
let stopped: SnapshotJson;

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository("--override-username", "ann", "--override-hostname", "home");
  cli.write("docs/a.txt", "alpha");
  cli.write("docs/sub/b.txt", "beta");
  const create = (...args: string[]): Promise<SnapshotJson> =>
    cli.json<SnapshotJson>(["snapshot", "create", ...args]);
  first = await create("docs", "--tags", "kind:full", "--start-time", "2024-01-01 00:00:00 UTC");
  cli.write("docs/c.txt", "gamma");
  second = await create("docs", "--start-time", "2024-01-02 00:00:00 UTC");
  elsewhere = await create("docs/sub", "--override-source", "bob@far:/sub");
  cli.write("limited/b", Buffer.alloc(2_000_000));
  stopped = await cli.json<SnapshotJson>(
    ["snapshot", "create", "limited", "--upload-limit-mb", "1"],
    { status: 1 },
  );
});

afterAll(() => cli[Symbol.dispose]());

async function listed(...args: readonly string[]): Promise<readonly SnapshotJson[]> {
  return await cli.json<SnapshotJson[]>(["snapshot", "list", ...args]);
}

async function listedIds(...args: readonly string[]): Promise<readonly string[]> {
  return (await listed(...args)).map(({ id }) => id);
}

describe("snapshot list", () => {
  test("shows the complete ones of this user and host, with counts and why each is kept", async () => {
    const list = await listed();
    expect(list.map(({ id }) => id)).toEqual([first.id, second.id]);
    expect(list[0]).toMatchObject({
      source: { host: "home", userName: "ann", path: cli.path("docs") },
      startTime: "2024-01-01T00:00:00Z",
      tags: { "tag:kind": "full" },
      retentionReason: ["latest-2", "hourly-2", "daily-2"],
    });
    expect(list[0]?.stats).toMatchObject({ fileCount: 2, totalSize: 9 });
    expect(list[1]?.retentionReason).toContain("latest-1");
  });

  test("of all users, incomplete ones, one source, the latest, with a tag, the other way round", async () => {
    expect(new Set(await listedIds("-a", "-i"))).toEqual(
      new Set([first.id, second.id, elsewhere.id, stopped.id]),
    );
    expect(await listedIds("bob@far:/sub")).toEqual([elsewhere.id]);
    expect(await listedIds("docs", "-n", "1")).toEqual([second.id]);
    expect(await listedIds("--tags", "kind:full")).toEqual([first.id]);
    expect(await listedIds("docs", "--reverse")).toEqual([second.id, first.id]);
    expect(await listedIds("unknown")).toEqual([]);
  });

  test("is text for people", async () => {
    const text = await cli.ok(["snapshot", "list", "--all", "--incomplete"]);
    expect(text).toContain(`ann@home:${cli.path("docs")}\n  2024-01-01 00:00:00 UTC k`);
    expect(text).toContain(
      `9 B drwxr-xr-x files:2 dirs:2 manifest:${first.id} (latest-2,hourly-2,daily-2)`,
    );
    expect(text).toContain("incomplete:limit reached");
    expect(await cli.ok(["snapshot", "list", "--no-retention"])).not.toContain("latest-");
  });
});

describe("snapshot verify", () => {
  test("reads everything unless told otherwise, and says how much", async () => {
    interface Verified {
      readonly stats: Readonly<Record<string, number>>;
      readonly errorCount: number;
    }
    const all = await cli.json<Verified>(["snapshot", "verify"]);
    expect(all.errorCount).toBe(0);
    expect(all.stats).toMatchObject({ snapshots: 4, files: 3, readBytes: 14 });
    const none = await cli.json<Verified>(["snapshot", "verify", "--verify-files-percent", "0"]);
    expect(none.stats).toMatchObject({ snapshots: 4, files: 3, readBytes: 0 });
    const one = await cli.json<Verified>(["snapshot", "verify", first.id]);
    expect(one.stats).toMatchObject({ snapshots: 1, files: 2 });
    const source = await cli.json<Verified>(["snapshot", "verify", "--sources", "docs"]);
    expect(source.stats).toMatchObject({ snapshots: 2, files: 3 });
    const root = second.rootEntry.obj;
    const directory = await cli.json<Verified>(["snapshot", "verify", "--directory-id", root]);
    expect(directory.stats).toMatchObject({ files: 3 });
    expect(await cli.ok(["snapshot", "verify"])).toContain("no damage found");
  });

  test.each([
    ["an unknown snapshot", ["0123456789abcdef"], "manifest-not-found"],
    ["a source without snapshots", ["--sources", "unknown"], "manifest-not-found"],
    ["what is no object id", ["--file-id", "xyz"], "invalid-argument"],
  ])("%s is an error", async (_, args, code) => {
    expect(await cli.fails(["snapshot", "verify", ...args])).toContain(`[${code}]`);
  });
});

describe("snapshot estimate", () => {
  test("tells what would be backed up and what not", async () => {
    cli.write("docs/.kopiaignore", "*.log\n");
    cli.write("docs/x.log", "123");
    const estimate = await cli.json<object>(["snapshot", "estimate", "docs"]);
    rmSync(cli.path("docs/.kopiaignore"));
    rmSync(cli.path("docs/x.log"));
    expect(estimate).toMatchObject({
      included: { files: 4, bytes: 20, buckets: [{ belowBytes: 1000, files: 4 }] },
      excluded: { files: 1, bytes: 3, buckets: [{ examples: ["x.log"] }] },
      directories: 2,
    });
    const text = await cli.ok(["snapshot", "estimate", "docs", "--show-files"]);
    expect(text).toContain("3 files to back up, 14 B");
    expect(text).toContain("    sub/b.txt");
    expect(await cli.fails(["snapshot", "estimate", "missing"])).toContain("[source-failed]");
  });
});

// These change the snapshots that the others look at, and come last.
describe("snapshot pin, expire, delete", () => {
  test("a pin gives a new id and keeps a snapshot that no rule keeps", async () => {
    await cli.ok(["policy", "set", "--global", "--keep-latest", "1", "--keep-hourly", "0"]);
    await cli.ok(["policy", "set", "--global", "--keep-daily", "0", "--keep-weekly", "0"]);
    await cli.ok(["policy", "set", "--global", "--keep-monthly", "0", "--keep-annual", "0"]);
    const [pinned] = await cli.json<{ before: string; id: string; pins: string[] }[]>([
      "snapshot",
      "pin",
      first.id,
      "--add",
      "keep",
    ]);
    expect(pinned).toMatchObject({ before: first.id, pins: ["keep"] });
    expect(await listedIds()).toEqual([pinned?.id, second.id]);
    expect(await cli.ok(["snapshot", "expire", "docs", "--delete"])).toBe(
      "no snapshot has expired\n",
    );

    const text = await cli.ok(["snapshot", "pin", pinned?.id ?? "", "--remove", "keep"]);
    expect(text).toContain("no pins");
  });

  test("expire tells, and deletes only when told to", async () => {
    const before = await listedIds();
    const told = await cli.ok(["snapshot", "expire", "--all"]);
    expect(told).toContain(`would delete snapshot ${before[0]} `);
    expect(told).toContain("add --delete");
    expect(await listedIds()).toEqual(before);
    expect(await cli.ok(["snapshot", "expire", "--all", "--delete"])).toMatch(/^deleted snapshot/);
    expect(await listedIds()).toEqual([second.id]);
  });

  test("delete tells, and deletes only when told to: by id, by root, or all of a source", async () => {
    expect(await cli.ok(["snapshot", "delete", second.id])).toContain("would delete snapshot");
    expect(await listedIds()).toEqual([second.id]);
    await cli.ok(["snapshot", "delete", second.rootEntry.obj, "--delete"]);
    expect(await listedIds()).toEqual([]);
    await cli.ok(["snapshot", "delete", "bob@far:/sub", "--all-snapshots-for-source", "--delete"]);
    expect(await listedIds("-a")).toEqual([]);
  });

  test.each([
    ["delete an unknown snapshot", ["delete", "0123456789", "--delete"], "manifest-not-found"],
    ["delete by the beginning of an id", ["delete", "01234567", "--delete"], "manifest-not-found"],
    ["pin nothing", ["pin", "0123456789"], "invalid-argument"],
    ["expire nothing", ["expire"], "invalid-argument"],
  ])("%s is an error", async (_, args, code) => {
    expect(await cli.fails(["snapshot", ...args])).toContain(`[${code}]`);
  });
});
