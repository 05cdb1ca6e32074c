import { readFileSync, rmSync } from "node:fs";
import { hostname, userInfo } from "node:os";
import { dirname } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli } from "./cli-fixture.ts";

let cli: Cli;
/** `user@host`, as this machine is called. */
const me = `${userInfo().username}@${hostname()}`.toLowerCase();

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository();
});

afterAll(() => cli[Symbol.dispose]());

type Document = Readonly<Record<string, object | undefined>>;
type Shown = Document & { readonly origins: Readonly<Record<string, readonly string[]>> };

const set = (target: string, ...flags: readonly string[]): readonly string[] => [
  ...["policy", "set", target, ...flags],
];

async function defined(target: string): Promise<Document> {
  const all = JSON.parse(await cli.ok(["policy", "export", target])) as Readonly<
    Record<string, Document>
  >; // what export prints
  return Object.values(all)[0] ?? {};
}

describe("set", () => {
  test("puts every flag where Kopia has it", async () => {
    await cli.ok(
      set(
        "@every",
        ...["--inherit=false", "--keep-latest=1", "--keep-hourly=2", "--keep-daily=3"],
        ...["--keep-weekly=4", "--keep-monthly=5", "--keep-annual=0"],
        ...["--ignore-identical-snapshots=true", "--add-ignore=*.o", "--add-ignore=!keep.o"],
        ...["--add-dot-ignore=.nobackup", "--ignore-cache-dirs=false", "--max-file-size=1000"],
        ...["--one-file-system=true", "--ignore-file-errors=true", "--ignore-dir-errors=false"],
        ...["--ignore-unknown-types=false", "--snapshot-interval=1h30m"],
        ...["--snapshot-time=18:00,9:05", "--snapshot-time-crontab=0 3 * * *;@daily"],
        ...["--run-missed=false", "--max-parallel-snapshots=2", "--max-parallel-file-reads=3"],
        ...["--parallel-upload-above-size-mib=64", "--compression=zstd"],
        ...["--add-only-compress=.txt", "--add-never-compress=.zip"],
        ...["--compression-min-size=10", "--compression-max-size=20"],
        ...["--metadata-compression=none", "--splitter=FIXED-1M"],
        ...["--enable-volume-shadow-copy=when-available", "--log-dir-snapshotted=0"],
        ...["--log-dir-ignored=1", "--log-entry-snapshotted=2", "--log-entry-ignored=3"],
        ...["--log-entry-cache-hit=4", "--log-entry-cache-miss=10"],
        ...["--before-folder-action=/bin/run 'two words' --fast", "--action-command-mode=async"],
        ...["--after-snapshot-root-action=/bin/done", "--action-command-timeout=2m"],
      ),
    );
    const common = { timeout: 120, mode: "async" };
    expect(await defined("@every")).toEqual({
      noParent: true,
      retention: {
        ...{ keepLatest: 1, keepHourly: 2, keepDaily: 3, keepWeekly: 4, keepMonthly: 5 },
        ...{ keepAnnual: 0, ignoreIdenticalSnapshots: true },
      },
      files: {
        ignore: ["*.o", "!keep.o"],
        ignoreDotFiles: [".nobackup"],
        ...{ ignoreCacheDirs: false, maxFileSize: 1000, oneFileSystem: true },
      },
      errorHandling: {
        ...{ ignoreFileErrors: true, ignoreDirectoryErrors: false, ignoreUnknownTypes: false },
      },
      scheduling: {
        intervalSeconds: 5400,
        timeOfDay: [
          { hour: 9, min: 5 },
          { hour: 18, min: 0 },
        ],
        cron: ["0 3 * * *", "@daily"],
        runMissed: false,
      },
      compression: {
        compressorName: "zstd",
        ...{ onlyCompress: [".txt"], neverCompress: [".zip"], minSize: 10, maxSize: 20 },
      },
      metadataCompression: { compressorName: "none" },
      splitter: { algorithm: "FIXED-1M" },
      actions: {
        beforeFolder: { path: "/bin/run", args: ["two words", "--fast"], ...common },
        afterSnapshotRoot: { path: "/bin/done", ...common },
      },
      osSnapshots: { volumeShadowCopy: { enable: 2 } },
      logging: {
        directories: { snapshotted: 0, ignored: 1 },
        entries: { snapshotted: 2, ignored: 3, cacheHit: 4, cacheMiss: 10 },
      },
      upload: {
        ...{ maxParallelSnapshots: 2, maxParallelFileReads: 3 },
        parallelUploadAboveSize: 64 * 2 ** 20,
      },
    });
  });

  test("adds to lists, takes from them, and clears what is inherited again", async () => {
    const script = cli.write("script.sh", "#!/bin/sh\necho hello\n");
    await cli.ok(
      set(
        "@lists",
        ...["--add-ignore=a", "--add-ignore=b", "--keep-latest=5", "--splitter=FASTCDC-1M"],
        ...[`--before-snapshot-root-action=${script}`, "--persist-action-script"],
      ),
    );
    expect(await defined("@lists")).toMatchObject({
      files: { ignore: ["a", "b"] },
      actions: { beforeSnapshotRoot: { script: "#!/bin/sh\necho hello\n", mode: "essential" } },
    });
    await cli.ok(
      set(
        "@lists",
        ...["--remove-ignore=a", "--add-ignore=c", "--keep-latest=inherit", "--splitter=inherit"],
        "--before-snapshot-root-action=none",
      ),
    );
    expect(await defined("@lists")).toEqual({ files: { ignore: ["b", "c"] } });
    await cli.ok(set("@lists", "--clear-ignore", "--add-ignore=d"));
    expect(await defined("@lists")).toEqual({ files: { ignore: ["d"] } });
  });

  test("--manual ends a schedule, and a schedule ends --manual", async () => {
    await cli.ok(set("@manual", "--snapshot-interval=1h", "--run-missed=true"));
    await cli.ok(set("@manual", "--manual"));
    expect(await defined("@manual")).toEqual({ scheduling: { manual: true } });
    await cli.ok(set("@manual", "--snapshot-time=7:00"));
    expect(await defined("@manual")).toEqual({
      scheduling: { timeOfDay: [{ hour: 7, min: 0 }] },
    });
    expect(await cli.fails(set("@manual", "--manual", "--run-missed=true"))).toContain(
      "[invalid-argument]",
    );
  });

  test("changes all targets or none", async () => {
    const policies = await cli.ok(["policy", "list"]);
    for (const [flag, known] of [
      ["--compression=brotli", "zstd-fastest"],
      ["--splitter=FASTCDC", "FASTCDC-4M"],
      ["--snapshot-time-crontab=never", "cron"],
    ] as const) {
      const message = await cli.fails(["policy", "set", "ann@box", "bob@box", flag]);
      expect(message).toContain("[invalid-argument]");
      expect(message).toContain(known);
    }
    // not allowed for a folder, the second of the targets
    const partly = ["policy", "set", "ann@box", "/folder", "--max-parallel-snapshots=2"];
    expect(await cli.fails(partly)).toContain("[invalid-argument]");
    expect(await cli.ok(["policy", "list"])).toBe(policies);
  });

  test("needs a target and a change", async () => {
    expect(await cli.fails(["policy", "set", "--keep-latest=1"])).toContain("--global");
    expect(await cli.fails(["policy", "set", "--global"])).toContain("no change");
    expect(await cli.fails(["policy", "set", "ann@", "--keep-latest=1"])).toContain(
      "[invalid-argument]",
    );
  });

  test.each([
    "--keep-latest=many",
    "--one-file-system=maybe",
    "--log-entry-ignored=11",
    "--snapshot-time=25:00",
    "--enable-volume-shadow-copy=sometimes",
  ])("%s is a usage error", async (flag) => {
    const { status, stderr } = await cli.run(["policy", "set", "--global", flag]);
    expect(status).toBe(2);
    expect(stderr).toContain("is invalid");
  });
});

describe("show", () => {
  test("says where every value comes from, by targets of every kind", async () => {
    await cli.ok(set("--global", "--keep-latest=7", "--add-never-compress=.gz"));
    await cli.ok(set("@box", "--keep-daily=8"));
    await cli.ok(set("ann@box", "--keep-weekly=9", "--add-never-compress=.zip"));
    await cli.ok(set("ann@box:/data", "--keep-monthly=0"));
    const shown = await cli.json<Shown>(["policy", "show", "ann@box:/data/photos"]);
    expect(shown["retention"]).toMatchObject({ keepLatest: 7, keepDaily: 8, keepWeekly: 9 });
    expect(shown["compression"]).toMatchObject({ neverCompress: [".gz", ".zip"] });
    expect(shown.origins).toMatchObject({
      "retention.keepLatest": ["(global)"],
      "retention.keepDaily": ["@box"],
      "retention.keepWeekly": ["ann@box"],
      "retention.keepMonthly": ["ann@box:/data"],
      "compression.neverCompress": ["ann@box", "(global)"],
    });
    const text = await cli.ok(["policy", "show", "ann@box:/data"]);
    expect(text).toMatch(/^Policy for ann@box:\/data:$/m);
    expect(text).toMatch(/^ {2}Latest snapshots: +7 {3}inherited from \(global\)$/m);
    expect(text).toMatch(/^ {2}Monthly snapshots: +0 {3}\(defined for this target\)$/m);
  });

  test("of several targets is one document, too", async () => {
    const shown = await cli.json<readonly (Shown & { readonly target: object })[]>([
      ...["policy", "show", "ann@box", "bob@box"],
    ]);
    expect(shown.map(({ target }) => target)).toEqual([
      { host: "box", userName: "ann", path: "" },
      { host: "box", userName: "bob", path: "" },
    ]);
    expect(shown[0]).toHaveProperty("origins");
  });

  test("takes a folder relative to where one is, and no terminal obeys its name", async () => {
    await cli.ok(set("new\nfolder", "--keep-latest=1"));
    const name = `${me}:${cli.dir}/new\\x0afolder`;
    expect(await cli.ok(["policy", "list"])).toContain(name);
    expect(await cli.ok(["policy", "show", "./new\nfolder"])).toContain(`Policy for ${name}:`);
    const list = await cli.json<readonly { readonly id: string; readonly target: object }[]>([
      ...["policy", "list"],
    ]);
    expect(list).toContainEqual(
      expect.objectContaining({
        target: {
          host: hostname().toLowerCase(),
          userName: userInfo().username.toLowerCase(),
          path: `${cli.dir}/new\nfolder`,
        },
        retention: { keepLatest: 1 },
      }),
    );
  });
});

test("export and import carry policies, those that were named or all", async () => {
  await cli.ok(set("@from", "--keep-latest=4", "--add-ignore=x"));
  const file = cli.path("policies.json");
  await cli.ok(["policy", "export", "@from", "--to-file", file]);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({
    "@from": { retention: { keepLatest: 4 }, files: { ignore: ["x"] } },
  });
  expect(await cli.fails(["policy", "export", "--to-file", file])).toContain("EEXIST");
  await cli.ok(["policy", "delete", "@from"]);
  expect(await cli.fails(["policy", "export", "@from"])).toContain("no policy");
  await cli.ok(["policy", "import", "--from-file", file]);
  expect(await defined("@from")).toEqual({
    retention: { keepLatest: 4 },
    files: { ignore: ["x"] },
  });
  const input = JSON.stringify({ "@one": { noParent: true }, "@two": { noParent: true } });
  await cli.ok(["policy", "import", "@two"], { input });
  const policies = await cli.ok(["policy", "list"]);
  expect(policies).toContain(" @two\n");
  expect(policies).not.toContain(" @one\n");
});

describe("import refuses", () => {
  test.each([
    ["what is no JSON", "{"],
    ["a list", "[]"],
    ["a target that is none", '{"nobody":{}}'],
    ["a value of another type", '{"@x":{"retention":{"keepLatest":"1"}}}'],
    ["an unknown compression", '{"@x":{"compression":{"compressorName":"brotli"}}}'],
    ["an unknown member", '{"@x":{"retention":{"keepForever":1}}}'],
  ])("%s, and changes nothing", async (_what, input) => {
    expect(await cli.fails(["policy", "import"], { input })).toContain("[invalid-argument]");
  });

  test("an unknown member only until it is allowed", async () => {
    const input = '{"@unknown":{"retention":{"keepForever":1}}}';
    await cli.ok(["policy", "import", "--allow-unknown-fields"], { input });
    expect(await defined("@unknown")).toEqual({ retention: { keepForever: 1 } });
  });
});

test("delete says what it would do, does it, and can be left to an import", async () => {
  using other = new Cli();
  await other.createRepository();
  await other.ok(set("@gone", "--keep-latest=1"));
  expect(await other.ok(["policy", "delete", "@gone", "--dry-run"])).toBe(
    "Would delete the policy of @gone.\n",
  );
  expect(await other.ok(["policy", "delete", "@gone", "@never"])).toBe(
    "Deleted the policy of @gone.\nThere is no policy of @never.\n",
  );
  const input = '{"@only":{"retention":{"keepLatest":2}}}';
  await other.ok(["policy", "import", "--delete-other-policies"], { input });
  expect(JSON.parse(await other.ok(["policy", "export"]))).toEqual({
    "@only": { retention: { keepLatest: 2 } },
  });
});

describe("edit", () => {
  /** Does with the file what the script says, `$1` being its name. */
  const editor = (script: string): { env: Readonly<Record<string, string>> } => {
    const path = cli.write("editor.sh", `set -e\n${script}\n`);
    return { env: { VISUAL: `sh "${path}"`, EDITOR: "false" } };
  };

  test("stores what the editor leaves, and knows when that is what there was", async () => {
    const seen = cli.path("seen");
    const write = editor(
      `cat "$1" >> ${seen}; stat -c %a "$1" >> ${seen}; echo "\${VARVE_PASSWORD-none}" >> ${seen}\n` +
        `printf '# a comment\\n{\\n  "retention": {"keepLatest": 3}\\n}' > "$1"`,
    );
    await cli.ok(set("@edited", "--keep-daily=4"));
    expect(await cli.ok(["policy", "edit", "@edited"], write)).toContain("Changed the policy");
    expect(await defined("@edited")).toEqual({ retention: { keepLatest: 3 } });
    expect(cli.read("seen")).toContain('"keepDaily": 4');
    expect(cli.read("seen").endsWith("600\nnone\n")).toBe(true);
    expect(await cli.ok(["policy", "edit", "@edited"], editor(":"))).toContain("unchanged");
  });

  test.each([
    ["{", "JSON"],
    ['{"retention": {"keepLatest": "many"}}', "keepLatest"],
    ['{"retention": {"keepForever": 1}}', "keepForever"],
    ['{"compression": {"compressorName": "brotli"}}', "brotli"],
    ['{"scheduling": {"cron": ["never"]}}', "cron"],
  ])("refuses %s, and leaves the text in a file", async (text, why) => {
    const script = editor(`printf '%s' '${text}' > "$1"`);
    const { status, stderr } = await cli.run(["policy", "edit", "@refused"], script);
    expect(status).toBe(1);
    expect(stderr).toContain(why);
    const [, file = ""] = /the text is in (\S+)/.exec(stderr) ?? [];
    expect(readFileSync(file, "utf8")).toBe(text);
    rmSync(dirname(file), { recursive: true });
    expect(await cli.ok(["policy", "list"])).not.toContain("@refused");
  });

  test("fails when the editor does", async () => {
    const message = await cli.fails(["policy", "edit", "@edited"], editor("exit 3"));
    const [, file = ""] = /the text is in (\S+)/.exec(message) ?? [];
    rmSync(dirname(file), { recursive: true });
    const missing = { env: { EDITOR: "/no/such/editor" } };
    expect(await cli.fails(["policy", "edit", "@edited"], missing)).toContain("[invalid-argument]");
  });
});
