import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;
let made: SnapshotJson;
const binary = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository();
  cli.write("docs/a.bin", binary);
  cli.write("docs/sub/b.txt", "beta");
  cli.write("docs/sub/bad/.kopiaignore", "[unterminated\n");
  cli.write("docs/\u001b[31mred", "");
  symlinkSync("a.bin", cli.path("docs/link"));
  mkdirSync(cli.path("odd"));
  writeFileSync(Buffer.concat([Buffer.from(`${cli.path("odd")}/x`), Buffer.from([0xff])]), "odd");
  made = await cli.json<SnapshotJson>(["snapshot", "create", "docs"], { status: 1 });
});

afterAll(() => cli[Symbol.dispose]());

describe("ls", () => {
  test("lists one directory, directories first, and names what the backup could not read", async () => {
    const { status, stdout, stderr } = await cli.run(["ls", made.id]);
    expect(stdout).toBe("sub (1 errors)\n\\x1b[31mred\na.bin\nlink\n");
    expect(stderr).toMatch(/^varve: not in the snapshot: sub\/bad: /);
    expect(status).toBe(0);
    const quiet = await cli.run(["list", made.id, "--no-error-summary"]);
    expect(quiet).toMatchObject({ stdout: "sub\n\\x1b[31mred\na.bin\nlink\n", stderr: "" });
  });

  test("long, with object ids, recursive: lines are arguments for other commands", async () => {
    const long = await cli.ok(["ls", "-l", `${made.id}/sub`, "--no-error-summary"]);
    expect(long).toMatch(
      /^-rw-r--r-- {12}4 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC [0-9a-f]{32} {3}b.txt$/m,
    );
    const lines = (await cli.ok(["ls", "-ro", made.rootEntry.obj])).trim().split("\n");
    const [id, path] = lines.find((line) => line.endsWith("/b.txt"))?.split(/ +/) ?? [];
    expect(path).toBe(`${made.rootEntry.obj}/sub/b.txt`);
    expect(await cli.ok(["show", path ?? ""])).toBe("beta");
    expect(await cli.ok(["show", id ?? ""])).toBe("beta");
    expect(await cli.ok(["ls", "-lh", "docs/a.bin"])).toContain(" 256 B ");
  });

  test("as JSON: raw names and Kopia's entries, one document", async () => {
    const entries = await cli.json<{ path: string; name: string; type: string }[]>([
      "ls",
      "-r",
      made.id,
      "--no-error-summary",
    ]);
    expect(entries.map(({ path, type }) => [path, type])).toEqual([
      ["sub", "d"],
      ["sub/b.txt", "f"],
      ["\u001b[31mred", "f"],
      ["a.bin", "f"],
      ["link", "s"],
    ]);
    expect(entries[1]).toMatchObject({ name: "b.txt", mode: "0644", size: 4 });
  });

  test("names that are not UTF-8 have their bytes in JSON", async () => {
    const { id } = await cli.json<SnapshotJson>(["snapshot", "create", "odd"]);
    const [entry] = await cli.json<object[]>(["ls", id]);
    expect(entry).toMatchObject({ name: "x\ufffd", nameBytes: "eP8=" });
    expect(await cli.ok(["ls", id])).toBe("x\ufffd\n");
  });

  test.each([
    ["an id that is not there", "0123456789abcdef"],
    ["what is no id at all", "nonsense"],
    ["a path in no snapshot", "/nowhere"],
    ["a name that the snapshot does not have", "docs/nothing"],
  ])("%s is an error", async (_, source) => {
    expect(await cli.fails(["ls", source])).toContain("[object-not-found]");
  });
});

describe("show", () => {
  test("gives the exact bytes of a file, a link's target, a directory's record, or a range", async () => {
    expect((await cli.run(["show", "docs/a.bin"])).bytes).toEqual(binary);
    expect(await cli.ok(["show", `${made.id}/link`])).toBe("a.bin");
    const record = JSON.parse(await cli.ok(["show", made.rootEntry.obj])) as object; // looked at below
    expect(record).toMatchObject({ stream: "kopia:directory" });
    const range = ["--offset", "250", "--length", "4"];
    expect((await cli.run(["show", "docs/a.bin", ...range])).bytes).toEqual(
      binary.subarray(250, 254),
    );
    expect(await cli.ok(["show", "docs/a.bin", "--offset", "999"])).toBe("");
  });

  test("a reader that goes away is no error", async () => {
    cli.write("large/file", Buffer.alloc(5_000_000, "x"));
    await cli.ok(["snapshot", "create", "large"]);
    const child = cli.start(["show", "large/file"]);
    const stderr: Buffer[] = [];
    child.stderr?.on("data", (part: Buffer) => stderr.push(part));
    if (child.stdout !== null) {
      await once(child.stdout, "data");
      child.stdout.destroy();
    }
    await once(child, "close");
    expect(Buffer.concat(stderr).toString()).toBe("");
    expect(child.exitCode).toBe(0);
  });
});
