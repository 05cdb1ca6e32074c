import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { type Azurite, startAzurite } from "@varve/testenv/azurite.ts";
import { startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { type S3Server, startS3rver } from "@varve/testenv/s3-servers.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

/** The built program with real servers: what a user types, and what he is told when something is wrong. */
let s3: S3Server;
let azure: Azurite;
let cli: Cli;
let keys: { AWS_ACCESS_KEY_ID: string; AWS_SECRET_ACCESS_KEY: string };

beforeAll(async () => {
  [s3, azure] = await Promise.all([startS3rver(), startAzurite()]);
  await s3.createBucket("bucket");
  await azure.createContainer("box");
  cli = new Cli();
  cli.write("source/one.txt", "first words\n");
  keys = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey };
  await cli.ok(["repository", "create", ...place("laptop/")], { env: keys });
});

afterAll(async () => {
  cli[Symbol.dispose]();
  await Promise.all([s3.stop(), azure.stop()]);
});

/** Flags for the bucket, or for what stands before it. */
function place(prefix: string, endpoint = s3.endpoint): string[] {
  const host = new URL(endpoint).host;
  return ["s3", "--bucket=bucket", `--prefix=${prefix}`, `--endpoint=${host}`, "--disable-tls"];
}

const SECRET = "a-secret-of-somebody";

describe("a repository in a bucket", () => {
  test("is created, backed up to, verified and restored from", async () => {
    const env = keys;
    const { rootEntry } = await cli.json<SnapshotJson>(["snapshot", "create", cli.path("source")], {
      env,
    });
    expect(await cli.ok(["snapshot", "verify", "--verify-files-percent=100"], { env })).toContain(
      "no damage found",
    );
    await cli.ok(["restore", rootEntry.obj, cli.path("restored")], { env });
    expect(cli.read("restored/one.txt")).toBe("first words\n");
    const status = await cli.json<{ storage: object }>(["repository", "status"], { env });
    expect(status.storage).toEqual({
      type: "s3",
      config: {
        bucket: "bucket",
        prefix: "laptop/",
        endpoint: new URL(s3.endpoint).host,
        doNotUseTLS: true,
      },
    });
  });

  test("takes few requests for a backup of what has not changed, and for a look", async () => {
    await using proxy = await startFaultProxy({ target: s3.endpoint });
    const config = ["--config-file", cli.path("config/counted.config")];
    const create = [...config, "repository", "create", ...place("counted/", proxy.endpoint)];
    await cli.ok(create, { env: keys });
    const backUp = [...config, "snapshot", "create", cli.path("source")];
    await cli.ok(backUp, { env: keys });
    proxy.resetCounts();
    await cli.ok(backUp, { env: keys });
    const { byOperation } = proxy.counts;
    expect(Object.fromEntries(byOperation)).toEqual({ GET: 5, LIST: 4, PUT: 3, DELETE: 1 });
    proxy.resetCounts();
    await cli.ok([...config, "snapshot", "list"], { env: keys });
    expect(proxy.counts.requests).toBe(4);
  });

  test("is mirrored to a folder and back, and only what is new is copied again", async () => {
    const env = keys;
    mkdirSync(cli.path("mirror"));
    const toFolder = ["repository", "sync-to", "filesystem", "--path", cli.path("mirror")];
    const first = await cli.json<{ copiedBlobs: number }>([...toFolder, "--times"], { env });
    expect(first.copiedBlobs).toBeGreaterThan(4);
    const again = await cli.json<object>(toFolder, { env });
    expect(again).toMatchObject({ copiedBlobs: 0, inSync: first.copiedBlobs });
    const mirror = ["--config-file", cli.path("config/mirror.config")];
    await cli.ok([...mirror, "repository", "connect", "filesystem", "--path", cli.path("mirror")]);
    const toBucket = ["repository", "sync-to", ...place("copy/")];
    const dry = await cli.json<object>([...mirror, ...toBucket, "-n"], { env });
    expect(dry).toMatchObject({ dryRun: true, copiedBlobs: first.copiedBlobs });
    const back = await cli.json<object>([...mirror, ...toBucket, "--parallel=8"], { env });
    expect(back).toMatchObject({ copiedBlobs: first.copiedBlobs });
    const copy = ["--config-file", cli.path("config/copy.config")];
    await cli.ok([...copy, "repository", "connect", ...place("copy/")], { env });
    expect(await cli.json<object[]>([...copy, "snapshot", "list"], { env })).toHaveLength(1);
  });

  test("is not overwritten by a mirror of another one", async () => {
    const other = ["--config-file", cli.path("config/other.config")];
    const create = ["repository", "create", "filesystem", "--path", cli.path("other")];
    await cli.ok([...other, ...create]);
    const refused = [...other, "repository", "sync-to", ...place("laptop/"), "--delete"];
    expect(await cli.fails(refused, { env: keys })).toContain("holds another repository");
  });
});

describe("a repository in a container", () => {
  const config = (): string[] => ["--config-file", cli.path("config/azure.config")];
  const box = (): string[] => [
    ...["azure", "--container=box", "--prefix=a/"],
    ...["--storage-account", azure.account, "--endpoint", azure.endpoint],
  ];

  test("is created and backed up to, and its keys are nowhere to be seen", async () => {
    const env = { AZURE_STORAGE_KEY: azure.key };
    const said = await cli.ok([...config(), "repository", "create", ...box()], { env });
    await cli.ok([...config(), "snapshot", "create", cli.path("source")], { env });
    const status = await cli.ok([...config(), "repository", "status", "--json"], { env });
    expect(said + status + cli.read("config/azure.config")).not.toContain(azure.key);
  });

  test("is mirrored from a bucket, and back into one", async () => {
    const env = { ...keys, AZURE_STORAGE_KEY: azure.key };
    const mirror = ["azure", "--container=box", "--prefix=mirror/"];
    const where = ["--storage-account", azure.account, "--endpoint", azure.endpoint];
    const sync = ["repository", "sync-to"];
    const first = await cli.json<{ copiedBlobs: number }>([...sync, ...mirror, ...where], { env });
    expect(first.copiedBlobs).toBeGreaterThan(4);
    const other = ["--config-file", cli.path("config/azure-mirror.config")];
    await cli.ok([...other, "repository", "connect", ...mirror, ...where], { env });
    const back = await cli.json<object>([...other, ...sync, ...place("from-azure/")], { env });
    expect(back).toMatchObject({ copiedBlobs: first.copiedBlobs, inSync: 0 });
    const verify = [...other, "snapshot", "verify", "--verify-files-percent=100"];
    expect(await cli.ok(verify, { env })).toContain("no damage found");
  });

  test("is not opened with a key that is wrong, which is not shown", async () => {
    const wrong = Buffer.from("a key of somebody else").toString("base64");
    const connect = ["--config-file", cli.path("config/none.config"), "repository", "connect"];
    const message = await cli.fails([...connect, ...box()], { env: { AZURE_STORAGE_KEY: wrong } });
    expect(message).toContain("[access-denied]");
    expect(message).not.toContain(wrong);
    expect(existsSync(cli.path("config/none.config"))).toBe(false);
  });
});

describe("keys", () => {
  const config = (): string => cli.path("config/keys.config");
  const connect = (): string[] => ["--config-file", config(), "repository", "connect"];

  test("are not kept unless asked, and then in a file of their owner", async () => {
    await using proxy = await startFaultProxy({ target: s3.endpoint });
    const to = place("laptop/", proxy.endpoint);
    const said = await cli.ok([...connect(), ...to], { env: keys });
    expect(said).not.toContain("were not kept");
    expect(readFileSync(config(), "utf8")).not.toContain(s3.secretAccessKey);
    const status = ["--config-file", config(), "repository", "status"];
    expect(await cli.fails(status, { env: { AWS_EC2_METADATA_DISABLED: "true" } })).toContain(
      "[access-denied]",
    );
    await cli.ok([...connect(), ...to, "--persist-credentials"], { env: keys });
    expect(readFileSync(config(), "utf8")).not.toContain(s3.secretAccessKey);
    expect(statSync(`${config()}.credentials`).mode & 0o777).toBe(0o600);
    await cli.ok(status, { env: { VARVE_PASSWORD: "" } });
    await cli.ok(["--config-file", config(), "repository", "disconnect"]);
    expect(readdirSync(cli.path("config")).filter((name) => name.startsWith("keys"))).toEqual([]);
  });

  test("that are wrong are an error that shows no secret, and nothing is saved", async () => {
    const flags = ["--access-key=nobody", `--secret-access-key=${SECRET}`];
    const wrong = await cli.fails([...connect(), ...place("laptop/"), ...flags]);
    expect(wrong).toContain("access key ID is not known");
    expect(wrong).not.toContain(SECRET);
    const debug = { env: { VARVE_DEBUG: "1" } };
    const { stdout, stderr } = await cli.run([...connect(), ...place("laptop/"), ...flags], debug);
    expect(stdout + stderr).not.toContain(SECRET);
    expect(existsSync(config())).toBe(false);
  });

  test("come in pairs", async () => {
    const half = [...connect(), ...place("laptop/"), "--access-key=one"];
    expect(await cli.fails(half)).toContain("no --secret-access-key");
  });
});

describe("what is wrong is named, and nothing is half made:", () => {
  const config = (): string[] => ["--config-file", cli.path("config/wrong.config")];
  const create = (...where: readonly string[]): string[] => [
    ...config(),
    ...["repository", "create", ...where],
  ];

  test("a bucket that does not exist", async () => {
    const where = place("x/").with(1, "--bucket=nowhere");
    const message = await cli.fails(create(...where), { env: keys });
    expect(message).toContain('no bucket "nowhere"');
    expect(existsSync(cli.path("config/wrong.config"))).toBe(false);
  });

  test.each([
    ["expired", "expired"],
    ["forbidden", "permitted"],
    ["skewed", "clock"],
  ] as const)("the service answers that the request is %s", async (kind, words) => {
    const faults = { rates: { [kind]: 1 } };
    await using proxy = await startFaultProxy({ target: s3.endpoint, faults });
    const message = await cli.fails(create(...place("y/", proxy.endpoint)), { env: keys });
    expect(message).toContain(words);
    const left = await cli.json<object[]>(["blob", "list"], { env: keys });
    expect(JSON.stringify(left)).not.toContain("y/");
  });

  test("a service that is out of order, after a few attempts, and nothing is saved", async () => {
    await using proxy = await startFaultProxy({
      target: s3.endpoint,
      faults: { rates: { "error-503": 1 } },
    });
    const config = ["--config-file", cli.path("config/order.config")];
    const connect = [...config, "repository", "connect", ...place("laptop/", proxy.endpoint)];
    const { status, stderr } = await cli.run(connect, { env: keys });
    expect({ status, last: stderr.trimEnd().split("\n").at(-1) }).toMatchObject({
      status: 1,
      last: expect.stringContaining("[storage-failed]") as string,
    });
    expect(proxy.counts.requests).toBe(4);
    expect(existsSync(cli.path("config/order.config"))).toBe(false);
  });

  test("a key that may read and not write", async () => {
    const only = ({ operation }: { operation: string }): boolean => operation === "PUT";
    const faults = { rates: { forbidden: 1 }, only };
    await using proxy = await startFaultProxy({ target: s3.endpoint, faults, record: true });
    const message = await cli.fails(create(...place("z/", proxy.endpoint)), { env: keys });
    expect(message).toMatch(/s3:PutObject.*\[access-denied\]/);
    expect(proxy.requests.filter(({ operation }) => operation === "PUT")).toHaveLength(1);
    expect(
      await cli.fails([...config(), "repository", "connect", ...place("z/")], { env: keys }),
    ).toContain("[not-a-repository]");
  });
});

describe("limits", () => {
  test("are kept with the connection, shown and changed", async () => {
    const config = ["--config-file", cli.path("config/limits.config")];
    const speed = ["--max-upload-speed=2000000"];
    const connect = [...config, "repository", "connect", ...place("laptop/"), ...speed];
    await cli.ok(connect, { env: keys });
    const throttle = [...config, "repository", "throttle"];
    await cli.ok([...throttle, "set", "--concurrent-reads=7", "--read-requests-per-second=2.5"]);
    expect(await cli.json<object>([...throttle, "get"])).toEqual({
      maxUploadSpeedBytesPerSecond: 2_000_000,
      concurrentReads: 7,
      readsPerSecond: 2.5,
    });
    await cli.ok([...throttle, "set", "--upload-bytes-per-second=unlimited"]);
    const shown = await cli.ok([...throttle, "get"]);
    expect(shown).toMatch(/^Max upload speed: +\(unlimited\)$/m);
    expect(shown).toMatch(/^Max concurrent reads: +7$/m);
    expect(await cli.ok([...throttle, "set"])).toBe("No changes made.\n");
    expect((await cli.run([...throttle, "set", "--concurrent-reads=many"])).status).toBe(2);
    await cli.ok([...config, "repository", "status"], { env: keys });
  });
});
