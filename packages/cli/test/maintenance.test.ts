import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

let cli: Cli;

beforeEach(async () => {
  cli = new Cli();
  await cli.createRepository();
});

afterEach(() => cli[Symbol.dispose]());

function storedBytes(): number {
  return readdirSync(cli.path("repo"), { recursive: true, withFileTypes: true })
    .filter(
      (file) => file.isFile() && /^[pq]/.test(file.parentPath.slice(cli.path("repo").length + 1)),
    )
    .reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0);
}

interface Report {
  readonly mode: string;
  readonly tasks: readonly {
    readonly task: string;
    readonly counts?: Readonly<Record<string, number>>;
    readonly skipped?: string;
  }[];
}

test("the owner's commands do the maintenance that is due, unless told not to", async () => {
  const fullRuns = async () =>
    (await cli.json<{ schedule: { runs: Record<string, unknown[]> } }>(["maintenance", "info"]))
      .schedule.runs["snapshot-gc"]?.length ?? 0;
  cli.write("docs/a", "alpha");
  await cli.ok(["--no-auto-maintenance", "snapshot", "create", "docs"]);
  expect(await fullRuns()).toBe(0);
  await cli.ok(["snapshot", "create", "docs"]); // a new repository is due
  expect(await fullRuns()).toBe(1);
  await cli.ok(["snapshot", "create", "docs"]);
  expect(await fullRuns()).toBe(1);
  await cli.ok(["maintenance", "set", "--owner", "else@where"]);
  await cli.ok(["snapshot", "expire", "--all", "--delete"]);
  expect(await fullRuns()).toBe(1);
});

test("maintenance run --emergency frees space and moves nothing", async () => {
  cli.write("docs/a", "alpha");
  const { id } = await cli.json<SnapshotJson>(["snapshot", "create", "docs"]);
  await cli.ok(["snapshot", "delete", id, "--delete"]);
  const report = await cli.json<Report>([
    ...["maintenance", "run", "--emergency", "--safety=none"],
  ]);
  expect(report.mode).toBe("emergency");
  expect(report.tasks.map(({ task }) => task)).not.toContain("full-rewrite-contents");
  await cli.ok(["snapshot", "verify"]);
});

test("maintenance run --full keeps what is young; --safety=none frees it", async () => {
  cli.write(
    "docs/a",
    "a".repeat(200_000).replace(/a/g, () => String(Math.random())),
  );
  const { id } = await cli.json<SnapshotJson>(["snapshot", "create", "docs"]);
  cli.write("more/b", "bravo");
  await cli.ok(["snapshot", "create", "more"]);
  const predicted = await cli.ok(["snapshot", "delete", id, "--what-if"]);
  const predictedBytes = Number(/\((\d+) bytes\)/.exec(predicted)?.[1]);
  await cli.ok(["snapshot", "delete", id, "--delete"]);
  const before = storedBytes();
  const kept = await cli.json<Report>(["maintenance", "run", "--full"]);
  const collection = kept.tasks.find(({ task }) => task === "snapshot-gc")?.counts;
  expect(collection).toMatchObject({ markedDeleted: 0 });
  expect(collection?.["tooRecent"]).toBeGreaterThan(0);
  expect(storedBytes()).toBeGreaterThanOrEqual(before);
  const freeing = await cli.json<Report>(["maintenance", "run", "--full", "--safety=none"]);
  expect(freeing.tasks.find(({ task }) => task === "snapshot-gc")?.counts).toMatchObject({
    markedDeletedBytes: predictedBytes,
  });
  expect(storedBytes()).toBeLessThan(before / 2);
  await cli.ok(["snapshot", "verify"]);
});

test("maintenance set changes owner and schedule, info shows them, and another client is refused", async () => {
  await cli.ok(["maintenance", "set", "--owner", "else@where", "--full-interval", "12h"]);
  expect(await cli.json(["maintenance", "info"])).toMatchObject({
    owner: "else@where",
    full: { enabled: true, intervalMs: 43_200_000 },
  });
  const refused = await cli.run(["maintenance", "run", "--full"]);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain("else@where");
  await cli.ok(["maintenance", "set", "--owner", "me", "--no-enable-full"]);
  expect((await cli.json<Report>(["maintenance", "run", "--auto"])).mode).toBe("quick");
  expect((await cli.json<Report>(["maintenance", "run", "--auto"])).mode).toBe("none");
  expect(await cli.ok(["maintenance", "info"])).toMatch(/compact-single-epoch:\n {2}.*SUCCESS/);
});

test("object locks that are not there, or too short, are not extended", async () => {
  const refused = await cli.run(["maintenance", "set", "--extend-object-locks"]);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain("no object locks");
});
