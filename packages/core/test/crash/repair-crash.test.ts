import { expect, test } from "vitest";
import { createMemoryStore } from "../../src/blob/memory-store.ts";
import type { BlobStore } from "../../src/blob/store.ts";
import { FORMAT_BLOB } from "../../src/format/format.ts";
import { recoverFormat } from "../../src/repair/recover-format.ts";
import { recoverIndex } from "../../src/repair/recover-index.ts";
import { repairContents } from "../../src/repair/repair-contents.ts";
import { listSnapshots } from "../../src/snapshot/snapshots.ts";
import { faultyStore, type WriteFault } from "../../src/testing/faulty-store.ts";
import { type SeededEnvironment, seededEnvironment } from "../../src/testing/seeded-environment.ts";
import { upload } from "../../src/upload/upload.ts";
import { verify } from "../../src/verify/verify.ts";
import { changeBlob } from "../tree-fixture.ts";
import {
  blobIds,
  createTestRepository,
  openTestRepository,
  PASSWORD,
  SOURCE,
  testPolicy,
  tree,
} from "../upload-fixture.ts";

/** Kills a repair at every storage write; nothing is worse than before, and the next one ends what this one began. */

interface Case {
  readonly damage: (store: BlobStore) => Promise<void>;
  readonly repair: (store: BlobStore, environment: SeededEnvironment) => Promise<void>;
  /** At least. */
  readonly writes: number;
}

const SNAPSHOTS = 3;

/** Made once; every run gets a copy. */
const sound = (async () => {
  const { store, environment, repository } = await createTestRepository();
  for (let number = 0; number < SNAPSHOTS; number++) {
    const data = `file of ${number}`;
    const root = tree({ a: { data, mtimeNs: BigInt(number) }, b: { data: `${data} ` } });
    await upload(repository, { source: SOURCE, root, policy: testPolicy() });
    environment.advance(60_000);
  }
  await repository[Symbol.asyncDispose]();
  return { store, nowMs: environment.nowMs() };
})();

async function copyOfSound(): Promise<{ store: BlobStore; environment: SeededEnvironment }> {
  const { store: original, nowMs } = await sound;
  const environment = seededEnvironment({ seed: 5, startMs: nowMs });
  const store = createMemoryStore({ environment });
  for (const id of await blobIds(original)) {
    await store.put(id, [await original.get(id)]);
  }
  return { store, environment };
}

async function flipAll(store: BlobStore, prefix: string): Promise<void> {
  for (const id of await blobIds(store, prefix)) {
    await changeBlob(store, id, (bytes) => bytes.map((byte, at) => (at === 40 ? byte ^ 1 : byte)));
  }
}

const CASES: Readonly<Record<string, Case>> = {
  "index recover": {
    damage: (store) => flipAll(store, "x"),
    repair: async (store, environment) => {
      await using repository = await openTestRepository(store, environment);
      await recoverIndex(repository, { commit: true });
    },
    writes: 3,
  },
  "content repair": {
    damage: (store) => flipAll(store, "p"),
    repair: async (store, environment) => {
      await using repository = await openTestRepository(store, environment);
      await using mirror = await openTestRepository((await sound).store, environment);
      await repairContents(repository, { commit: true, mirror });
    },
    writes: 4,
  },
  "repository repair": {
    damage: (store) => flipAll(store, FORMAT_BLOB),
    repair: async (store, environment) => {
      await recoverFormat(store, { password: PASSWORD, commit: true, environment });
    },
    writes: 2,
  },
};

/** Gives how many writes it took, or that the client died. */
async function repair(
  { store, environment }: { store: BlobStore; environment: SeededEnvironment },
  work: Case["repair"],
  fault?: (number: number) => WriteFault | undefined,
): Promise<{ writes: number; died: boolean }> {
  const faulty = faultyStore(store, { write: ({ number }) => fault?.(number) });
  environment.advance(1000);
  try {
    await work(faulty, environment);
    return { writes: faulty.writes, died: false };
  } catch {
    return { writes: faulty.writes, died: true };
  }
}

test.each(Object.entries(CASES))("%s, killed at any write", async (_, { damage, ...repaired }) => {
  const counted = await copyOfSound();
  await damage(counted.store);
  const { writes } = await repair(counted, repaired.repair);
  expect(writes).toBeGreaterThanOrEqual(repaired.writes);
  for (let at = 1; at <= writes; at++) {
    for (const outcome of ["lost", "half-acknowledged"] as const) {
      const made = await copyOfSound();
      await damage(made.store);
      await repair(made, repaired.repair, (number) =>
        number === at ? { outcome, crash: true } : undefined,
      );
      expect(await repair(made, repaired.repair)).toMatchObject({ died: false });
      await using repository = await openTestRepository(made.store, made.environment);
      expect((await listSnapshots(repository)).snapshots).toHaveLength(SNAPSHOTS);
      expect((await verify(repository)).damaged).toEqual([]);
      expect(repository.damage).toEqual([]);
    }
  }
  const store = await sound;
  expect(await counted.store.get(FORMAT_BLOB)).toEqual(await store.store.get(FORMAT_BLOB));
});
