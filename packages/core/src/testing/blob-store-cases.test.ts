import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { limitStore } from "../blob/limit-store.ts";
import { passThrough } from "../blob/pass-through.ts";
import { retryStore } from "../blob/retry-store.ts";
import { type BlobStore, parseBlobId } from "../blob/store.ts";
import { blobStoreCases } from "./blob-store-cases.ts";
import { faultyStore, type StorageWrite, type WriteFault } from "./faulty-store.ts";
import { seededEnvironment } from "./seeded-environment.ts";

const environment = seededEnvironment({ seed: 1 });
const directory = await mkdtemp(join(tmpdir(), "varve-cases-"));
afterAll(() => rm(directory, { recursive: true }));

const STORES: Record<string, () => Promise<BlobStore>> = {
  "memory store": async () => createMemoryStore({ environment }),
  "filesystem store": () => openFileSystemStore(join(directory, "fs"), { create: true }),
  "filesystem store with other shards": () =>
    openFileSystemStore(join(directory, "shards"), { create: true, shards: [5, 1, 2] }),
  "faulty store without faults": async () => faultyStore(createMemoryStore({ environment })),
  "retry store over a store that fails every third write": async () =>
    retryStore(faultyStore(createMemoryStore({ environment }), { write: failEveryThird }), {
      environment,
    }),
};

function failEveryThird({ number }: StorageWrite): WriteFault | undefined {
  return number % 3 === 0 ? { outcome: "lost", retryable: true } : undefined;
}

for (const [name, open] of Object.entries(STORES)) {
  describe(name, () => {
    for (const storeCase of blobStoreCases({ open })) {
      test(storeCase.name, () => storeCase.run());
    }
  });
}

describe("wrappers of a filesystem store that hand on its drafts", () => {
  const open = async (): Promise<BlobStore> => {
    const store = await openFileSystemStore(join(directory, "wrapped"), { create: true });
    return limitStore(retryStore(faultyStore(store), { environment }), { environment });
  };
  for (const storeCase of blobStoreCases({ open }).filter(({ name }) => /draft/.test(name))) {
    test(storeCase.name, () => storeCase.run());
  }
});

/** Names of the cases that a store fails. */
async function failedCases(store: BlobStore): Promise<string[]> {
  const failed: string[] = [];
  for (const { name, run } of blobStoreCases({ open: async () => store })) {
    await run().catch(() => failed.push(name));
  }
  return failed;
}

describe("the cases see a store that", () => {
  test("forgets to replace", async () => {
    const store = createMemoryStore({ environment });
    const broken: BlobStore = {
      ...passThrough(store),
      put: async (id, parts, options) => {
        await store.put(id, parts, { ...options, ifAbsent: true }).catch(() => {});
        return await store.stat(id);
      },
    };
    expect(await failedCases(broken)).toContain("a put replaces, also with fewer bytes");
  });

  test("lists only one page", async () => {
    const store = createMemoryStore({ environment });
    const broken: BlobStore = {
      ...passThrough(store),
      async *list(prefix, options) {
        let count = 0;
        for await (const info of store.list(prefix, options)) {
          count += 1;
          if (count > 1000) {
            return;
          }
          yield info;
        }
      },
    };
    expect(await failedCases(broken)).toEqual([
      expect.stringContaining("a list gives all of 1600"),
    ]);
  });

  test("gives short ranges instead of an error", async () => {
    const store = createMemoryStore({ environment });
    const broken: BlobStore = {
      ...passThrough(store),
      get: async (id, options) => {
        const { offset, length } = options?.range ?? { offset: 0, length: 2 ** 40 };
        return (await store.get(id, { signal: options?.signal })).slice(offset, offset + length);
      },
    };
    expect(await failedCases(broken)).toEqual([
      "a range that does not lie in the blob is range-invalid",
    ]);
  });
});

test("the cases leave nothing behind", async () => {
  const store = faultyStore(createMemoryStore({ environment }));
  const other = parseBlobId("kopia.repository");
  await store.put(other, []);
  expect(await failedCases(store)).toEqual([]);
  environment.advance(3_600_000);
  const left: string[] = [];
  for await (const { id } of store.list("")) {
    left.push(id);
  }
  // "x" of the retention case is locked when the case ends.
  expect(left).toEqual([other, expect.stringMatching(/^zz\d\dx$/)]);
});
