import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type InstalledPackages,
  installPacked,
} from "../../../core/test/package/install-packed.ts";
import { objectJson, sayJson, startCannedGcs } from "../canned-gcs.ts";

/** The package as a stranger gets it: packed with core, installed into an empty folder, run. */

let installed: InstalledPackages;

beforeAll(() => {
  installed = installPacked(["core", "storage-gcs"]);
});

afterAll(() => installed[Symbol.dispose]());

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
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: installed.folder });
  expect(JSON.parse(stdout)).toEqual([true, ["openGcsBucket"], "gs://b/", 3]);
});

test("it brings no other vendor's library", () => {
  const scopes = readdirSync(join(installed.folder, "node_modules"));
  expect(scopes).toContain("google-auth-library");
  for (const other of ["@aws-sdk", "@smithy", "@azure", "vitest", "typescript"]) {
    expect(existsSync(join(installed.folder, "node_modules", other))).toBe(false);
  }
});
