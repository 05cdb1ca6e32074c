import { expect, test } from "vitest";
import { parseManifestId } from "../manifest/manifest-store.ts";
import { deleteSnapshot } from "../snapshot/snapshots.ts";
import { upload } from "../upload/upload.ts";
import {
  blobIds,
  createTestRepository,
  SOURCE,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { runMaintenance } from "./run.ts";
import { predictFreedSpace } from "./what-if.ts";

/** Bytes without a pattern, so that they are stored as long as they are. */
function noise(seed: number, length: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 24;
  });
}

test("what is predicted is what a collection marks, and what storage is smaller by", async () => {
  const { store, environment, repository } = await createTestRepository();
  const options = { source: SOURCE, policy: testPolicy() };
  const shared = { data: noise(1, 400_000), mtimeNs: 1n };
  const first = await upload(repository, {
    ...options,
    root: tree({ shared, a: { data: noise(2, 900_000), mtimeNs: 1n } }),
  });
  environment.advance(1000);
  await upload(repository, { ...options, root: tree({ shared, b: { data: noise(3, 50_000) } }) });
  environment.advance(1000);
  const id = parseManifestId(first.snapshot.id ?? "");
  const predicted = await predictFreedSpace(repository, [id]);
  expect(predicted.bytes).toBeGreaterThan(900_000);
  expect(predicted.bytes).toBeLessThan(1_000_000);
  const bytesStored = async (): Promise<number> => {
    let bytes = 0;
    for (const blob of await blobIds(store)) {
      bytes += /^[pq]/.test(blob) ? (await store.stat(blob)).size : 0;
    }
    return bytes;
  };
  const before = await bytesStored();
  await deleteSnapshot(repository, id);
  await repository.flush();
  environment.advance(1000);
  const { tasks } = await runMaintenance(repository, { mode: "full", safety: "none" });
  const collection = tasks.find(({ task }) => task === "snapshot-gc")?.counts;
  expect(collection).toMatchObject({
    markedDeleted: predicted.contents,
    markedDeletedBytes: predicted.bytes,
  });
  // Packs have paddings and an index of their own, a few KB each.
  const freed = before - (await bytesStored());
  expect(Math.abs(freed - predicted.bytes)).toBeLessThan(40_000);
});

test("a snapshot whose contents others have frees nothing", async () => {
  const { repository } = await createTestRepository();
  const options = { source: SOURCE, policy: testPolicy(), root: tree({ a: { data: "alpha" } }) };
  const { snapshot } = await upload(repository, options);
  await upload(repository, options);
  const id = parseManifestId(snapshot.id ?? "");
  expect(await predictFreedSpace(repository, [id])).toMatchObject({ contents: 0, packs: 0 });
});
