import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { blobStoreCases, bucketCases } from "../testing/index.ts";
import { openFileSystemBucket } from "./filesystem-bucket.ts";
import { parseBlobId } from "./store.ts";

const directory = await mkdtemp(join(tmpdir(), "varve-bucket-"));
afterAll(() => rm(directory, { recursive: true }));

describe("a directory as a bucket", () => {
  for (const { name, run } of bucketCases({ open: () => openFileSystemBucket(directory) })) {
    test(name, run);
  }
});

describe("a folder of a directory as a store", () => {
  const open = async () => (await openFileSystemBucket(directory)).store("some/folder/");
  for (const { name, run } of blobStoreCases({ open })) {
    test(name, run);
  }
});

test("files are named by their keys, and are found whoever wrote them", async () => {
  const root = join(directory, "plain");
  await mkdir(join(root, "backups", "one"), { recursive: true });
  await writeFile(join(root, "backups", "one", "velero-backup.json"), "{}");
  await using bucket = await openFileSystemBucket(root, { readOnly: true });
  const store = bucket.store("backups/one/");
  expect(await store.get(parseBlobId("velero-backup.json"))).toEqual(Uint8Array.of(123, 125));
  await expect(store.put(parseBlobId("a"), [])).rejects.toMatchObject({ code: "read-only" });
});

test("a directory that is gone is no empty bucket", async () => {
  const root = join(directory, "gone");
  await mkdir(root);
  await using bucket = await openFileSystemBucket(root);
  await rm(root, { recursive: true });
  const listing = (async () => {
    for await (const name of bucket.folders("backups/")) {
      expect(name).toBe("nothing");
    }
  })();
  await expect(listing).rejects.toMatchObject({ code: "storage-failed" });
  await expect(openFileSystemBucket(root)).rejects.toMatchObject({ code: "storage-failed" });
});
