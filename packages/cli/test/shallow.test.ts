import { chmodSync, existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

/** Shallow restores and what becomes of their placeholders. */

let cli: Cli;
let made: SnapshotJson;

beforeAll(async () => {
  cli = new Cli();
  cli.write("data/file", "words");
  cli.write("data/dir/long", "x".repeat(1000));
  cli.write("data/dir/below/deep", "deep");
  cli.write("data/dir/short", "y");
  chmodSync(cli.path("data/file"), 0o640);
  await cli.createRepository();
  made = await create("data");
});

afterAll(() => cli[Symbol.dispose]());

async function create(name: string, status = 0): Promise<SnapshotJson> {
  const command = ["--no-auto-maintenance", "snapshot", "create", cli.path(name)];
  return cli.json<SnapshotJson>(command, { status });
}

const tree = (name: string): readonly string[] =>
  readdirSync(cli.path(name), { recursive: true, encoding: "utf8" }).sort();

test("--shallow leaves placeholders with the entries of the snapshot, as Kopia's", async () => {
  const out = ["restore", made.id, cli.path("out"), "--shallow=1", "--shallow-minsize=10"];
  expect(await cli.ok(out)).toContain("2 left as placeholders");
  expect(tree("out")).toEqual([
    "dir",
    "dir/below.kopia-entry",
    "dir/below.kopia-entry/.kopia-entry",
    "dir/long.kopia-entry",
    "dir/short",
    "file",
  ]);
  const text = cli.read("out/dir/long.kopia-entry");
  expect(text.endsWith("}\n")).toBe(true);
  const mode = statSync(cli.path("data/dir/long")).mode & 0o777;
  expect(JSON.parse(text)).toMatchObject({ name: "long", type: "f", size: 1000 });
  expect(statSync(cli.path("out/dir/long.kopia-entry")).mode & 0o777).toBe(mode & 0o555);
  expect(JSON.parse(cli.read("out/dir/below.kopia-entry/.kopia-entry"))).toMatchObject({
    ...{ name: "below", type: "d", summ: { files: 1, size: 4 } },
  });
});

test("a backup of placeholders keeps what they stand for: the same tree", async () => {
  expect((await create("out")).rootEntry.obj).toBe(made.rootEntry.obj);
  expect((await create("out")).rootEntry.obj).toBe(made.rootEntry.obj); // unchanged
});

test("restore expands placeholders in place, a level each time", async () => {
  await cli.ok(["restore", made.id, cli.path("all"), "--shallow=0"]);
  await cli.ok(["restore", cli.path("all/dir.kopia-entry/"), cli.path("all/file.kopia-entry")]);
  expect(tree("all")).toEqual([
    "dir",
    "dir/below.kopia-entry",
    "dir/below.kopia-entry/.kopia-entry",
    "dir/long.kopia-entry",
    "dir/short.kopia-entry",
    "file",
  ]);
  expect(cli.read("all/file")).toBe("words");
  await cli.ok(["restore", cli.path("all/dir/below.kopia-entry"), "--shallow=9"]);
  expect(cli.read("all/dir/below/deep")).toBe("deep");
  const mixed = ["restore", cli.path("all/dir/long.kopia-entry"), cli.path("elsewhere")];
  expect(await cli.fails(mixed)).toContain("[invalid-argument]");
  expect(existsSync(cli.path("all/dir/long.kopia-entry"))).toBe(true);
});

test("what is there already is never shadowed by a placeholder", async () => {
  cli.write("full/file", "mine");
  const out = ["restore", made.id, cli.path("full"), "--shallow=0"];
  const { status, stderr } = await cli.run(out);
  expect(status).toBe(1);
  expect(stderr).toContain("there is a file in its place");
  expect(tree("full")).not.toContain("file.kopia-entry");
});

test("placeholders that are none, of elsewhere, or beside the real thing are errors of a backup", async () => {
  await cli.ok(["restore", made.id, cli.path("odd"), "--shallow=0"]);
  cli.write("odd/dir/real", "both");
  writeFileSync(cli.path("odd/none.kopia-entry"), "not JSON");
  const elsewhere = { name: "gone", type: "f", mode: "0644", size: 3, obj: "ab".repeat(16) };
  writeFileSync(cli.path("odd/gone.kopia-entry"), JSON.stringify(elsewhere));
  const { upload } = await create("odd", 1);
  expect(upload.errors.map(({ path, code }) => [path, code])).toEqual([
    ["dir.kopia-entry", "source-failed"],
    ["gone.kopia-entry", "source-failed"],
    ["none.kopia-entry", "source-failed"],
  ]);
});

test("a shallow restore needs a folder", async () => {
  for (const target of ["out.tar", "out.zip"]) {
    const out = ["restore", made.id, cli.path(target), "--shallow=1"];
    expect(await cli.fails(out)).toContain("[invalid-argument]");
    expect(existsSync(cli.path(target))).toBe(false);
  }
});
