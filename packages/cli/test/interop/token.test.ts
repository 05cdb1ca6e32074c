import { mkdirSync } from "node:fs";
import { type S3Server, startS3Servers } from "@varve/testenv/s3-servers.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Kopia } from "../../../core/test/interop/kopia.ts";
import { Cli, PASSWORD, type SnapshotJson } from "../cli-fixture.ts";

/** A token of stock Kopia's connects varve, and varve's connects stock Kopia; run with VARVE_TEST_KOPIA set. */

const servers: readonly S3Server[] = await startS3Servers();
let cli: Cli;
beforeAll(async () => {
  cli = new Cli();
  cli.write("source/one.txt", "first words\n");
  await Promise.all(servers.map((server) => server.createBucket("bucket")));
});
afterAll(async () => {
  cli[Symbol.dispose]();
  await Promise.all(servers.map((server) => server.stop()));
});

const places: readonly [name: string, flags: () => string[]][] = [
  ["a folder", () => ["filesystem", `--path=${cli.path("repo")}`]],
  ...servers.map((server): [string, () => string[]] => [
    server.name,
    () => [
      ...["s3", "--bucket=bucket", `--prefix=t/`, `--endpoint=${new URL(server.endpoint).host}`],
      ...["--disable-tls", `--region=${server.region}`],
      `--access-key=${server.accessKeyId}`,
      `--secret-access-key=${server.secretAccessKey}`,
    ],
  ]),
];

test.each(places)("in %s, both ways", async (name, flags) => {
  mkdirSync(cli.path("repo"), { recursive: true });
  using kopia = new Kopia({ password: PASSWORD });
  kopia.run("repository", "create", ...flags());
  kopia.run("snapshot", "create", cli.path("source"));
  const said = kopia.run("repository", "status", "--reconnect-token", "-s");
  const [, theirs = ""] = /--token (\S+)/.exec(said) ?? [];
  const config = ["--config-file", cli.path(`config/${name}.config`)];
  const connect = [...config, "repository", "connect", "from-config", "--token-stdin"];
  const env = { VARVE_PASSWORD: "" };
  await cli.ok([...connect, "--persist-credentials"], { input: theirs, env });
  const list = [...config, "snapshot", "list", "--all"];
  expect(await cli.json<SnapshotJson[]>(list, { env })).toHaveLength(1);

  const status = [...config, "repository", "status", "-s"];
  const { reconnectToken } = await cli.json<{ reconnectToken: string }>(status, { env });
  using other = new Kopia({ password: "" });
  other.run("repository", "connect", "from-config", `--token=${reconnectToken}`);
  expect(other.run("snapshot", "list", "--all")).toContain("files:1");
});
