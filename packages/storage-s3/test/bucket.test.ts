import { systemEnvironment } from "@varve/core/blob";
import { bucketCases } from "@varve/core/testing";
import { startS3Servers } from "@varve/testenv/s3-servers.ts";
import { afterAll, describe, expect, test } from "vitest";
import { openS3Bucket } from "../src/index.ts";
import { serverOptions } from "./server-options.ts";

/** Core's list of what every bucket must do, on every server that lists as S3 does. */

const servers = await startS3Servers();
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});

async function read(url: string): Promise<Uint8Array> {
  const response = await fetch(url);
  return new Uint8Array(await response.arrayBuffer());
}

// s3rver fails on page 2 of any list.
for (const server of servers.filter(({ name }) => name !== "s3rver")) {
  describe(server.name, () => {
    const open = async () => {
      await server.createBucket("buckets").catch(() => {}); // it is there
      return await openS3Bucket(serverOptions(server, "buckets"));
    };
    for (const { name, run } of bucketCases({ open, fetch: read })) {
      test(name, run);
    }
    test("a read URL names the public endpoint, and holds no secret key", async () => {
      await using bucket = await openS3Bucket({
        ...serverOptions(server, "buckets"),
        publicEndpoint: "https://files.example.com",
        environment: systemEnvironment(),
      });
      const url = new URL(await bucket.readUrl("backups/a/a-logs.gz", { seconds: 600 }));
      expect(url.host).toBe("files.example.com");
      expect(url.pathname).toBe("/buckets/backups/a/a-logs.gz");
      expect(url.searchParams.get("X-Amz-Expires")).toBe("600");
      expect(url.href).not.toContain(server.secretAccessKey);
    });
    test("a bucket that is not there says so with the first call", async () => {
      await using bucket = await openS3Bucket(serverOptions(server, "no-such-bucket"));
      const listing = bucket.folders("")[Symbol.asyncIterator]().next();
      await expect(listing).rejects.toMatchObject({ code: "storage-failed" });
    });
  });
}
