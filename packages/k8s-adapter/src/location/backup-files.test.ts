import { readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { createMemoryStore, parseBlobId } from "@varve/core";
import { openFileSystemBucket } from "@varve/core/blob";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { unpackVeleroBackups } from "../../test/velero-backups.ts";
import {
  BACKUP_FILES,
  BACKUP_JSON,
  podVolumeBackupsFile,
  readBackup,
  readGzippedJson,
  readJsonList,
  readPodVolumeBackups,
  RESTORE_FILES,
} from "./backup-files.ts";

const golden = await unpackVeleroBackups();
afterAll(() => golden[Symbol.asyncDispose]());
await using bucket = await openFileSystemBucket(join(golden.folder, "bucket"), { readOnly: true });

describe("backups of real Velero", () => {
  test("all of them are read, with the copies of their volumes", async () => {
    const volumes: Record<string, number> = {};
    for await (const name of bucket.folders("backups/")) {
      const store = bucket.store(`backups/${name}/`);
      const backup = await readBackup(store, { name });
      expect(backup?.status?.phase).toMatch(/^(?:Completed|PartiallyFailed)$/);
      volumes[name] = (await readPodVolumeBackups(store, { name })).length;
    }
    expect(Object.keys(volumes).length).toBe(
      readdirSync(join(golden.folder, "bucket/backups")).length,
    );
    expect(volumes["fsb-all-2"]).toBeGreaterThan(1);
    expect(volumes["glob-none"]).toBe(0); // its file holds null
  });

  test("the names of all files are known", async () => {
    const name = "fsb-all-2";
    const known = new Set<string>([BACKUP_JSON, podVolumeBackupsFile(name)]);
    for (const file of Object.values(BACKUP_FILES)) {
      known.add(file(name));
    }
    for await (const { id } of bucket.store(`backups/${name}/`).list("")) {
      expect(known).toContain(id);
    }
    const restoreFiles = Object.values(RESTORE_FILES).map((file) => file("r-conflict"));
    const found: string[] = [];
    for await (const { id } of bucket.store("restores/r-conflict/").list("")) {
      found.push(id);
    }
    expect(found.toSorted()).toEqual(restoreFiles.toSorted());
  });
});

const store = createMemoryStore();
const put = (name: string, text: string | Uint8Array): Promise<unknown> =>
  store.put(parseBlobId(name), [typeof text === "string" ? new TextEncoder().encode(text) : text]);
const BACKUP = { kind: "Backup", apiVersion: "velero.io/v1", metadata: { name: "b" } };

describe("what others may have put there", () => {
  test("a file that is not there is none, and a list that is null is empty", async () => {
    expect(await readBackup(createMemoryStore(), { name: "b" })).toBeUndefined();
    expect(await readPodVolumeBackups(createMemoryStore(), { name: "b" })).toEqual([]);
    await put("null.gz", gzipSync("null\n"));
    expect(await readJsonList(store, "null.gz", {})).toEqual([]);
  });

  for (const [what, value] of Object.entries({
    "of another name": { ...BACKUP, metadata: { name: "../b" } },
    "of another kind": { ...BACKUP, kind: "Restore" },
    "of another version": { ...BACKUP, apiVersion: "velero.io/v2" },
    "without metadata": { ...BACKUP, metadata: null },
    "with a spec that is a text": { ...BACKUP, spec: "all" },
    "that is a list": [BACKUP],
  })) {
    test(`a Backup ${what} is corrupt`, async () => {
      await put(BACKUP_JSON, JSON.stringify(value));
      await expect(readBackup(store, { name: "b" })).rejects.toMatchObject({ code: "corrupt" });
    });
  }

  test("a small file that unpacks to a large one is corrupt, and takes no such memory", async () => {
    await put("bomb.gz", gzipSync(Buffer.alloc(2 ** 20 + 1, " ")));
    const reading = readGzippedJson(store, "bomb.gz", { maxBytes: 2 ** 20 });
    await expect(reading).rejects.toMatchObject({ code: "corrupt" });
  });

  test("elements that are no PodVolumeBackups are left out", async () => {
    const good = { metadata: { name: "p" }, spec: { pod: { namespace: "n" } } };
    const list = [null, 1, "x", {}, { metadata: { name: "q" } }, { ...good, metadata: {} }, good];
    await put(podVolumeBackupsFile("b"), gzipSync(JSON.stringify(list)));
    expect(await readPodVolumeBackups(store, { name: "b" })).toEqual([good]);
  });

  test("any bytes are a list or corrupt", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.boolean(), async (bytes, packed) => {
        await put("fuzz.gz", packed ? gzipSync(bytes) : bytes);
        const reading = readJsonList(store, "fuzz.gz", {});
        const outcome: unknown = await reading.catch((error: unknown) => error);
        expect(Array.isArray(outcome) ? { code: "corrupt" } : outcome).toMatchObject({
          code: "corrupt",
        });
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});
