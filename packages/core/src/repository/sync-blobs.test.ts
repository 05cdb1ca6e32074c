import { expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { type BlobInfo, type BlobStore, parseBlobId } from "../blob/store.ts";
import { fillWithRepository } from "../../test/upload-fixture.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { syncBlobs } from "./sync-blobs.ts";

/** As S3 does. */
function inWholeSeconds(store: BlobStore): BlobStore {
  const rounded = (info: BlobInfo): BlobInfo => ({
    ...info,
    mtimeMs: Math.floor(info.mtimeMs / 1000) * 1000,
  });
  return {
    ...passThrough(store),
    list: async function* list(prefix, options) {
      for await (const info of store.list(prefix, options)) {
        yield rounded(info);
      }
    },
  };
}

test("what is copied within the second of its making is not copied again, but for what is replaced under its name", async () => {
  const environment = seededEnvironment({ seed: 1, startMs: Date.UTC(2030, 0, 1) + 123 });
  const source = createMemoryStore({ environment });
  await fillWithRepository(source);
  for (const name of ["p1", "q1", "xn0_1-c1", "n1", "kopia.maintenance"]) {
    await source.put(parseBlobId(name), [utf8(name)]);
  }
  const mirror = inWholeSeconds(createMemoryStore({ environment }));
  const { copiedBlobs } = await syncBlobs(source, mirror);
  const replaced: BlobInfo[] = [];
  for await (const info of source.list("kopia.")) {
    replaced.push(info);
  }
  expect(await syncBlobs(source, mirror)).toMatchObject({
    copiedBlobs: replaced.length,
    inSync: copiedBlobs - replaced.length,
  });
});

test("a pack of another second, or another length, is copied again", async () => {
  const environment = seededEnvironment({ seed: 1, startMs: Date.UTC(2030, 0, 1) + 123 });
  const source = createMemoryStore({ environment });
  await fillWithRepository(source);
  await source.put(parseBlobId("p1"), [utf8("first")]);
  await source.put(parseBlobId("p2"), [utf8("second")]);
  const mirror = inWholeSeconds(createMemoryStore({ environment }));
  environment.advance(60_000);
  await syncBlobs(source, mirror);
  expect((await syncBlobs(source, mirror)).copiedBlobs).toBe(0);
  await source.put(parseBlobId("p1"), [utf8("longer than before")]);
  environment.advance(60_000);
  await source.put(parseBlobId("p2"), [utf8("SECOND")]);
  expect((await syncBlobs(source, mirror)).copiedBlobs).toBe(2);
});
