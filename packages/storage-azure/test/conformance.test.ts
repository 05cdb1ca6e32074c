import { type BlobStore, retryStore, systemEnvironment } from "@varve/core/blob";
import { blobStoreCases } from "@varve/core/testing";
import { startAzurite } from "@varve/testenv/azurite.ts";
import { afterAll, describe, test } from "vitest";
import { openAzureStore } from "../src/index.ts";

/** The contract of a blob store, against the emulator. */

const azurite = await startAzurite();
afterAll(() => azurite.stop());
const { endpoint, key: accountKey, connectionString } = azurite;
await azurite.createContainer("cases");
await azurite.createContainer("folders");

const STORES = {
  "at the top of a container, by account key": {
    container: "cases",
    endpoint,
    credentials: { kind: "account-key", accountKey },
    objectLock: false,
  },
  "under a prefix, by connection string": {
    container: "folders",
    prefix: "a folder/of backups/",
    credentials: { kind: "connection-string", connectionString },
    objectLock: false,
  },
} as const;

for (const [name, options] of Object.entries(STORES)) {
  describe(name, () => {
    // A connection that lay idle too long fails once, on a busy machine.
    const open = async (): Promise<BlobStore> =>
      retryStore(await openAzureStore(options), { environment: systemEnvironment() });
    for (const storeCase of blobStoreCases({ open })) {
      test(storeCase.name, () => storeCase.run());
    }
  });
}
