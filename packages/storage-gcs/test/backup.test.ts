import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as varve from "@varve/core";
import { type FakeGcs, startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inventory, makeTree } from "../../core/test/trees/make-tree.ts";
import { type GcsStoreOptions, openGcsStore } from "../src/index.ts";
import { sayJson, sayNo, startCannedGcs } from "./canned-gcs.ts";

/** Whole backups in a bucket of fake-gcs-server: made, made again, verified, restored, and seen as they were. */

const FIRST_BUILD_MS = 600_000;
const password = "correct horse";
const folder = mkdtempSync(join(tmpdir(), "varve-gcs-"));
const data = join(folder, "data");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function backUp(store: varve.BlobStore): Promise<varve.UploadReport> {
  await using repository = await varve.openRepository(store, { password, workers: 0 });
  return await varve.createSnapshot(repository, { path: data });
}

async function verifyAndRestore(store: varve.BlobStore, to: string): Promise<void> {
  await using repository = await varve.openRepository(store, { password, workers: 0 });
  const { damagedCount, snapshots } = await varve.verify(repository, { readFraction: 1 });
  expect({ damagedCount, snapshots }).toEqual({ damagedCount: 0, snapshots: 2 });
  const newest = (await varve.listSnapshots(repository)).snapshots.at(-1);
  expect(newest).toBeDefined();
  if (newest !== undefined) {
    const target = varve.localTarget(to);
    const { failures } = await varve.restore(repository, { root: newest.root, target });
    expect(failures).toEqual([]);
  }
  expect(inventory(to)).toEqual(inventory(data));
}

async function listed(store: varve.BlobStore): Promise<varve.BlobInfo[]> {
  const infos: varve.BlobInfo[] = [];
  for await (const info of store.list("")) {
    infos.push(info);
  }
  return infos;
}

if (canRunGoServers("storage-gcs backups on fake-gcs-server")) {
  describe("on fake-gcs-server", () => {
    let server: FakeGcs;
    const open = (
      bucket: string,
      options: Partial<GcsStoreOptions> = {},
    ): Promise<varve.BlobStore> =>
      openGcsStore({
        bucket,
        prefix: "backups/",
        endpoint: server.endpoint,
        credentials: { kind: "anonymous" },
        ...options,
      });

    beforeAll(async () => {
      makeTree(data, { seed: "gcs" });
      server = await startFakeGcs();
      await server.createBucket("plain");
      await server.createBucket("versions", { versioning: true });
    }, FIRST_BUILD_MS);
    afterAll(() => server?.stop());

    test("a backup, one without changes, verified and restored", async () => {
      await using store = await open("plain");
      await varve.createRepository(store, { password });
      const first = await backUp(store);
      const second = await backUp(store);
      expect(first.errors).toEqual([]);
      expect(second.contentStats.newContents).toBe(1); // the manifest
      await verifyAndRestore(store, join(folder, "restored"));
      await using reader = await open("plain", { readOnly: true });
      await verifyAndRestore(reader, join(folder, "restored by a reader"));
    });

    test("a wrong bucket is named, and nothing is made", async () => {
      await expect(open("wrong")).rejects.toMatchObject({
        code: "storage-failed",
        message: expect.stringContaining("there is no bucket wrong"),
      });
      const response = await fetch(`${server.endpoint}/storage/v1/b/wrong`);
      expect(response.status).toBe(404);
    });

    test("retention goes to the object", async () => {
      await using store = await open("plain", { prefix: "locked/" });
      const untilMs = Date.UTC(2040, 0, 1);
      const id = varve.parseBlobId("p1");
      await store.put(id, [], { retention: { mode: "compliance", untilMs } });
      const object = await fetch(`${server.endpoint}/storage/v1/b/plain/o/locked%2Fp1`);
      expect(await object.json()).toMatchObject({
        contentType: "application/x-kopia",
        retention: { mode: "Locked", retainUntilTime: "2040-01-01T00:00:00Z" },
      });
    });

    test("a bucket that keeps versions shows the repository as it was, when all is deleted", async () => {
      await using store = await open("versions");
      await varve.createRepository(store, { password });
      await backUp(store);
      await backUp(store);
      const tick = async (id: string): Promise<number> => {
        const put = async () => (await store.put(varve.parseBlobId(id), [])).mtimeMs;
        const startMs = await put();
        let nowMs = startMs;
        while (nowMs === startMs) {
          nowMs = await put(); // until the server's clock has gone on
        }
        return nowMs;
      };
      const atMs = await tick("mark");
      const then = await listed(store);
      const after = varve.parseBlobId("after");
      await tick(after);
      for (const { id } of await listed(store)) {
        await store.put(id, [Uint8Array.of(0)]); // replaced, then deleted
        await store.delete(id);
      }
      expect(await listed(store)).toEqual([]);

      await using past = await open("versions", { pointInTimeMs: atMs });
      expect(await listed(past)).toEqual(then);
      for (const info of then) {
        expect(await past.stat(info.id)).toEqual(info);
      }
      await expect(past.get(after)).rejects.toMatchObject({ code: "blob-not-found" });
      const range = { offset: 0, length: 1_000_000_000 };
      const [first] = then;
      if (first !== undefined) {
        await expect(past.get(first.id, { range })).rejects.toMatchObject({
          code: "range-invalid",
        });
        await expect(past.delete(first.id)).rejects.toMatchObject({ code: "read-only" });
      }
      expect(past.features.size).toBe(0);
      await verifyAndRestore(past, join(folder, "restored from the past"));

      await using before = await open("versions", { pointInTimeMs: 1 });
      expect(await listed(before)).toEqual([]);
      await using now = await open("versions", { pointInTimeMs: Date.UTC(2100, 0, 1) });
      expect(await listed(now)).toEqual([]);
      await expect(now.stat(after)).rejects.toMatchObject({ code: "blob-not-found" });
    });

    test("a bucket that keeps none has no past to show", async () => {
      await expect(open("plain", { pointInTimeMs: 1 })).rejects.toMatchObject({
        code: "unsupported",
      });
    });
  });
}

describe("a point in time, asked of a stand-in,", () => {
  test("of a bucket without versions is refused", async () => {
    await using server = await startCannedGcs((_, response) => sayJson(response, {}));
    const opening = openGcsStore({
      bucket: "b",
      endpoint: server.endpoint,
      credentials: { kind: "anonymous" },
      pointInTimeMs: 1,
    });
    await expect(opening).rejects.toMatchObject({ code: "unsupported" });
    expect(server.requests).toMatchObject([{ path: "/storage/v1/b/b", method: "GET" }]);
  });

  test("whose bucket may not be looked at names the permission", async () => {
    await using server = await startCannedGcs((_, response) =>
      sayNo(response, 403, "me@x does not have storage.buckets.get access to the bucket."),
    );
    const opening = openGcsStore({
      bucket: "b",
      endpoint: server.endpoint,
      credentials: { kind: "anonymous" },
      pointInTimeMs: 1,
    });
    await expect(opening).rejects.toMatchObject({
      code: "access-denied",
      message: expect.stringContaining("storage.buckets.get on bucket b"),
    });
  });
});
