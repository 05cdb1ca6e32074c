import { readdirSync, rmSync, writeFileSync } from "node:fs";
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
