import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

/** The commands of policies, which are real ones. */

let cli: Cli;
const temporary = mkdtempSync(join(tmpdir(), "varve-actions-"));
let source: string;
/** Says into `log.txt` what it is told. */
let hook: string;

beforeAll(async () => {
  cli = new Cli({ TMPDIR: temporary });
  cli.write("data/file", "live");
  cli.write("data/sub/inner", "inner");
  cli.write("frozen/file", "frozen");
  source = cli.path("data");
  const log = cli.path("log.txt");
  const script =
    `echo "$KOPIA_ACTION $KOPIA_SNAPSHOT_ID $KOPIA_SOURCE_PATH $KOPIA_SNAPSHOT_PATH" >> ${log}\n` +
    `echo "$PWD \${VARVE_PASSWORD-none} $1" >> ${log}\n`;
  hook = `sh ${cli.write("hook.sh", script)} 'two words'`;
  await cli.createRepository("--enable-actions");
});

afterAll(() => {
  cli[Symbol.dispose]();
  rmSync(temporary, { recursive: true });
});

beforeEach(async () => {
  cli.write("log.txt", "");
  await cli.run(["policy", "delete", source, `${source}/sub`]);
});

const set = async (target: string, ...flags: readonly string[]): Promise<void> => {
  await cli.ok(["policy", "set", target, ...flags]);
};
const before = (script: string): readonly string[] => [
  `--before-snapshot-root-action=${cli.write("script.sh", script)}`,
  "--persist-action-script",
];
const create = ["--no-auto-maintenance", "snapshot", "create"];
describe("actions", () => {
  test("run before and after the snapshot and a folder, and are told what Kopia tells", async () => {
    const sub = `${source}/sub`;
    await set(source, `--before-snapshot-root-action=${hook}`);
    await set(source, `--after-snapshot-root-action=${hook}`);
    await set(sub, `--before-folder-action=${hook}`, `--after-folder-action=${hook}`);
    await cli.ok([...create, source]);
    const lines = cli.read("log.txt").trimEnd().split("\n");
    const told = lines.filter((_, index) => index % 2 === 0).map((line) => line.split(" "));
    expect(told.map(([kind, , path, snapshotPath]) => [kind, path, snapshotPath])).toEqual([
      ["before-snapshot-root", source, source],
      ["before-folder", sub, sub],
      ["after-folder", sub, sub],
      ["after-snapshot-root", source, source],
    ]);
    const ids = told.map(([, id = ""]) => id);
    expect(ids).toEqual([ids[0], ids[1], ids[1], ids[0]]);
    expect(ids[0]).toMatch(/^[0-9a-f]{16}$/);
    expect(ids[0]).not.toBe(ids[1]);
    const folders = lines.filter((_, index) => index % 2 === 1);
    expect(folders[0]).toMatch(/varve-action-\w+ none two words$/); // no password
    expect(folders[1]).not.toBe(folders[0]);
    expect(folders[3]).toBe(folders[0]);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test("run only where this machine's user has agreed", async () => {
    await set(source, `--before-snapshot-root-action=${hook}`);
    const none = await cli.run([...create, source, "--force-disable-actions"]);
    expect(none.status).toBe(0);
    expect(none.stderr).toContain("warning: actions of the policy are not run");
    await cli.ok(["repository", "set-client", "--no-enable-actions"]);
    await cli.ok([...create, source]);
    expect(cli.read("log.txt")).toBe("");
    await cli.ok([...create, source, "--force-enable-actions"]);
    expect(cli.read("log.txt")).toContain("before-snapshot-root");
    await cli.ok(["repository", "set-client", "--enable-actions"]);
  });

  test("may have another folder backed up in place of the source", async () => {
    await set(source, ...before(`echo KOPIA_SNAPSHOT_PATH=${cli.path("frozen")}\n`));
    await set(source, `--after-snapshot-root-action=${hook}`);
    const made = await cli.json<SnapshotJson>([...create, source]);
    expect(made.source.path).toBe(source);
    expect(made.rootEntry.name).toBe("data");
    expect(await cli.ok(["show", `${made.id}/file`])).toBe("frozen");
    expect(cli.read("log.txt")).toContain(`${source} ${cli.path("frozen")}\n`);
    await set(source, ...before("echo KOPIA_SNAPSHOT_PATH=/no/such/folder\n"));
    expect(await cli.fails([...create, source])).toContain("/no/such/folder");
  });

  test("that are essential keep a snapshot or a folder from being made; optional ones only warn", async () => {
    const list = async (): Promise<readonly object[]> => cli.json(["snapshot", "list", source]);
    const count = (await list()).length;
    await set(source, ...before("false\necho never\n"));
    expect(await cli.fails([...create, source])).toContain("ended with 1 [action-failed]");
    expect(await list()).toHaveLength(count);
    await set(source, ...before("false\n"), "--action-command-mode=optional");
    const optional = await cli.run([...create, source]);
    expect(optional.status).toBe(0);
    expect(optional.stderr).toContain("before-snapshot-root failed");
    await cli.ok(["policy", "delete", source]);
    await set(`${source}/sub`, "--before-folder-action=/no/such/program");
    const { upload } = await cli.json<SnapshotJson>([...create, source], { status: 1 });
    expect(upload.errors).toMatchObject([{ path: "sub", code: "action-failed" }]);
  });

  test("end with all that they have started when they take too long", async () => {
    const late = cli.path("late.txt");
    await set(
      source,
      ...before(`(sleep 3; echo late > ${late}) &\nsleep 60\n`),
      "--action-command-timeout=1s",
    );
    expect(await cli.fails([...create, source])).toContain("longer than 1 s [action-failed]");
    await set(source, ...before("sleep 3\n"), "--action-command-timeout=20s");
    await cli.ok([...create, source]);
    expect(existsSync(late)).toBe(false);
  });

  test("are not waited for when they are async", async () => {
    const [go, done] = [cli.path("go"), cli.path("done.txt")];
    const wait = `while [ ! -e ${go} ]; do sleep 0.1; done`;
    const script = `#!/bin/sh\n${wait}\necho $KOPIA_ACTION > ${done}\n`;
    await set(source, ...before(script), "--action-command-mode=async");
    await cli.ok([...create, source]);
    cli.write("go", "");
    await expect.poll(() => existsSync(done), { timeout: 60_000 }).toBe(true);
  });

  test("print no more than so much", async () => {
    const noise = "head -c 1000000 /dev/zero";
    await set(source, ...before(`${noise} >&2\n${noise}\n`));
    const { status, stderr } = await cli.run([...create, source]);
    expect(status).toBe(0);
    expect(stderr.length).toBeLessThan(70_000);
  });
});
