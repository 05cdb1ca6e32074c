import { generateKeyPairSync } from "node:crypto";
import { Storage } from "@google-cloud/storage";
import { bucketCases, seededEnvironment } from "@varve/core/testing";
import { type FakeGcs, startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openGcsBucket } from "../src/index.ts";

const FIRST_BUILD_MS = 600_000;

if (canRunGoServers("the bucket of storage-gcs against fake-gcs-server")) {
  describe("on fake-gcs-server", () => {
    let server: FakeGcs;
    beforeAll(async () => {
      server = await startFakeGcs();
      await server.createBucket("buckets");
    }, FIRST_BUILD_MS);
    afterAll(() => server?.stop());

    const open = () =>
      openGcsBucket({
        bucket: "buckets",
        endpoint: server.endpoint,
        credentials: { kind: "anonymous" },
      });
    for (const { name, run } of bucketCases({ open })) {
      test(name, run);
    }
  });
}

test("a read URL is signed as Google's own library signs it", async () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const credentials = {
    type: "service_account",
    client_email: "varve@project.iam.gserviceaccount.com",
    private_key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
  const environment = seededEnvironment({ seed: 1 });
  await using bucket = await openGcsBucket({
    bucket: "backups",
    credentials: { kind: "json", json: credentials },
    environment,
  });
  const name = "a b/backups/it's (1)!/x-logs.gz";
  const ours = await bucket.readUrl(name, { seconds: 600 });

  vi.useFakeTimers({ now: environment.nowMs(), toFake: ["Date"] });
  const file = new Storage({ projectId: "varve", credentials }).bucket("backups").file(name);
  const expires = environment.nowMs() + 600_000;
  const [theirs] = await file
    .getSignedUrl({ version: "v4", action: "read", expires })
    .finally(() => vi.useRealTimers());
  expect(ours).toBe(theirs);
});
