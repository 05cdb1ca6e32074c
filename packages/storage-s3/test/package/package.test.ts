import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startS3rver } from "@varve/testenv/s3-servers.ts";
import { afterAll, beforeAll, expect, test } from "vitest";

/** The package as a stranger gets it: packed, installed into an empty folder beside core, and run. */

const packageRoot = fileURLToPath(new URL("../../", import.meta.url));
const projectRoot = fileURLToPath(new URL("../../../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "varve-s3-package-"));
const environment: Record<string, string | undefined> = {
  ...process.env,
  npm_config_update_notifier: "false",
  npm_config_audit: "false",
  npm_config_fund: "false",
};

function run(command: string, args: readonly string[], cwd: string): string {
  const stdio = ["ignore", "pipe", "pipe"] as const;
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    env: environment,
    stdio: [...stdio],
  });
}

beforeAll(() => {
  const { config } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as {
    config: { pnpm: string };
  };
  const pack = ["pnpm", "pack", "--pack-destination", folder];
  for (const root of [join(projectRoot, "packages/core"), packageRoot]) {
    run("npm", ["exec", "--yes", `--package=${config.pnpm}`, "--", ...pack], root);
  }
  const tarballs = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  run(
    "npm",
    ["install", "--no-save", "--prefer-offline", ...tarballs.map((name) => `./${name}`)],
    folder,
  );
}, 600_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("it brings no other vendor's SDK and no packages of the tests", () => {
  const installed = readdirSync(join(folder, "node_modules"));
  expect(installed).toContain("@aws-sdk");
  expect(installed).not.toContain("@azure");
  expect(installed).not.toContain("@google-cloud");
  expect(readdirSync(join(folder, "node_modules/@varve")).sort()).toEqual(["core", "storage-s3"]);
});

test("the example of the README backs a folder up into a bucket", async () => {
  await using server = await startS3rver();
  await server.createBucket("my-bucket");
  const readme = readFileSync(join(packageRoot, "README.md"), "utf8");
  const [, example = ""] = /```js\n(.*?)```/s.exec(readme) ?? [];
  const local = example
    .replace('region: "eu-central-1"', `endpoint: ${JSON.stringify(server.endpoint)}`)
    .replace('"/home/me"', JSON.stringify(join(packageRoot, "src")));
  expect(local).toContain(server.endpoint);
  writeFileSync(join(folder, "example.js"), local);
  environment["AWS_ACCESS_KEY_ID"] = server.accessKeyId;
  environment["AWS_SECRET_ACCESS_KEY"] = server.secretAccessKey;
  expect(run(process.execPath, ["example.js"], folder)).toMatch(/^[1-9]\d* files\n$/);
});
