import { bucketCases } from "@varve/core/testing";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { afterAll, describe, expect, test } from "vitest";
import { openAzureBucket } from "../src/index.ts";

/** The contract of a bucket, against the emulator. */

const azurite = await startAzurite();
afterAll(() => azurite.stop());
const { endpoint, key: accountKey } = azurite;
await azurite.createContainer("buckets");

const open = () =>
  openAzureBucket({
    container: "buckets",
    endpoint,
    credentials: { kind: "account-key", accountKey },
  });

async function read(url: string): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(url)).arrayBuffer());
}

describe("a container", () => {
  for (const { name, run } of bucketCases({ open, fetch: read })) {
    test(name, run);
  }
});

test("a read URL lets nobody write, and holds no key", async () => {
  await using bucket = await open();
  const url = await bucket.readUrl("backups/a/a-logs.gz", { seconds: 600 });
  expect(new URL(url).searchParams.get("sp")).toBe("r");
  expect(url).not.toContain(accountKey);
  const { status } = await fetch(url, {
    method: "PUT",
    headers: { "x-ms-blob-type": "BlockBlob" },
    body: "x",
  });
  expect(status).toBe(403);
});

test("whoever has a SAS only gets no URL, as that would give the SAS away", async () => {
  const credentials = { kind: "sas", sasToken: "sv=1&sig=secret" } as const;
  await using bucket = await openAzureBucket({ container: "buckets", endpoint, credentials });
  const asking = bucket.readUrl("a", { seconds: 600 });
  await expect(asking).rejects.toMatchObject({ code: "unsupported" });
});
