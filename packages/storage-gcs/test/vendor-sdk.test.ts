import { Storage } from "@google-cloud/storage";
import { parseBlobId } from "@varve/core/blob";
import { type FakeGcs, startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openGcsStore } from "../src/index.ts";

/** Google's own library, which the store does not use for its bodies (see README), finds in a bucket what the store has put, and the other way round. */

const FIRST_BUILD_MS = 600_000;
const id = parseBlobId("p0123456789abcdef");
const data = Buffer.from("a pack, or what looks like one");

test("Google's library signs and sends by the same names as this package", () => {
  const file = new Storage({ projectId: "varve" }).bucket("backups").file(`prefix/${id}`);
  expect(file.cloudStorageURI.href).toBe(`gs://backups/prefix/${id}`);
});

if (canRunGoServers("storage-gcs beside Google's own library")) {
  describe("on fake-gcs-server", () => {
    let server: FakeGcs;
    beforeAll(async () => {
      server = await startFakeGcs();
    }, FIRST_BUILD_MS);
    afterAll(() => server.stop());

    test("both see the same blobs, bytes, checksums and sizes", async () => {
      await server.createBucket("vendor");
      await using store = await openGcsStore({
        bucket: "vendor",
        prefix: "backups/",
        endpoint: server.endpoint,
        credentials: { kind: "anonymous" },
      });
      const bucket = new Storage({ projectId: "varve", apiEndpoint: server.endpoint }).bucket(
        "vendor",
      );
      await store.put(id, [data]);
      const [bytes] = await bucket.file(`backups/${id}`).download({ validation: "crc32c" });
      expect(bytes).toEqual(data);
      const [metadata] = await bucket.file(`backups/${id}`).getMetadata();
      expect(Number(metadata.size)).toBe(data.length);

      const theirs = parseBlobId("qfedcba9876543210");
      await bucket.file(`backups/${theirs}`).save(data, { resumable: false });
      expect(Buffer.from(await store.get(theirs))).toEqual(data);
      const ours: string[] = [];
      for await (const info of store.list("")) {
        ours.push(`backups/${info.id}`);
      }
      const [files] = await bucket.getFiles({ prefix: "backups/" });
      expect(ours.sort()).toEqual(files.map(({ name }) => name).sort());
    });
  });
}
