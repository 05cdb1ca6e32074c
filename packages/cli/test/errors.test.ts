import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;
let made: SnapshotJson;

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository();
  cli.write("docs/a.txt", "alpha ".repeat(1000));
  cli.write("docs/sub/b.txt", "beta");
  made = await cli.json<SnapshotJson>(["snapshot", "create", "docs"]);
  cpSync(cli.path("repo"), cli.path("sound"), { recursive: true, preserveTimestamps: true });
});

afterAll(() => cli[Symbol.dispose]());

/** Of every file of a folder, by its path. */
function bytesOf(folder: string): Map<string, string> {
  const files = readdirSync(cli.path(folder), { recursive: true, withFileTypes: true });
  return new Map(
    files
      .filter((file) => file.isFile())
      .map((file) => join(file.parentPath, file.name))
      .map((path) => [path.slice(cli.path(folder).length), readFileSync(path).toString("base64")]),
  );
}

/** The paths of the blobs whose id begins with `prefix`. */
function blobs(prefix: string): string[] {
  return readdirSync(cli.path("repo"), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name))
    .filter((path) => path.slice(cli.path("repo/").length).replaceAll("/", "").startsWith(prefix));
}

type Damage = (path: string) => void;

test("a memory ceiling that nothing fits under is refused before anything is done", async () => {
  const before = bytesOf("repo");
  const result = await cli.run(["--max-memory", "64MiB", "snapshot", "create", "docs"]);
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(/too low .* it takes \d+ MiB.*\[invalid-argument\]/);
  expect(bytesOf("repo")).toEqual(before);
});

test("a backup and a restore under a memory ceiling are those without", async () => {
  const under = await cli.json<SnapshotJson>([
    "--max-memory",
    "300MiB",
    "snapshot",
    "create",
    "docs",
  ]);
  expect(under.rootEntry.obj).toBe(made.rootEntry.obj);
  const restored = await cli.run(["--max-memory", "300MiB", "restore", under.id, "ceiling"]);
  expect(restored.status).toBe(0);
  expect(bytesOf("ceiling")).toEqual(bytesOf("docs"));
  expect((await cli.run(["--max-memory", "300MiB", "snapshot", "verify"])).status).toBe(0);
  expect((await cli.run(["snapshot", "delete", under.id, "--delete"])).status).toBe(0);
});

test("a memory ceiling that is no size is a usage error", async () => {
  const result = await cli.run(["--max-memory", "much", "snapshot", "list"]);
  expect(result.status).toBe(2);
  expect(result.stderr).toContain("not a size");
});

const truncate: Damage = (path) => {
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.subarray(0, bytes.length / 10));
};
const flip: Damage = (path) => {
  const bytes = readFileSync(path);
  for (let at = 60; at < bytes.length; at += 60) {
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
  }
  writeFileSync(path, bytes);
};
const remove: Damage = (path) => rmSync(path);

/** Damages blobs, looks what `work` does, sees that it has not written, and makes the repository sound again. */
async function withDamage(
  damage: Damage,
  prefix: string,
  work: () => Promise<void>,
): Promise<void> {
  const paths = blobs(prefix);
  expect(paths.length).toBeGreaterThan(0);
  paths.forEach((path) => damage(path));
  const damaged = bytesOf("repo");
  try {
    await work();
    expect(bytesOf("repo")).toEqual(damaged);
  } finally {
    rmSync(cli.path("repo"), { recursive: true });
    cpSync(cli.path("sound"), cli.path("repo"), { recursive: true, preserveTimestamps: true });
  }
}

describe("each of these is one line with a code, and harms nothing:", () => {
  test("a wrong password", async () => {
    const wrong = ["-p", "wrong", "snapshot", "list"];
    expect(await cli.fails(wrong)).toContain("[wrong-password]");
  });

  test("no connection, and a connection file that is none", async () => {
    const none = ["--config-file", "nothing.config", "snapshot", "list"];
    expect(await cli.fails(none)).toMatch(/not connected .*\[invalid-argument\]/);
    cli.write("broken.config", "{");
    const broken = ["--config-file", "broken.config", "snapshot", "list"];
    expect(await cli.fails(broken)).toContain("[corrupt]");
  });

  test("a folder that is no repository, or is not there", async () => {
    mkdirSync(cli.path("empty"));
    const connect = (name: string): readonly string[] =>
      ["--config-file", "other.config", "repository", "connect", "filesystem", "--path"].concat(
        cli.path(name),
      );
    expect(await cli.fails(connect("empty"))).toContain("[not-a-repository]");
    expect(await cli.fails(connect("missing"))).toMatch(/\[(?:not-a-repository|storage-failed)\]/);
    expect(readdirSync(cli.path("empty"))).toEqual([]);
  });

  test.each([
    ["truncated", truncate, /\[(?:corrupt|not-a-repository)\]/],
    ["with flipped bits", flip, /\[(?:corrupt|wrong-password)\]/],
    ["missing", remove, /\[not-a-repository\]/],
  ])("a format blob that is %s", async (_, damage, code) => {
    await withDamage(damage, "kopia.repository", async () => {
      expect(await cli.fails(["snapshot", "list"])).toMatch(code);
      expect(await cli.fails(["snapshot", "create", "docs"])).toMatch(code);
    });
  });

  test.each([
    ["truncated", truncate],
    ["with flipped bits", flip],
  ])("an index that is %s", async (_, damage) => {
    await withDamage(damage, "x", async () => {
      for (const command of ["snapshot list", "snapshot verify", "maintenance run"]) {
        const { status, stderr } = await cli.run(command.split(" "));
        expect(status).toBe(1);
        expect(stderr).toContain("[corrupt]");
      }
    });
  });

  test("an index that is missing", async () => {
    await withDamage(remove, "x", async () => {
      expect(await cli.fails(["restore", made.id, "out"])).toMatch(/-not-found\]/);
    });
  });

  test.each([
    ["truncated", truncate, /\[(?:corrupt|range-invalid)\]/],
    ["with flipped bits", flip, /\[corrupt\]/],
    ["missing", remove, /\[(?:corrupt|blob-not-found|content-not-found)\]/],
  ])("a pack of files that is %s", async (_, damage, code) => {
    await withDamage(damage, "p", async () => {
      const verified = await cli.run(["snapshot", "verify"]);
      expect(verified.status).toBe(1);
      expect(verified.stderr).toMatch(new RegExp(`damaged: ${made.id}/a.txt: .*${code.source}`));
      const restored = await cli.run(["restore", made.id, "out-of-damaged"]);
      expect(restored.status).toBe(1);
      expect(restored.stderr).toMatch(new RegExp(`failed: a.txt: .*${code.source}`));
      expect(await cli.fails(["show", `${made.id}/a.txt`])).toMatch(code);
    });
  });

  test.each([
    ["truncated", truncate],
    ["with flipped bits", flip],
    ["missing", remove],
  ])("a pack of directories that is %s", async (_, damage) => {
    await withDamage(damage, "q", async () => {
      for (const command of [
        ["ls", made.id],
        ["snapshot", "verify"],
        ["snapshot", "list"],
      ]) {
        const { status, stderr } = await cli.run(command);
        expect(status).toBe(1);
        expect(stderr).toMatch(/^varve: .* \[[a-z-]+\]$/m);
        expect(stderr).not.toContain("    at "); // no stack
      }
    });
  });

  test("writing through a connection for reading only", async () => {
    const readOnly = ["--config-file", "read-only.config"];
    const connect = ["repository", "connect", "filesystem", "--path", cli.path("repo")];
    await cli.ok([...readOnly, ...connect, "--readonly"]);
    const before = bytesOf("repo");
    for (const command of [
      ["snapshot", "create", "docs"],
      ["snapshot", "delete", made.id, "--delete"],
      ["snapshot", "pin", made.id, "--add", "x"],
      ["policy", "set", "--global", "--keep-latest", "1"],
    ]) {
      expect(await cli.fails([...readOnly, ...command])).toContain("[read-only]");
    }
    expect(bytesOf("repo")).toEqual(before);
    await cli.ok([...readOnly, "snapshot", "verify"]);
  });

  test("an algorithm that there is not", async () => {
    const set = ["policy", "set", cli.path("docs"), "--compression", "nonsense"];
    const { status, stderr } = await cli.run(set);
    expect(status).not.toBe(0);
    expect(stderr).toContain("nonsense");
  });

  test("after all of that every byte verifies and the next backup works", async () => {
    expect(bytesOf("repo")).toEqual(bytesOf("sound"));
    expect(await cli.ok(["snapshot", "verify"])).toContain("no damage found");
    await cli.ok(["snapshot", "create", "docs"]);
  });
});
