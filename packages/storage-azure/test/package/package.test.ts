import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type InstalledPackages,
  installPacked,
} from "../../../core/test/package/install-packed.ts";

/** The package as a stranger gets it: packed with core, installed into an empty folder, run. */

let installed: InstalledPackages;

beforeAll(() => {
  installed = installPacked(["core", "storage-azure"]);
});

afterAll(() => installed[Symbol.dispose]());

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
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: installed.folder });
  expect(JSON.parse(stdout)).toEqual([["openAzureBucket"], "azure://varvetest/packed/", 3]);
});

test("it brings no other vendor's library", () => {
  expect(readdirSync(join(installed.folder, "node_modules"))).toContain("@azure");
  for (const other of [
    "@aws-sdk",
    "@smithy",
    "@google-cloud",
    "google-auth-library",
    "vitest",
    "typescript",
  ]) {
    expect(existsSync(join(installed.folder, "node_modules", other))).toBe(false);
  }
});
