import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { objectJson, sayJson, startCannedGcs } from "../canned-gcs.ts";

/** The package as a stranger gets it: packed with core, installed into an empty folder, run. */

const packages = fileURLToPath(new URL("../../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "varve-gcs-package-"));

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
  for (const name of ["core", "storage-gcs"]) {
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

test("it opens a bucket, and importing it does nothing", async () => {
  const script = `
    const sideEffects = () => JSON.stringify([Object.keys(globalThis), process.eventNames()]);
    const before = sideEffects();
    const { openGcsStore, ...others } = await import("@varve/storage-gcs");
    const { parseBlobId } = await import("@varve/core/blob");
    const isClean = sideEffects() === before;
    const store = await openGcsStore({
      bucket: "b",
      endpoint: process.argv[1],
      credentials: { kind: "anonymous" },
    });
    const { size } = await store.stat(parseBlobId("x"));
    await store[Symbol.asyncDispose]();
    console.log(JSON.stringify([isClean, Object.keys(others), store.label, size]));
  `;
  await using server = await startCannedGcs((_, response) => sayJson(response, objectJson("x")));
  const args = ["--input-type=module", "-e", script, server.endpoint];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder });
  expect(JSON.parse(stdout)).toEqual([true, [], "gs://b/", 3]);
});

test("it brings no other vendor's library", () => {
  const scopes = readdirSync(join(folder, "node_modules"));
  expect(scopes).toContain("google-auth-library");
  for (const other of ["@aws-sdk", "@smithy", "@azure", "vitest", "typescript"]) {
    expect(existsSync(join(folder, "node_modules", other))).toBe(false);
  }
});
