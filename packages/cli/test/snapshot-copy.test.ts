import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Cli, PASSWORD, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;

beforeEach(() => {
  cli = new Cli();
});

afterEach(() => cli[Symbol.dispose]());

interface Copied {
  readonly copied: readonly { readonly from: string; readonly id: string }[];
  readonly present: readonly string[];
  readonly policies: number;
  readonly files: number;
}

test("a new key and hash are a command, there and back, and nothing is lost on the way", async () => {
  await cli.createRepository();
  cli.write("docs/a", "alpha".repeat(5000));
  cli.write("docs/sub/b", "bravo");
  const first = await cli.json<SnapshotJson>([
    ...["snapshot", "create", "docs", "--description", "one", "--tags", "a:b", "--pin", "p"],
  ]);
  cli.write("docs/sub/b", "BRAVO");
  const second = await cli.json<SnapshotJson>(["snapshot", "create", "docs"]);
  await cli.ok(["policy", "set", cli.path("docs"), "--keep-latest", "7"]);
  writeFileSync(cli.path("secret"), "another password\n");
  const there = ["--config-file", cli.path("new.config"), "--password-file", cli.path("secret")];
  await cli.ok([
    ...[...there, "repository", "create", "filesystem", "--path", cli.path("new")],
    ...["--block-hash", "HMAC-SHA256"],
  ]);
  writeFileSync(cli.path("old-secret"), PASSWORD);
  const migrate = [
    ...[...there, "snapshot", "migrate", "--source-config", cli.path("config/repository.config")],
    ...["--source-password-file", cli.path("old-secret"), "--all", "--parallel=2"],
  ];
  const copied = await cli.json<Copied>(migrate);
  expect(copied.copied.map(({ from }) => from)).toEqual([first.id, second.id]);
  expect(copied.policies).toBe(1);
  expect(await cli.json<Copied>(migrate)).toMatchObject({ copied: [], files: 0, policies: 0 });
  await cli.ok([...there, "snapshot", "verify"]);
  const [one, two] = await cli.json<SnapshotJson[]>([...there, "snapshot", "list", "--all"]);
  expect(one).toMatchObject({
    description: "one",
    tags: { "tag:a": "b" },
    pins: ["p"],
    startTime: first.startTime,
    endTime: first.endTime,
    source: first.source,
  });
  await cli.ok([...there, "restore", two?.id ?? "", cli.path("out")]);
  expect([cli.read("out/a"), cli.read("out/sub/b")]).toEqual(["alpha".repeat(5000), "BRAVO"]);
  // And one of them into a third.
  const third = ["--config-file", cli.path("third.config")];
  await cli.ok([...third, "repository", "create", "filesystem", "--path", cli.path("third")]);
  const back = await cli.json<Copied>([
    ...[...there, "snapshot", "copy", one?.id ?? "", "--target-config", cli.path("third.config")],
    ...["--target-password-file", cli.path("old-secret")],
  ]);
  expect(back.copied).toHaveLength(1);
  await cli.ok([...third, "snapshot", "verify"]);
  expect(await cli.ok([...third, "snapshot", "list", "--all"])).toContain("docs");
});

test("migrate asks for sources that there are, and for one of --all and --sources", async () => {
  await cli.createRepository();
  const migrate = ["snapshot", "migrate", "--source-config", cli.path("config/repository.config")];
  expect(await cli.fails(migrate)).toContain("--all or --sources");
  expect(await cli.fails([...migrate, "--sources", "/nothing"])).toContain("manifest-not-found");
});
