import { readdirSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;
let first: SnapshotJson;
let other: SnapshotJson;

beforeEach(async () => {
  cli = new Cli();
  await cli.createRepository();
  cli.write("docs/a.txt", "alpha");
  first = await cli.json<SnapshotJson>(["snapshot", "create", "docs", "--pin", "keep"]);
  cli.write("more/sub/film.iso", "a film");
  cli.write("more/note", "note");
  other = await cli.json<SnapshotJson>(["snapshot", "create", "more"]);
});

afterEach(() => cli[Symbol.dispose]());

interface Fixed {
  readonly committed: boolean;
  readonly changeCount: number;
  readonly changes: readonly { readonly path: string; readonly action: string }[];
  readonly fixed: readonly {
    readonly before: string;
    readonly id?: string;
    readonly size: number;
  }[];
}

/** Pack files of file data in the order of their writing. */
function dataPacks(): string[] {
  return readdirSync(cli.path("repo"), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name))
    .filter((path) => /\/p[^/]*(?:\/[^/]*)*\.f$/.test(path.slice(cli.path("repo").length)));
}

async function fix(...args: readonly string[]): Promise<Fixed> {
  return await cli.json<Fixed>(["snapshot", "fix", ...args]);
}

describe("snapshot fix invalid-files", () => {
  test("tells what it would do; with --commit stubs stand for what is lost, and verify is content", async () => {
    dataPacks().forEach((path) => rmSync(path));
    const dry = await fix("invalid-files");
    expect(dry).toMatchObject({ committed: false, changeCount: 3 });
    expect(dry.changes.map(({ path, action }) => `${action} ${path}`).sort()).toEqual([
      "stub a.txt",
      "stub note",
      "stub sub/film.iso",
    ]);
    expect(await cli.ok(["snapshot", "fix", "invalid-files"])).toContain(
      "nothing was changed: add --commit to do it",
    );
    const done = await fix("invalid-files", "--commit", "--parallel", "2");
    expect(done.committed).toBe(true);
    expect(done.fixed.map(({ before }) => before).sort()).toEqual([first.id, other.id].sort());
    expect(await cli.ok(["snapshot", "verify"])).toContain("no damage found");
    const list = await cli.json<SnapshotJson[]>(["snapshot", "list"]);
    expect(list.map(({ pins = [] }) => pins.join())).toEqual(["keep", ""]);
    const [, id] = done.fixed.map((fixed) => fixed.id ?? "");
    await cli.ok(["restore", id ?? "", cli.path("out")]);
    expect(JSON.parse(cli.read("out/sub/.INVALID.film.iso"))).toMatchObject({
      entry: { name: "film.iso", size: 6 },
    });
    expect(await cli.ok(["snapshot", "fix", "invalid-files"])).toBe(
      "2 snapshots looked at, no changes\n",
    );
  });

  test("only of one source; removed, kept or a failure", async () => {
    dataPacks().forEach((path) => rmSync(path));
    const removed = await fix(
      ...["invalid-files", "--source", "docs", "--invalid-file-handling", "remove", "--commit"],
    );
    expect(removed.fixed).toMatchObject([{ before: first.id, size: 0 }]);
    const kept = await fix("invalid-files", "--invalid-file-handling", "keep", "--commit");
    expect(kept).toMatchObject({ committed: false, fixed: [], changeCount: 2 });
    const failing = ["snapshot", "fix", "invalid-files", "--invalid-file-handling", "fail"];
    expect(await cli.fails(failing)).toContain("[blob-not-found]");
  });
});

describe("snapshot fix remove-files", () => {
  test("removes by name and by object id, from the snapshots that are named", async () => {
    const byName = await fix("remove-files", "--filename", "*.iso", "--commit");
    expect(byName.changes).toMatchObject([{ path: "sub/film.iso", action: "remove" }]);
    expect(byName.fixed).toMatchObject([{ before: other.id, size: 4 }]);
    const id = byName.fixed[0]?.id ?? "";
    const none = ["remove-files", "--filename", "note", "--manifest-id", first.id, "--commit"];
    expect(await fix(...none)).toMatchObject({ committed: false, fixed: [] });
    await fix("remove-files", "--filename", "n?te", "--manifest-id", id, "--commit");
    expect(await cli.ok(["snapshot", "verify"])).toContain("no damage found");
    expect(await cli.ok(["ls", "-r", other.source.path])).toMatch(/^k\w+\/sub\/\n$/);
  });

  test.each([
    ["nothing is named", ["remove-files"], "invalid-argument"],
    ["an unknown snapshot", ["invalid-files", "--manifest-id", "0123456789"], "manifest-not-found"],
    ["an unknown source", ["invalid-files", "--source", "unknown"], "manifest-not-found"],
    ["no object id", ["remove-files", "--object-id", "xyz"], "invalid-argument"],
    ["a bad pattern", ["remove-files", "--filename", "[a"], "invalid-argument"],
  ])("%s is an error", async (_, args, code) => {
    expect(await cli.fails(["snapshot", "fix", ...args])).toContain(`[${code}]`);
  });
});

describe("a backup over lost packs", () => {
  test("stores what the source still has anew, and warns", async () => {
    const [cut = "", ...gone] = dataPacks();
    truncateSync(cut, 1);
    gone.forEach((path) => rmSync(path));
    expect((await cli.run(["snapshot", "create", "docs", "--no-check-packs"])).stderr).toBe("");
    expect((await cli.run(["snapshot", "verify"])).status).toBe(1);
    const docs = await cli.run(["snapshot", "create", "docs"]);
    expect(docs.status).toBe(0);
    expect(docs.stderr).toContain(
      "warning: 1 pack missing from storage and 1 cut short: 1 of 3 lost contents stored anew",
    );
    await cli.run(["snapshot", "create", "more", "--json"]);
    expect(await cli.ok(["snapshot", "verify"])).toContain("no damage found");
    expect((await cli.run(["snapshot", "create", "more"])).stderr).toBe("");
  });
});
