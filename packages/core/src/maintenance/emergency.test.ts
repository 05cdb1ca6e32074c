import { expect, test } from "vitest";
import { VarveError } from "../base/errors.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import { parseManifestId } from "../manifest/manifest-store.ts";
import { deleteSnapshot } from "../snapshot/snapshots.ts";
import { upload } from "../upload/upload.ts";
import { verify } from "../verify/verify.ts";
import { createTestRepository, SOURCE, testPolicy, tree } from "../../test/upload-fixture.ts";
import { runMaintenance } from "./run.ts";

async function bytesIn(store: BlobStore): Promise<number> {
  let bytes = 0;
  for await (const { size } of store.list("")) {
    bytes += size;
  }
  return bytes;
}

/** A store that holds so many bytes. */
function withCapacity(inner: BlobStore, capacity: { bytes: number }): BlobStore {
  return {
    ...passThrough(inner),
    put: async (id, parts, options) => {
      const size = parts.reduce((sum, part) => sum + part.length, 0);
      if ((await bytesIn(inner)) + size > capacity.bytes) {
        throw new VarveError("storage-failed", `put ${id}: no space is left`);
      }
      return inner.put(id, parts, options);
    },
  };
}

test("in a store without a byte left, emergency mode frees what ordinary maintenance cannot begin with", async () => {
  const capacity = { bytes: Number.POSITIVE_INFINITY };
  const { store, environment, repository } = await createTestRepository({
    wrap: (inner) => withCapacity(inner, capacity),
  });
  const root = (letter: string) => tree({ [letter]: { data: letter.repeat(50_000), mtimeNs: 1n } });
  const options = { source: SOURCE, policy: testPolicy() };
  const old = await upload(repository, { ...options, root: root("a") });
  environment.advance(1000);
  await upload(repository, { ...options, root: root("b") });
  await deleteSnapshot(repository, parseManifestId(old.snapshot.id ?? ""));
  await repository.flush();
  // As a backup leaves it that was broken off.
  await store.put(orphan(), [new Uint8Array(100_000)]);
  capacity.bytes = await bytesIn(store);
  await expect(runMaintenance(repository, { mode: "full", safety: "none" })).rejects.toThrow(
    /no space/,
  );
  const report = await runMaintenance(repository, { mode: "emergency", safety: "none" });
  expect(report.tasks[0]?.task).toBe("cleanup-logs");
  expect(report.tasks.map(({ task }) => task)).not.toContain("full-rewrite-contents");
  expect(await bytesIn(store)).toBeLessThan(capacity.bytes - 100_000);
  expect((await verify(repository)).damaged).toEqual([]);
});

function orphan(): BlobId {
  return parseBlobId("p0123456789abcdef0123456789abcdef-s0123456789abcdef147");
}
