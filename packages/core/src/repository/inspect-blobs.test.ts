import { describe, expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { type BlobId, type BlobInfo, type BlobStore, parseBlobId } from "../blob/store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { createRepository } from "./create-repository.ts";
import { listIndexBlobs, readIndexBlob, readSealedBlob } from "./inspect-blobs.ts";
import { openRepository } from "./open-repository.ts";
import type { Repository } from "./repository.ts";

const password = "secret";

async function newRepository(
  version: number,
): Promise<{ store: BlobStore; repository: Repository }> {
  const environment = seededEnvironment({ seed: version });
  const store = createMemoryStore({ environment });
  await createRepository(store, { password, version, environment });
  return { store, repository: await openRepository(store, { password, environment }) };
}

async function indexBlobsOf(store: BlobStore): Promise<readonly BlobInfo[]> {
  const blobs: BlobInfo[] = [];
  for await (const blob of store.list("")) {
    if (/^(?:n|xn)/.test(blob.id)) {
      blobs.push(blob);
    }
  }
  return blobs;
}

describe.each([1, 3])("format version %d", (version) => {
  test("lists its index blobs, and each gives its entries", async () => {
    const { store, repository } = await newRepository(version);
    await using _ = repository;
    const id = await repository.contents.write(utf8("a content"), { prefix: "" });
    await repository.flush();
    const { blobs, writeEpoch } = await listIndexBlobs(repository);
    expect(writeEpoch).toBe(0);
    expect(blobs.map((blob) => blob.id).sort()).toEqual(
      (await indexBlobsOf(store)).map((blob) => blob.id).sort(),
    );
    expect(blobs.every(({ active }) => active)).toBe(true);
    const entries = await Promise.all(
      blobs.map(async (blob) => [...(await readIndexBlob(repository, blob.id))]),
    );
    expect(entries.flat()).toContainEqual(repository.contents.info(id));
  });

  test("a blob that is not sealed as a whole is corrupt, a missing one is missing", async () => {
    const { store, repository } = await newRepository(version);
    await using _ = repository;
    await repository.contents.write(utf8("a content"), { prefix: "" });
    await repository.flush();
    let pack: BlobId | undefined;
    for await (const { id } of store.list("p")) {
      pack = id;
    }
    await expect(readSealedBlob(repository, pack ?? parseBlobId("p"))).rejects.toMatchObject({
      code: "corrupt",
    });
    await expect(readIndexBlob(repository, parseBlobId("xn0_00"))).rejects.toMatchObject({
      code: "blob-not-found",
    });
  });
});

test("an index blob that a compaction replaced is listed as such, markers are not", async () => {
  const { store, repository } = await newRepository(3);
  await using _ = repository;
  const { blobs } = await listIndexBlobs(repository);
  const [live] = blobs;
  const bytes = await store.get(live?.id ?? parseBlobId("x"));
  // epochs 1 and 2 have begun, and epoch 0, settled by that, has been compacted into one blob
  const compacted = parseBlobId(`${live?.id.replace("xn0_", "xs0_")}`);
  await store.put(compacted, [bytes]);
  await store.put(parseBlobId("xe1"), [utf8("{}")]);
  await store.put(parseBlobId("xe2"), [utf8("{}")]);
  const after = await listIndexBlobs(repository);
  expect(after.writeEpoch).toBe(2);
  expect(after.blobs.map(({ id, active }) => [id, active])).toEqual(
    expect.arrayContaining([
      [compacted, true],
      [live?.id, false],
    ]),
  );
  expect(after.blobs).toHaveLength(blobs.length + 1);
});
