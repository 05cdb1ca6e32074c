import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readlinkSync, statSync, symlinkSync } from "node:fs";
import { mkdirSync, rmSync, utimesSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;
let made: SnapshotJson;

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository("--override-username", "ann", "--override-hostname", "home");
  cli.write("docs/a.txt", "old");
  const start = ["--start-time", "2024-01-01 00:00:00 UTC"];
  await cli.ok(["snapshot", "create", "docs", ...start]);
  cli.write("docs/a.txt", "alpha");
  cli.write("docs/sub/b.txt", "beta");
  mkdirSync(cli.path("docs/empty"));
  symlinkSync("a.txt", cli.path("docs/link"));
  utimesSync(cli.path("docs/sub"), 1e9, 1e9 + 0.25);
  made = await cli.json<SnapshotJson>(["snapshot", "create", "docs"]);
});

afterAll(() => cli[Symbol.dispose]());

interface Restored {
  readonly files: number;
  readonly failed: number;
  readonly skipped: number;
  readonly deleted: number;
  readonly failures: readonly { readonly path: string; readonly code: string }[];
}

async function restored(
  args: readonly string[],
  options: { status?: number } = {},
): Promise<Restored> {
  return await cli.json<Restored>(["restore", ...args], options);
}

describe("restore to a folder", () => {
  test("gives everything back, directory times too", async () => {
    expect(await cli.ok(["restore", made.id, "out"])).toBe(
      "restored 2 files, 1 link, 3 directories, 9 B to out\n",
    );
    expect(readdirSync(cli.path("out"), { recursive: true }).map(String).toSorted()).toEqual([
      "a.txt",
      "empty",
      "link",
      "sub",
      "sub/b.txt",
    ]);
    expect(cli.read("out/sub/b.txt")).toBe("beta");
    expect(readlinkSync(cli.path("out/link"))).toBe("a.txt");
    expect(statSync(cli.path("out/sub")).mtimeMs).toBe(1e12 + 250);
  });

  test("takes ids, beginnings of ids, object ids, paths, other times, and what is below", async () => {
    await restored([`${made.id.slice(0, 12)}/sub`, "by-prefix"]);
    expect(cli.read("by-prefix/b.txt")).toBe("beta");
    await restored([`${made.rootEntry.obj}/a.txt`, "by-object"]);
    expect(cli.read("by-object")).toBe("alpha");
    await restored(["docs/sub/b.txt", "by-path"]);
    expect(cli.read("by-path")).toBe("beta");
    await restored([`ann@home:${cli.path("docs")}`, "by-time", "--snapshot-time", "2024-01-01"]);
    expect(cli.read("by-time/a.txt")).toBe("old");
    await cli.ok(["snapshot", "restore", made.id, "by-alias"]);
    expect(cli.read("by-alias/a.txt")).toBe("alpha");
  });

  test("with one argument a path is put back where it was", async () => {
    cli.write("docs/a.txt", "spoiled");
    cli.write("docs/more.txt", "stays");
    await restored(["docs"]);
    expect(cli.read("docs/a.txt")).toBe("alpha");
    expect(existsSync(cli.path("docs/more.txt"))).toBe(true);
    rmSync(cli.path("docs/more.txt"));
    expect(await cli.fails(["restore", made.id])).toContain("name a target");
  });

  test("without a target, what another user backed up is refused", async () => {
    await cli.ok(["snapshot", "create", "docs/sub", "--override-source", "bob@far:/x"]);
    expect(await cli.fails(["restore", "bob@far:/x"])).toContain("another user or host");
  });

  test("skips what is there and removes what is not in the snapshot, when told to", async () => {
    await restored([made.id, "again"]);
    cli.write("again/extra/file", "x");
    const second = await restored([made.id, "again", "--skip-existing", "--delete-extra"]);
    expect(second).toMatchObject({ files: 0, skipped: 3, failed: 0 });
    expect(existsSync(cli.path("again/extra"))).toBe(false);
  });

  test("lists what failed and fails; or lists only; or stops at once", async () => {
    cli.write("blocked/sub", "a file where a directory goes");
    const partial = await cli.run(["restore", made.id, "blocked"]);
    expect(partial.status).toBe(1);
    expect(partial.stderr).toMatch(/^varve: failed: sub: .*\[target-failed\]$/m);
    expect(partial.stdout).toContain("1 failed");
    expect(cli.read("blocked/a.txt")).toBe("alpha");
    const report = await restored([made.id, "blocked"], { status: 1 });
    expect(report.failures).toMatchObject([{ path: "sub", code: "target-failed" }]);
    expect((await restored([made.id, "blocked", "--ignore-errors"])).failed).toBe(1);
    const stopped = await cli.fails(["restore", made.id, "blocked", "--no-ignore-errors"]);
    expect(stopped).toContain("[target-failed]");
  });

  test("leaves what exists alone when told to", async () => {
    await restored([made.id, "kept"]);
    cli.write("kept/a.txt", "mine");
    const report = await restored([made.id, "kept", "--no-overwrite-files"], { status: 1 });
    expect(report.failures.map(({ path }) => path).sort()).toEqual(["a.txt", "sub/b.txt"]);
    expect(cli.read("kept/a.txt")).toBe("mine");
  });

  test("a target that is a symlink is refused", async () => {
    mkdirSync(cli.path("real"));
    symlinkSync("real", cli.path("indirect"));
    expect(await cli.fails(["restore", made.id, "indirect"])).toContain("[target-failed]");
    expect(readdirSync(cli.path("real"))).toEqual([]);
  });
});

describe("restore to an archive", () => {
  const names = ["a.txt", "empty/", "link", "sub/", "sub/b.txt"];

  test("tar and tgz by the target's name", async () => {
    await restored([made.id, "out.tar"]);
    await restored([made.id, "made/out.tgz"]);
    const list = execFileSync("tar", ["tf", cli.path("out.tar")], { encoding: "utf8" });
    expect(tarNames(list)).toEqual(names.map((name) => name.replace(/\/$/, "")));
    mkdirSync(cli.path("untarred"));
    execFileSync("tar", ["xzf", cli.path("made/out.tgz"), "-C", cli.path("untarred")]);
    expect(cli.read("untarred/sub/b.txt")).toBe("beta");
    expect(lstatSync(cli.path("untarred/link")).isSymbolicLink()).toBe(true);
  });

  test("zip keeps empty directories and links", async () => {
    await restored([made.id, "out.zip"]);
    const script =
      "import zipfile,sys; print(chr(10).join(zipfile.ZipFile(sys.argv[1]).namelist()))";
    const list = execFileSync("python3", ["-c", script, cli.path("out.zip")], { encoding: "utf8" });
    expect(list.trim().split("\n").sort()).toEqual(names);
  });

  test("standard output takes an archive and nothing else", async () => {
    const { status, bytes } = await cli.run(["restore", made.id, "-", "--mode", "tgz"], {
      input: "",
    });
    expect(status).toBe(0);
    const list = execFileSync("tar", ["tf", "-"], { input: gunzipSync(bytes), encoding: "utf8" });
    expect(tarNames(list)).toEqual(names.map((name) => name.replace(/\/$/, "")));
    expect(await cli.fails(["restore", made.id, "-"])).toContain("[invalid-argument]");
  });

  test("one that exists is replaced as a whole, or kept; nothing half is left behind", async () => {
    cli.write("old.tar", "before");
    const kept = await cli.fails(["restore", made.id, "old.tar", "--no-overwrite-files"]);
    expect(kept).toContain("[target-failed]");
    expect(cli.read("old.tar")).toBe("before");
    expect(await cli.fails(["restore", "0123456789abcdef0123", "old.tar"])).toMatch(/not-found/);
    expect(cli.read("old.tar")).toBe("before");
    await restored([made.id, "old.tar"]);
    expect(cli.read("old.tar")).toContain("alpha");
    expect(readdirSync(cli.dir).filter((name) => name.includes(".tmp."))).toEqual([]);
  });
});

function tarNames(list: string): string[] {
  return list
    .trim()
    .split("\n")
    .map((name) => name.replace(/\/$/, ""))
    .sort();
}
