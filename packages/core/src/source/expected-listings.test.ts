import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ExpectedListings } from "./expected-listings.ts";
import { ListThread } from "./local-list-thread.ts";
import { listPacked } from "./local-listing.ts";

const WORKER_URL = new URL("../../dist/source/local-list-worker.js", import.meta.url);
let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "varve-expected-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("each directory is listed as the caller would, or left to the caller, once; what is gone or passed over hinders none", async () => {
  const paths = Array.from({ length: 300 }, (_, index) => join(folder, `d${index}`));
  for (const [index, path] of paths.entries()) {
    if (index % 7 > 0) {
      mkdirSync(path);
      writeFileSync(join(path, "file"), "x".repeat(index));
    }
  }
  using thread = new ListThread(WORKER_URL);
  const directories = paths.map((_, index) => ({ path: `d${index}`, entries: 10 }));
  const expected = new ExpectedListings(thread, {
    root: folder,
    directories: Promise.resolve(directories),
  });
  const found: unknown[] = [];
  for (const [index, path] of paths.entries()) {
    if (index % 5 > 0 && index % 7 > 0) {
      const listing = (await expected.take(path)) ?? listPacked(path);
      found.push([listing, await expected.take(path)]);
    }
  }
  const walked = paths.filter((_, index) => index % 5 > 0 && index % 7 > 0);
  expect(found).toEqual(walked.map((path) => [listPacked(path), undefined]));
  expect(await expected.take(join(folder, "other"))).toBeUndefined();
});

test("no thread is asked where few entries are expected", async () => {
  writeFileSync(join(folder, "file"), "");
  using thread = new ListThread(WORKER_URL);
  const expected = new ExpectedListings(thread, {
    root: folder,
    directories: Promise.resolve([{ path: "", entries: 1 }]),
  });
  expect(await expected.take(folder)).toBeUndefined();
});
