import { inspect } from "node:util";
import { type BlobStore, parseBlobId } from "@varve/core/blob";
import { blobStoreCases } from "@varve/core/testing";
import { type FakeGcs, startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type GcsStoreOptions, openGcsStore } from "../src/index.ts";
import { sayJson, startCannedGcs } from "./canned-gcs.ts";

/** Against fake-gcs-server. It lets nobody extend a locked retention, so object lock is left to requests.test.ts. */

const FIRST_BUILD_MS = 600_000;

async function ids(store: BlobStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of store.list("")) {
    found.push(id);
  }
  return found.sort();
}

if (canRunGoServers("storage-gcs against fake-gcs-server")) {
  describe("on fake-gcs-server", () => {
    let server: FakeGcs;
    const open = (options: Partial<GcsStoreOptions> = {}): Promise<BlobStore> =>
      openGcsStore({
        bucket: "cases",
        endpoint: server.endpoint,
        credentials: { kind: "anonymous" },
        objectLock: false,
        ...options,
      });

    beforeAll(async () => {
      server = await startFakeGcs();
      await server.createBucket("cases");
      await server.createBucket("versions", { versioning: true });
    }, FIRST_BUILD_MS);
    afterAll(() => server?.stop());

    for (const [name, options] of [
      ["a bucket", {}],
      ["a folder of a bucket", { prefix: "some folder/ü+%2F/" }],
    ] as const) {
      describe(name, () => {
        for (const storeCase of blobStoreCases({ open: () => open(options) })) {
          test(storeCase.name, () => storeCase.run());
        }
      });
    }

    test("stores with different prefixes do not see each other's blobs", async () => {
      await using one = await open({ prefix: "one/" });
      await using two = await open({ prefix: "one/two-" });
      await two.put(parseBlobId("x"), [Uint8Array.of(1)]);
      await one.put(parseBlobId("y"), [Uint8Array.of(1)]);
      expect(await ids(two)).toEqual(["x"]);
      expect(await ids(one)).toEqual(["two-x", "y"]);
    });
  });
}

test("options that cannot be are refused before anything is sent", async () => {
  for (const options of [
    { bucket: "" },
    { bucket: "b", endpoint: "storage.googleapis.com" },
    { bucket: "b", endpoint: "ftp://host" },
    { bucket: "b", endpoint: "http://user:secret@host" },
    { bucket: "b", endpoint: "http://host?secret" },
  ]) {
    const opening = openGcsStore({ ...options, credentials: { kind: "anonymous" } });
    const error: unknown = await opening.catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "invalid-argument" });
    expect(inspect(error)).not.toContain("secret");
  }
});

test("a store can be closed twice", async () => {
  await using server = await startCannedGcs((_, response) => sayJson(response, {}));
  const store = await openGcsStore({
    bucket: "b",
    endpoint: server.endpoint,
    credentials: { kind: "anonymous" },
  });
  await store[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
  expect(server.requests).toHaveLength(1);
});
