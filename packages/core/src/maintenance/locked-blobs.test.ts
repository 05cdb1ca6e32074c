import { expect, test } from "vitest";
import { VarveError } from "../base/errors.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobStore, parseBlobId } from "../blob/store.ts";
import { parseManifestId } from "../manifest/manifest-store.ts";
import { syncBlobs } from "../repository/sync-blobs.ts";
import { deleteSnapshot } from "../snapshot/snapshots.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { upload } from "../upload/upload.ts";
import { verify } from "../verify/verify.ts";
import {
  blobIds,
  createTestRepository,
  SOURCE,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { runMaintenance } from "./run.ts";

/** A store without versions whose blobs are locked: it refuses to delete them, and says nothing but that. */
function withLocks(store: BlobStore, locks: { on: boolean }): BlobStore {
  return {
    ...passThrough(store),
    delete: async (id, options) => {
      if (locks.on) {
        throw new VarveError("blob-locked", `delete ${id}: it is locked`);
      }
      await store.delete(id, options);
    },
  };
}

async function repositoryWithGarbage(locks: { on: boolean }) {
  const { store, environment, repository } = await createTestRepository({
    wrap: (inner) => withLocks(inner, locks),
  });
  const backUp = async (letter: string): Promise<string> => {
    const root = tree({ [letter]: { data: letter.repeat(3000), mtimeNs: 1n } });
    const { snapshot } = await upload(repository, { source: SOURCE, root, policy: testPolicy() });
    environment.advance(1000);
    return snapshot.id ?? "";
  };
  await store.put(parseBlobId("_log_1"), [new Uint8Array(9)]);
  const old = await backUp("a");
  await backUp("b");
  await deleteSnapshot(repository, parseManifestId(old));
  await repository.flush();
  environment.advance(1000);
  return { store, environment, repository };
}

test("maintenance goes on where locks refuse deletions, and counts none of them as freed; a later run deletes them", async () => {
  const locks = { on: true };
  const { store, environment, repository } = await repositoryWithGarbage(locks);
  await using _ = repository;
  const before = new Set(await blobIds(store));
  const report = await runMaintenance(repository, { mode: "full", safety: "none" });
  const after = new Set(await blobIds(store));
  expect([...before].filter((id) => !after.has(id))).toEqual([]);
  const packs = report.tasks.find(({ task }) => task === "full-delete-blobs")?.counts;
  expect(packs).toMatchObject({ blobs: 0, bytes: 0 });
  expect(packs?.["lockedBlobs"]).toBeGreaterThan(0);
  expect(report.locked?.blobs).toBeGreaterThanOrEqual(packs?.["lockedBlobs"] ?? 0);
  expect(report.tasks.at(-1)).toMatchObject({ task: "cleanup-logs", counts: { blobs: 0 } });
  expect((await verify(repository)).damaged).toEqual([]);

  locks.on = false;
  environment.advance(1000);
  const later = await runMaintenance(repository, { mode: "full", safety: "none" });
  expect(later.locked).toBeUndefined();
  const freed = later.tasks.find(({ task }) => task === "full-delete-blobs")?.counts;
  expect(freed?.["blobs"]).toBeGreaterThanOrEqual(packs?.["lockedBlobs"] ?? 1);
  expect((await verify(repository)).damaged).toEqual([]);
});

test("in emergency mode, too", async () => {
  const locks = { on: true };
  const { repository } = await repositoryWithGarbage(locks);
  await using _ = repository;
  const report = await runMaintenance(repository, { mode: "emergency", safety: "none" });
  expect(report.locked?.blobs).toBeGreaterThan(0);
  expect(report.tasks.at(-1)?.task).toBe("cleanup-logs");
});

test("a mirror keeps what is locked there, says how much, and loses it once it may", async () => {
  const { store, environment, repository } = await repositoryWithGarbage({ on: false });
  await using _ = repository;
  const locks = { on: true };
  const mirror = withLocks(createMemoryStore({ environment }), locks);
  await syncBlobs(store, mirror);
  await runMaintenance(repository, { mode: "full", safety: "none" });
  const kept = await syncBlobs(store, mirror, { deleteExtra: true });
  expect(kept.deletedBlobs).toBe(0);
  expect(kept.locked.blobs).toBeGreaterThan(0);
  locks.on = false;
  const freed = await syncBlobs(store, mirror, { deleteExtra: true });
  expect(freed).toMatchObject({ deletedBlobs: kept.locked.blobs, locked: { blobs: 0, bytes: 0 } });
  expect((await blobIds(mirror)).sort()).toEqual((await blobIds(store)).sort());
});

test("a deletion that fails for another reason ends the run", async () => {
  const { repository, store } = await repositoryWithGarbage({ on: false });
  await using _ = repository;
  Object.assign(store, {
    delete: async () => {
      throw new VarveError("access-denied", "delete: it takes s3:DeleteObject");
    },
  });
  const run = runMaintenance(repository, { mode: "full", safety: "none" });
  await expect(run).rejects.toMatchObject({ code: "access-denied" });
});
