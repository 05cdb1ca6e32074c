import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;
let made: SnapshotJson;

beforeEach(async () => {
  cli = new Cli();
  await cli.createRepository();
  cli.write("docs/a.txt", "alpha");
  made = await cli.json<SnapshotJson>(["snapshot", "create", "docs"]);
});

afterEach(() => cli[Symbol.dispose]());

/** Paths of the files of the blobs whose id begins with `prefix`. */
function blobs(prefix: string): string[] {
  return readdirSync(cli.path("repo"), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name))
    .filter((path) => path.slice(cli.path("repo/").length).replaceAll("/", "").startsWith(prefix));
}

test("repository repair puts the format blob back, from varve's own copy or a file", async () => {
  const repair = ["repository", "repair", "filesystem", "--path", cli.path("repo")];
  expect((await cli.run(repair)).stdout).toContain("nothing to repair");
  const [format = expect.fail()] = blobs("kopia.repository");
  const whole = readFileSync(format);
  writeFileSync(format, whole.subarray(0, 200));
  expect(await cli.fails(["snapshot", "list"])).toMatch(/\[corrupt\]/);
  expect((await cli.run([...repair, "--dry-run"])).stdout).toContain("from varve.repository");
  expect(readFileSync(format)).toHaveLength(200);
  expect(await cli.json(repair)).toMatchObject({ dryRun: false, from: "varve.repository" });
  expect(readFileSync(format)).toEqual(whole);
  expect((await cli.run(["snapshot", "verify"])).status).toBe(0);

  [format, ...blobs("varve.repository")].forEach((path) => rmSync(path));
  expect(await cli.fails(repair)).toContain("[not-a-repository]");
  writeFileSync(cli.path("kept"), whole);
  expect((await cli.run([...repair, "--from", cli.path("kept")])).status).toBe(0);
  expect(readFileSync(format)).toEqual(whole);
});

test("content repair brings files back from a mirror, and from what they were made of", async () => {
  const [pack = expect.fail()] = blobs("p");
  mkdirSync(cli.path("mirror"));
  await cli.ok(["repository", "sync-to", "filesystem", "--path", cli.path("mirror")]);
  rmSync(pack);
  expect((await cli.run(["content", "repair"])).stderr).toContain(`not healed: ${made.id}/a.txt`);
  const mirrored = ["content", "repair", "--from-mirror", cli.path("mirror")];
  expect(await cli.json(mirrored)).toMatchObject({ committed: false, fromMirror: 1, unhealed: [] });
  expect((await cli.run(["snapshot", "verify"])).status).toBe(1);
  await cli.ok([...mirrored, "--commit"]);
  expect((await cli.run(["snapshot", "verify"])).status).toBe(0);
  blobs("p").forEach((path) => rmSync(path));
  await cli.ok(["content", "repair", "--from-source", "--commit"]);
  expect((await cli.run(["snapshot", "verify"])).status).toBe(0);
});

test("index recover tells, does it with --commit, and all is well after", async () => {
  const [first = expect.fail(), ...others] = blobs("x");
  writeFileSync(first, "damaged");
  others.forEach((path) => rmSync(path));
  expect((await cli.run(["snapshot", "list"])).status).toBe(1);
  const told = await cli.run(["index", "recover"]);
  expect(told.status).toBe(1);
  expect(told.stdout).toMatch(/damaged index blob xn0_.*would recover [1-9].*--commit/s);
  expect(blobs("x")).toEqual([first]);
  const done = await cli.run(["index", "recover", "--commit"]);
  expect([done.status, done.stdout]).toEqual([0, expect.stringMatching(/removed index blob xn0_/)]);
  expect((await cli.run(["snapshot", "verify"])).status).toBe(0);
  expect(await cli.json(["snapshot", "list"])).toMatchObject([{ id: made.id }]);
  expect(await cli.json(["index", "recover"])).toMatchObject({ committed: false, recovered: 0 });
});
