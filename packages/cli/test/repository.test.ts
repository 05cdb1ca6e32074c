import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli, PASSWORD } from "./cli-fixture.ts";

/** One repository for what only looks at it. */
let shared: Cli;

beforeAll(async () => {
  shared = new Cli();
  await shared.createRepository("--no-persist-credentials", "--description", "the shared one");
});

afterAll(() => shared[Symbol.dispose]());

const NO_PASSWORD = { env: { VARVE_PASSWORD: "" } };
const connectTo = (path: string): readonly string[] => [
  ...["repository", "connect", "filesystem", "--path", path],
];

interface Status {
  readonly configFile: string;
  readonly uniqueIDHex: string;
  readonly clientOptions: Readonly<Record<string, unknown>>;
  readonly storage: { readonly type: string; readonly config: Readonly<Record<string, unknown>> };
  readonly volume: { readonly capacity: number; readonly available: number };
  readonly contentFormat: Readonly<Record<string, unknown>> & {
    readonly epochParameters: Readonly<Record<string, unknown>>;
  };
  readonly objectFormat: { readonly splitter: string };
  readonly blobRetention: object;
}

function fileMode(path: string): number {
  return statSync(path).mode & 0o777;
}

describe("create", () => {
  test("makes a repository with varve's defaults, and connects to it", async () => {
    const status = await shared.json<Status>(["repository", "status"]);
    expect(status).toMatchObject({
      configFile: shared.path("config/repository.config"),
      clientOptions: { description: "the shared one", readonly: false },
      storage: { type: "filesystem", config: { path: shared.path("repo") } },
      contentFormat: {
        hash: "BLAKE3-256-128",
        encryption: "AES256-GCM-HMAC-SHA256",
        version: 3,
        maxPackSize: 20 * 2 ** 20,
        indexVersion: 2,
        enablePasswordChange: true,
        epochParameters: { Enabled: true, MinEpochDuration: 86_400_000_000_000 },
      },
      objectFormat: { splitter: "DYNAMIC-4M-BUZHASH" },
      blobRetention: {},
    });
    expect(status.uniqueIDHex).toMatch(/^[0-9a-f]{64}$/);
    expect(status.volume.available).toBeLessThanOrEqual(status.volume.capacity);
    const policy = await shared.json<{ splitter: object }>(["policy", "show", "--global"]);
    expect(policy.splitter).toEqual({ algorithm: "FASTCDC-1M" });
  });

  test("takes every choice of format", async () => {
    using cli = new Cli();
    await cli.createRepository(
      ...["--block-hash=HMAC-SHA256", "--encryption=CHACHA20-POLY1305-HMAC-SHA256"],
      ...["--object-splitter=FIXED-1M", "--ecc-overhead-percent=5", "--format-version=2"],
      ...["--format-block-key-derivation-algorithm=pbkdf2-sha256-600000"],
      ...["--max-pack-size-mb=30", "--override-username=ann", "--override-hostname=box"],
      ...["--file-mode=0640", "--dir-mode=0750", "--flat"],
    );
    expect(await cli.json<Status>(["repository", "status"])).toMatchObject({
      clientOptions: { username: "ann", hostname: "box" },
      contentFormat: {
        hash: "HMAC-SHA256",
        encryption: "CHACHA20-POLY1305-HMAC-SHA256",
        ecc: "REED-SOLOMON-CRC32",
        eccOverheadPercent: 5,
        version: 2,
        maxPackSize: 30 * 2 ** 20,
      },
      objectFormat: { splitter: "FIXED-1M" },
    });
    const facts = await cli.ok(["repository", "status"]);
    expect(facts).toMatch(/^Splitter: +FIXED-1M$/m);
    expect(facts).toMatch(/^ECC: +REED-SOLOMON-CRC32 with 5% overhead$/m);
    expect(facts).toMatch(/^Key derivation: +pbkdf2-sha256-600000$/m);
    const entries = readdirSync(cli.path("repo"), { withFileTypes: true });
    expect(entries.filter((entry) => entry.isDirectory())).toEqual([]);
    expect(fileMode(cli.path("repo/kopia.repository.f"))).toBe(0o640);
  });

  test("refuses what cannot be, and names what can", async () => {
    using cli = new Cli();
    const create = ["repository", "create", "filesystem", "--path", cli.path("repo")];
    for (const [flag, known] of [
      ["--block-hash=MD5", "BLAKE3-256-128"],
      ["--encryption=ROT13", "AES256-GCM-HMAC-SHA256"],
      ["--object-splitter=FASTCDC", "FASTCDC-4M"],
      ["--format-version=4", "1 to 3"],
      ["--max-pack-size-mb=5", "10 to 120"],
      ["--retention-mode=governance", "--retention-period"],
    ] as const) {
      const message = await cli.fails([...create, flag]);
      expect(message).toContain("[invalid-argument]");
      expect(message).toContain(known);
    }
    expect(existsSync(cli.path("repo/kopia.repository.f"))).toBe(false);
    expect(existsSync(cli.path("config/repository.config"))).toBe(false);
  });

  test("refuses a place that is taken", async () => {
    const again = ["repository", "create", "filesystem", "--path", shared.path("repo")];
    expect(await shared.fails(again)).toContain("[repository-exists]");
  });

  test("with --create-only leaves the connection alone", async () => {
    using cli = new Cli();
    await cli.createRepository("--create-only");
    expect(existsSync(cli.path("config/repository.config"))).toBe(false);
    await cli.ok(connectTo("repo"));
    expect((await cli.json<Status>(["repository", "status"])).storage.config).toEqual({
      path: cli.path("repo"),
    });
  });
});

describe("connections", () => {
  test("are files of their owner without secrets", async () => {
    const file = shared.path("config/repository.config");
    expect(fileMode(file)).toBe(0o600);
    expect(readFileSync(file, "utf8")).not.toContain(PASSWORD);
    expect(readdirSync(shared.path("config"))).toEqual(["repository.config"]);
  });

  test("end with disconnect, and the password that was kept goes too", async () => {
    using cli = new Cli();
    await cli.createRepository();
    const password = cli.path("config/repository.config.password");
    expect(fileMode(password)).toBe(0o600);
    await cli.ok(["repository", "status"], NO_PASSWORD);
    const key = cli.path("config/repository.config.key");
    expect(fileMode(key)).toBe(0o600);
    expect(readFileSync(key, "utf8")).not.toContain(PASSWORD);
    await cli.ok(["repository", "disconnect"]);
    expect(readdirSync(cli.path("config"))).toEqual([]);
    expect(await cli.fails(["repository", "status"])).toContain("not connected");
    expect(await cli.fails(["repository", "disconnect"])).toContain("not connected");
  });

  test("are changed by set-client, without the password", async () => {
    using cli = new Cli();
    await cli.createRepository("--enable-actions", "--description=first");
    const change = ["repository", "set-client"];
    expect(await cli.fails(change)).toContain("nothing to change");
    expect(await cli.fails([...change, "--username="])).toContain("[invalid-argument]");
    expect((await cli.run([...change, "--read-only", "--read-write"])).status).toBe(2);
    const made = await cli.json<Status>(["repository", "status"]);
    expect(made.clientOptions).toMatchObject({ description: "first", enableActions: true });
    await cli.ok([...change, "--read-only", "--username=ann", "--hostname=box"], NO_PASSWORD);
    await cli.ok([...change, "--description=second", "--no-enable-actions"], NO_PASSWORD);
    const changed = await cli.json<Status>(["repository", "status"]);
    expect(changed.clientOptions).toEqual({
      ...{ username: "ann", hostname: "box", description: "second" },
      ...{ readonly: true, enableActions: false },
    });
    await cli.ok([...change, "--read-write", "--disable-repository-format-cache"]);
    await cli.ok(["policy", "set", "--global", "--keep-latest=1"]);
  });

  test("that are changed do not take in what is kept beside them", async () => {
    using cli = new Cli();
    await cli.createRepository();
    cli.write("config/repository.config.credentials", '{"accessKeyID": "the key"}');
    await cli.ok(["cache", "set", "--metadata-cache-size-mb=1"]);
    await cli.ok(["repository", "throttle", "set", "--concurrent-reads=3"]);
    await cli.ok(["repository", "set-client", "--description=other"]);
    const kept = cli.read("config/repository.config");
    expect(kept).toContain("other");
    expect(kept).not.toContain("the key");
  });

  test("are made by --config-file as well, several side by side", async () => {
    const other = ["--config-file", shared.path("config/other.config")];
    expect(await shared.fails([...other, "repository", "status"])).toContain("[invalid-argument]");
    await shared.ok([...other, ...connectTo(shared.path("repo")), "--readonly"]);
    const status = await shared.json<Status>([...other, "repository", "status"]);
    expect(status.clientOptions["readonly"]).toBe(true);
    for (const change of [
      ["policy", "set", "--global", "--keep-latest=1"],
      ["repository", "set-parameters", "--max-pack-size-mb=30"],
      ["repository", "change-password", "--new-password=x"],
    ]) {
      expect(await shared.fails([...other, ...change])).toContain("[read-only]");
    }
    await shared.ok([...other, "repository", "disconnect"]);
  });

  test("are not made to what cannot be opened", async () => {
    using cli = new Cli();
    mkdirSync(cli.path("empty"));
    expect(await cli.fails(connectTo("empty"))).toContain("[not-a-repository]");
    expect(await cli.fails(connectTo("missing"))).toContain("[storage-failed]");
    const wrong = await cli.fails(connectTo(shared.path("repo")), {
      env: { VARVE_PASSWORD: "guess" },
    });
    expect(wrong).toContain("[wrong-password]");
    expect(wrong).not.toContain("guess");
    expect(existsSync(cli.path("config"))).toBe(false);
  });

  test.each([
    ["no JSON", "{"],
    ["null", "null"],
    [
      "storage without a path",
      '{"storage":{"type":"filesystem","config":{}},"username":"u","hostname":"h"}',
    ],
    ["unknown storage", '{"storage":{"type":"tape","config":{}},"username":"u","hostname":"h"}'],
  ])("in a damaged file are refused: %s", async (_what, text) => {
    const file = shared.write("config/damaged.config", text);
    const message = await shared.fails(["--config-file", file, "repository", "status"]);
    expect(message).toContain("[corrupt]");
  });
});

describe("the password", () => {
  test("comes from a file, and a missing one is said", async () => {
    const file = shared.write("password", `${PASSWORD}\n`);
    await shared.ok(["--password-file", file, "repository", "status"], NO_PASSWORD);
    const missing = ["--password-file", shared.path("nothing"), "repository", "status"];
    expect(await shared.fails(missing)).toContain("[invalid-argument]");
  });

  test("is not waited for without a terminal", async () => {
    expect(await shared.fails(["repository", "status"], NO_PASSWORD)).toContain("no password");
    const create = ["repository", "create", "filesystem", "--path", shared.path("unmade")];
    expect(await shared.fails(create, NO_PASSWORD)).toContain("no password");
  });

  test("is never printed", async () => {
    for (const args of [
      ["repository", "status"],
      ["repository", "status", "--json"],
    ]) {
      const { stdout, stderr } = await shared.run(args, { env: { VARVE_DEBUG: "1" } });
      expect(stdout + stderr).not.toContain(PASSWORD);
    }
  });

  test("is changed when the old one is right", async () => {
    using cli = new Cli();
    await cli.createRepository();
    const change = ["repository", "change-password"];
    const wrong = { env: { VARVE_PASSWORD: "guess", VARVE_NEW_PASSWORD: "other" } };
    expect(await cli.fails(change, wrong)).toContain("[wrong-password]");
    expect(await cli.fails([...change, "--new-password="])).toContain("[invalid-argument]");
    await cli.ok(change, { env: { VARVE_NEW_PASSWORD: "second" } });
    expect(await cli.fails(["repository", "status"])).toContain("[wrong-password]");
    await cli.ok(["repository", "status"], NO_PASSWORD); // what was kept has followed
    const file = cli.write("new-password", "third\n");
    await cli.ok([...change, "--new-password-file", file], NO_PASSWORD);
    await cli.ok(["repository", "status"], { env: { VARVE_PASSWORD: "third" } });
    expect(fileMode(cli.path("config/repository.config.password"))).toBe(0o600);
  });
});

describe("the key of a kept password", () => {
  const status = ["repository", "status"];

  test("is used as long as it opens the repository, and only with that password", async () => {
    using cli = new Cli();
    await cli.createRepository();
    const key = cli.path("config/repository.config.key");
    await cli.ok(status);
    const kept = readFileSync(key, "utf8");
    const guess = { env: { VARVE_PASSWORD: "guess" } };
    expect(await cli.fails(status, guess)).toContain("[wrong-password]");
    for (const damaged of ["", "null", '{"key":1}', kept.replace(/"key":"../, '"key":"')]) {
      cli.write("config/repository.config.key", damaged);
      await cli.ok(status, NO_PASSWORD);
      expect(readFileSync(key, "utf8")).toBe(kept);
    }
  });

  test("does not outlive a change of the password, here or elsewhere", async () => {
    using cli = new Cli();
    await cli.createRepository();
    const other = ["--config-file", cli.path("elsewhere/other.config")];
    await cli.ok([...other, ...connectTo(cli.path("repo"))]);
    await cli.ok(status);
    const key = cli.path("config/repository.config.key");
    const kept = readFileSync(key, "utf8");
    const change = ["repository", "change-password"];
    await cli.ok([...other, ...change], { env: { VARVE_NEW_PASSWORD: "second" } });
    expect(await cli.fails(status)).toContain("[wrong-password]");
    const second = { env: { VARVE_PASSWORD: "second" } };
    await cli.ok(status, second); // it is not what was kept
    expect(readFileSync(key, "utf8")).toBe(kept);
    await cli.ok(change, { env: { ...second.env, VARVE_NEW_PASSWORD: "third" } });
    expect(existsSync(key)).toBe(false);
    await cli.ok(status, NO_PASSWORD);
    expect(readFileSync(key, "utf8")).not.toBe(kept);
    expect(existsSync(cli.path("elsewhere/other.config.key"))).toBe(false);
  });
});

test("set-parameters changes what is written from now on, and only that", async () => {
  using cli = new Cli();
  await cli.createRepository();
  const set = ["repository", "set-parameters"];
  expect(await cli.fails(set)).toContain("nothing to change");
  expect(await cli.fails([...set, "--max-pack-size-mb=9"])).toContain("[invalid-argument]");
  expect(await cli.fails([...set, "--epoch-min-duration=1s"])).toContain("[invalid-argument]");
  expect((await cli.run([...set, "--epoch-min-duration=soon"])).status).toBe(2);
  const before = await cli.json<Status>(["repository", "status"]);
  await cli.ok([
    ...set,
    ...["--max-pack-size-mb=40", "--index-version=1", "--epoch-min-duration=6h"],
    ...["--epoch-refresh-frequency=10m", "--epoch-cleanup-safety-margin=2h"],
    ...["--epoch-advance-on-count=50", "--epoch-advance-on-size-mb=20"],
    ...["--epoch-delete-parallelism=2", "--epoch-checkpoint-frequency=3"],
    ...["--add-required-feature=index-v2"],
  ]);
  const after = await cli.json<Status>(["repository", "status"]);
  expect(after).toEqual({
    ...before,
    volume: after.volume,
    contentFormat: {
      ...before.contentFormat,
      maxPackSize: 40 * 2 ** 20,
      indexVersion: 1,
      requiredFeatures: [{ feature: "index-v2", warnOnly: false }],
      epochParameters: {
        Enabled: true,
        EpochRefreshFrequency: 600e9,
        FullCheckpointFrequency: 3,
        CleanupSafetyMargin: 7200e9,
        MinEpochDuration: 21_600e9,
        EpochAdvanceOnCountThreshold: 50,
        EpochAdvanceOnTotalSizeBytesThreshold: 20 * 2 ** 20,
        DeleteParallelism: 2,
      },
    },
  });
  await cli.ok([...set, "--remove-required-feature=index-v2"]);
  const removed = await cli.json<Status>(["repository", "status"]);
  expect(removed.contentFormat["requiredFeatures"]).toEqual([]);
});

/** The part that takes time is cut short. */
const VALIDATE = ["repository", "validate-provider", "--concurrency-test-duration=100ms"];

test("validate-provider checks the store, needs no password, and leaves no blob behind", async () => {
  const list = ["blob", "list"];
  const before = await shared.ok(list, NO_PASSWORD);
  const { cases, failed } = await shared.json<{ cases: readonly object[]; failed: number }>(
    VALIDATE,
    NO_PASSWORD,
  );
  expect(failed).toBe(0);
  expect(cases.length).toBeGreaterThan(20);
  expect(cases).toContainEqual({
    name: "a list gives exactly the blobs with the prefix, each once, with size and time",
    ok: true,
  });
  expect(await shared.ok(list, NO_PASSWORD)).toBe(before);
});

test("validate-provider fails for a store that refuses writes", async () => {
  const config = ["--config-file", shared.path("config/refusing.config")];
  await shared.ok([...config, ...connectTo(shared.path("repo")), "--readonly"]);
  const report = await shared.json<{ failed: number }>([...config, ...VALIDATE], { status: 1 });
  expect(report.failed).toBeGreaterThan(10);
  const { status, stdout } = await shared.run([...config, ...VALIDATE]);
  expect(status).toBe(1);
  expect(stdout).toContain("FAIL  ");
});

describe("sync-to", () => {
  interface Report {
    readonly dryRun: boolean;
    readonly inSync: number;
    readonly copiedBlobs: number;
    readonly deletedBlobs: number;
  }
  const syncTo = (name: string, ...flags: readonly string[]): readonly string[] => [
    ...["repository", "sync-to", "filesystem", "--path", shared.path(name), ...flags],
  ];

  test("makes a mirror without the password, and only what is new the next time", async () => {
    mkdirSync(shared.path("mirror"));
    const dry = await shared.json<Report>(syncTo("mirror", "-n"), NO_PASSWORD);
    expect(dry).toMatchObject({ dryRun: true, inSync: 0, deletedBlobs: 0 });
    expect(readdirSync(shared.path("mirror"))).toEqual([]);
    const first = await shared.json<Report>(syncTo("mirror"), NO_PASSWORD);
    expect(first).toEqual({ ...dry, dryRun: false });
    const second = await shared.json<Report>(syncTo("mirror", "--must-exist"), NO_PASSWORD);
    expect(second).toMatchObject({ copiedBlobs: 0, inSync: first.copiedBlobs });
    const config = ["--config-file", shared.path("config/mirror.config")];
    await shared.ok([...config, ...connectTo(shared.path("mirror"))]);
    const status = await shared.json<Status>([...config, "repository", "status"]);
    const original = await shared.json<Status>(["repository", "status"]);
    expect(status.uniqueIDHex).toBe(original.uniqueIDHex);
  });

  test("deletes what is extra only when told to", async () => {
    mkdirSync(shared.path("cleaned"));
    await shared.ok(syncTo("cleaned"));
    shared.write("cleaned/pabc.f", "extra");
    expect(await shared.json<Report>(syncTo("cleaned"))).toMatchObject({ deletedBlobs: 0 });
    expect(await shared.ok(syncTo("cleaned", "--delete"))).toContain("deleted 1");
    expect(existsSync(shared.path("cleaned/pabc.f"))).toBe(false);
  });

  test("refuses a missing place, an empty one that must not be, and another repository", async () => {
    expect(await shared.fails(syncTo("unmounted"))).toContain("[storage-failed]");
    mkdirSync(shared.path("blank"));
    expect(await shared.fails(syncTo("blank", "--must-exist"))).toContain("[not-a-repository]");
    using other = new Cli();
    await other.createRepository();
    const foreign = ["repository", "sync-to", "filesystem", "--path", other.path("repo")];
    expect(await shared.fails(foreign)).toContain("[invalid-argument]");
  });
});

test("a command line that cannot be understood ends with 2", async () => {
  for (const args of [
    ["repository", "frobnicate"],
    ["repository", "create", "filesystem"],
    ["repository", "create", "filesystem", "--path=x", "--file-mode=rw"],
  ]) {
    const { status, stdout, stderr } = await shared.run(args);
    expect({ args, status, stdout }).toEqual({ args, status: 2, stdout: "" });
    expect(stderr).toContain("varve: ");
  }
});

test("what a repository far away has is kept where it was asked to be, shown, bounded and cleared", async () => {
  using cli = new Cli();
  await cli.createRepository("--cache-directory", cli.path("cache"));
  cli.write("source/one.txt", "words");
  await cli.ok(["snapshot", "create", cli.path("source")]);
  await cli.ok(["snapshot", "list"]);
  const usage = await cli.json<{ path: string; entries: number }>(["cache", "info"]);
  expect(usage.path).toBe(cli.path("cache"));
  expect(usage.entries).toBeGreaterThan(2);
  await cli.ok(["cache", "clear"]);
  expect(await cli.ok(["cache", "info"])).toContain("cache: 0 entries");
  await cli.ok(["cache", "set", "--metadata-cache-size-mb=0"]);
  expect(await cli.ok(["cache", "info"])).toContain("Nothing is cached");
  await cli.ok(["snapshot", "verify"]);
});
