import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { BlobTotals, MaintenancePlan, Usage } from "@varve/core";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { startVersitygw } from "@varve/testenv/s3-servers.ts";
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
  await cli.ok(["snapshot", "create", "docs"]); // a new repository is not due
  await cli.ok(["maintenance", "set", "--full-interval", "1s"]);
  await delay(1000);
  await cli.ok(["--no-auto-maintenance", "snapshot", "create", "docs"]);
  expect(await fullRuns()).toBe(0);
  await cli.ok(["snapshot", "create", "docs"]);
  expect(await fullRuns()).toBe(1);
  await cli.ok(["maintenance", "set", "--full-interval", "24h"]);
  await delay(1000);
  await cli.ok(["snapshot", "create", "docs"]);
  await cli.ok(["snapshot", "create", "docs"]);
  expect(await fullRuns()).toBe(2);
  await cli.ok(["maintenance", "set", "--owner", "else@where"]);
  await cli.ok(["snapshot", "expire", "--all", "--delete"]);
  expect(await fullRuns()).toBe(2);
});

test("maintenance run --emergency frees space and moves nothing", async () => {
  cli.write("docs/a", "alpha");
  const { id } = await cli.json<SnapshotJson>(["snapshot", "create", "docs"]);
  await cli.ok(["snapshot", "delete", id, "--delete"]);
  const emergency = ["--emergency", "--safety=none"];
  const plan = await cli.json<MaintenancePlan>(["maintenance", "plan", ...emergency]);
  expect(plan).toMatchObject({ mode: "emergency", spent: { requests: { put: 0 } } });
  const report = await cli.json<Report>(["maintenance", "run", ...emergency]);
  expect(report.tasks.map(({ task }) => task)).toEqual(
    plan.steps.slice(1, -1).map(({ step }) => step),
  );
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

function folderState(path: string): readonly string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .map((file) => ({ file, at: join(file.parentPath, file.name) }))
    .map(({ file, at }) =>
      file.isFile()
        ? `${at} ${statSync(at).mtimeMs} ${createHash("sha256").update(readFileSync(at)).digest("hex")}`
        : at,
    )
    .sort();
}

test("maintenance plan writes nothing, run --plan takes what it says, and stops rather than more", async () => {
  for (const name of ["a", "b"]) {
    cli.write(`docs/${name}`, `${name}${Math.random()}`.repeat(10_000));
    await cli.ok(["--no-auto-maintenance", "snapshot", "create", "docs"]);
  }
  const before = folderState(cli.path("repo"));
  const prices = cli.write("prices.json", JSON.stringify({ currency: "CHF", putPer1000: 2000 }));
  const args = ["maintenance", "plan", "--full", "--safety=none", "--prices", prices];
  expect(await cli.ok([...args, "--price-get-per-1000=0"])).toMatch(
    /full-rewrite-contents.* \d+\.\d+$/m,
  );
  const text = await cli.ok([...args, "--json"]);
  expect(folderState(cli.path("repo"))).toEqual(before);
  const plan = JSON.parse(text) as MaintenancePlan; // what the command prints
  expect(plan.prices).toMatchObject({ currency: "CHF", getPer1000: 0.0004 });
  expect(plan.total.cost).toBeGreaterThan(2 * plan.total.requests.put);
  const run = ["maintenance", "run", "--plan", cli.write("plan.json", text), "--json"];
  const done = await cli.json<Report & { usage: Usage }>(run);
  expect(done).toMatchObject({ mode: "full", usage: { requests: plan.total.requests } });

  cli.write("docs/d", "late");
  await cli.ok(["--no-auto-maintenance", "snapshot", "create", "docs"]);
  const few = { ...plan, steps: [], limits: { ...plan.limits, requests: 30 } };
  const late = cli.write("late.json", JSON.stringify(few));
  const stopped = await cli.run(["maintenance", "run", "--plan", late]);
  expect(stopped.status).toBe(3);
  expect(stopped.stderr).toMatch(/stopped .*and the plan allows \d.* \[over-plan\]/);
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
  await cli.ok(["maintenance", "set", "--quick-interval", "1s"]);
  await delay(1000);
  expect((await cli.json<Report>(["maintenance", "run", "--auto"])).mode).toBe("quick");
  await cli.ok(["maintenance", "set", "--quick-interval", "1h"]);
  await delay(1000);
  expect((await cli.json<Report>(["maintenance", "run", "--auto"])).mode).toBe("quick");
  expect((await cli.json<Report>(["maintenance", "run", "--auto"])).mode).toBe("none");
  expect(await cli.ok(["maintenance", "info"])).toMatch(/compact-single-epoch:\n {2}.*SUCCESS/);
});

test("object locks that are not there, or too short, are not extended", async () => {
  const refused = await cli.run(["maintenance", "set", "--extend-object-locks"]);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain("no object locks");
});

if (canRunGoServers("maintenance of a bucket with object lock on versitygw")) {
  test("where locks refuse deletions the rest is done, what stays is said, and the status is 4", async () => {
    await using server = await startVersitygw({ versions: false });
    await server.createBucket("locked", { objectLock: true });
    cli.write("docs/a", "alpha");
    const config = ["--config-file", cli.path("locked.config")];
    const { host } = new URL(server.endpoint);
    await cli.ok([
      ...[...config, "repository", "create", "s3", "--bucket=locked", `--endpoint=${host}`],
      ...["--disable-tls", "--retention-mode=governance", "--retention-period=24h"],
      ...[`--access-key=${server.accessKeyId}`, `--secret-access-key=${server.secretAccessKey}`],
      "--persist-credentials",
    ]);
    const { id } = await cli.json<SnapshotJson>([...config, "snapshot", "create", "docs"]);
    await cli.ok([...config, "snapshot", "delete", id, "--delete"]);
    const run = ["maintenance", "run", "--full", "--safety=none", "--json"];
    const { status, stdout, stderr } = await cli.run([...config, ...run]);
    expect({ status, stderr }).toMatchObject({
      status: 4,
      stderr: expect.stringMatching(/[1-9]\d* blobs .* stay .*\[blob-locked\]/) as string,
    });
    const { locked, tasks } = JSON.parse(stdout) as Report & { readonly locked: BlobTotals };
    expect(locked.blobs).toBeGreaterThan(0);
    expect(tasks.at(-1)).toMatchObject({ task: "cleanup-logs", counts: { blobs: 0 } });
    await cli.ok([...config, "snapshot", "verify"]);
  });
}
