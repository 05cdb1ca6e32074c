import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startS3rver } from "@varve/testenv/s3-servers.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type InstalledPackages,
  installPacked,
} from "../../../core/test/package/install-packed.ts";

/** The package as a stranger gets it: packed, installed into an empty folder beside core, and run. */

const packageRoot = fileURLToPath(new URL("../../", import.meta.url));
let installed: InstalledPackages;

beforeAll(() => {
  installed = installPacked(["core", "storage-s3"]);
}, 600_000);

afterAll(() => installed[Symbol.dispose]());

test("it brings no other vendor's SDK and no packages of the tests", () => {
  const modules = join(installed.folder, "node_modules");
  const names = readdirSync(modules);
  expect(names).toContain("@aws-sdk");
  for (const other of ["@azure", "@google-cloud", "google-auth-library", "vitest", "typescript"]) {
    expect(names).not.toContain(other);
  }
  expect(readdirSync(join(modules, "@varve")).sort()).toEqual(["core", "storage-s3"]);
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
  writeFileSync(join(installed.folder, "example.js"), local);
  const output = installed.run(process.execPath, ["example.js"], {
    AWS_ACCESS_KEY_ID: server.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
  });
  expect(output).toMatch(/^[1-9]\d* files\n$/);
});
