import { readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Cli } from "./cli-fixture.ts";

let cli: Cli;

beforeEach(async () => {
  cli = new Cli();
  await cli.createRepository();
});

afterEach(() => cli[Symbol.dispose]());

/** The stored packs of file data, made `days` old. */
function agePacks(days: number): readonly string[] {
  const old = new Date(Date.now() - days * 86_400_000);
  const files = readdirSync(cli.path("repo"), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name))
    .filter((path) => /^[pq]/.test(path.slice(cli.path("repo").length + 1)));
  for (const path of files) {
    utimesSync(path, old, old);
  }
  return files.filter((path) => path.includes("/repo/p"));
}

test("verify run reads what is due, signs it, and names a flipped byte; report names what is not proven", async () => {
  cli.write("docs/a", "alpha".repeat(3000));
  await cli.ok(["--no-auto-maintenance", "snapshot", "create", "docs"]);
  const [pack = ""] = agePacks(40);
  const key = ["--receipt-key", cli.path("key")];
  const printed = await cli.ok(["verify", "new-key", cli.path("key")]);
  expect(statSync(cli.path("key")).mode & 0o777).toBe(0o600);
  expect(printed).toMatch(/^[A-Za-z0-9+/]{43}=$/m);
  const before = await cli.json<{ uncovered: unknown[] }>(["verify", "report", ...key], {
    status: 1,
  });
  expect(before.uncovered.length).toBeGreaterThan(1);
  const first = await cli.ok(["verify", "run", "--within", "30d", "--budget", "10GB", ...key]);
  expect(first).toMatch(/0 damaged, 0 left/);
  await cli.ok(["verify", "report", ...key]);
  const bytes = readFileSync(pack);
  bytes[100] = (bytes[100] ?? 0) ^ 4;
  writeFileSync(pack, bytes);
  rmSync(cli.path("config/receipts"), { recursive: true }); // as if a window had passed
  agePacks(40);
  const found = await cli.json<{ damaged: { pack: string }[] }>(["verify", "run", ...key], {
    status: 1,
  });
  expect(pack.replaceAll("/", "")).toContain(
    found.damaged[0]?.pack.replace(/-.*/, "").slice(1) ?? "none",
  );
  expect((await cli.run(["verify", "report", ...key])).stdout).toContain("damaged pack p");
  expect(await cli.fails(["verify", "run"])).toContain("--receipt-key");
});
