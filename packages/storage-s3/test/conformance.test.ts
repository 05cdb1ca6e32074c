import { retryStore, systemEnvironment } from "@varve/core/blob";
import { blobStoreCases } from "@varve/core/testing";
import { startS3Servers } from "@varve/testenv/s3-servers.ts";
import { afterAll, describe, test } from "vitest";
import { openS3Store } from "../src/index.ts";
import { serverOptions } from "./server-options.ts";

/** Core's list of what every store must do, on every server there is here and every kind of bucket that it has. */

const environment = systemEnvironment();
const servers = await startS3Servers();
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});

/** Rules that s3rver itself breaks: it takes a range that ends at 0 for the whole, writes in place, and fails on page 2. */
const BROKEN: Readonly<Record<string, readonly RegExp[]>> = {
  s3rver: [/^a range gives exactly/, /^readers see one whole/, /^a list gives all of/],
};
const isKept = (server: string, rule: string): boolean =>
  BROKEN[server]?.some((pattern) => pattern.test(rule)) !== true;

for (const server of servers) {
  const kinds = {
    plain: {},
    ...(server.features.has("versioning") ? { versioned: { versioning: true } } : {}),
    ...(server.features.has("object-lock") ? { locked: { objectLock: true } } : {}),
  };
  for (const [bucket, options] of Object.entries(kinds)) {
    await server.createBucket(bucket, options);
    describe(`${server.name}, ${bucket} bucket`, () => {
      const open = async () => {
        const store = await openS3Store({ ...serverOptions(server, bucket), prefix: "a b+c/é%/" });
        // It also fails now and then at several deletes at once, which succeed when they are sent again.
        return server.name === "s3rver" ? retryStore(store, { environment }) : store;
      };
      const cases = blobStoreCases({ open }).filter(({ name }) => isKept(server.name, name));
      for (const { name, run } of cases) {
        test(name, run);
      }
    });
  }
}
