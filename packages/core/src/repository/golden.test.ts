import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { openRepository } from "./open-repository.ts";

const fixtures = fileURLToPath(new URL("../../test/golden/fixtures/", import.meta.url));

test.each([
  ["v3-default", "small 1", 1],
  ["v3-blake3-chacha-zstd", "small 2", 1],
  ["v1-hmac-pgzip", "small 3", 1],
  ["v2-blake2b256-s2", "small 4", 1],
  ["v3-ecc-deflate", "small 5", 1],
  ["v3-pbkdf2-history", "small 6", 3],
])("every content and manifest of Kopia's %s is read", async (name, password, snapshots) => {
  await using store = await openFileSystemStore(`${fixtures}${name}`, { readOnly: true });
  await using repository = await openRepository(store, { password, readOnly: true });
  let count = 0;
  for (const { id, originalLength } of repository.contents.entries()) {
    expect((await repository.contents.read(id)).length).toBe(originalLength);
    count++;
  }
  expect(count).toBeGreaterThan(10);
  const found = await repository.manifests.find({ type: "snapshot" });
  expect(found).toHaveLength(snapshots);
  expect(repository.manifests.damaged).toEqual([]);
  for (const { id } of await repository.manifests.find({})) {
    expect((await repository.manifests.get(id)).payload).toBeTypeOf("object");
  }
});
