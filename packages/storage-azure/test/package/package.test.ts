import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { afterAll, beforeAll, expect, test } from "vitest";

/** The package as a stranger gets it: packed with core, installed into an empty folder, run. */

const packages = fileURLToPath(new URL("../../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "varve-azure-package-"));

function run(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, npm_config_audit: "false", npm_config_fund: "false" },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

beforeAll(() => {
  const { config } = JSON.parse(readFileSync(join(packages, "../package.json"), "utf8")) as {
    config: { pnpm: string };
  };
  for (const name of ["core", "storage-azure"]) {
    const pack = ["pnpm", "pack", "--pack-destination", folder];
    run("npm", ["exec", "--yes", `--package=${config.pnpm}`, "--", ...pack], join(packages, name));
  }
  const tarballs = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  expect(tarballs).toHaveLength(2);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const paths = tarballs.map((name) => `./${name}`);
  run("npm", ["install", "--no-save", "--prefer-offline", ...paths], folder);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("it opens a container, and exports what the README says", async () => {
  const script = `
    const { openAzureStore, ...others } = await import("@varve/storage-azure");
    const { parseBlobId } = await import("@varve/core/blob");
    const [endpoint, accountKey] = process.argv.slice(1);
    const credentials = { kind: "account-key", accountKey };
    const store = await openAzureStore({ container: "packed", endpoint, credentials });
    await store.put(parseBlobId("x"), [new Uint8Array(3)]);
    const { size } = await store.stat(parseBlobId("x"));
    console.log(JSON.stringify([Object.keys(others), store.label, size]));
  `;
  await using azurite = await startAzurite();
  await azurite.createContainer("packed");
  const args = ["--input-type=module", "-e", script, azurite.endpoint, azurite.key];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder });
  expect(JSON.parse(stdout)).toEqual([[], "azure://varvetest/packed/", 3]);
});

test("it brings no other vendor's library", () => {
  expect(readdirSync(join(folder, "node_modules"))).toContain("@azure");
  for (const other of ["@aws-sdk", "@smithy", "@google-cloud", "vitest", "typescript"]) {
    expect(existsSync(join(folder, "node_modules", other))).toBe(false);
  }
});
