import { describe, expect, test } from "vitest";
import { parseManifestId } from "../../src/manifest/manifest-store.ts";
import { runMaintenance } from "../../src/maintenance/run.ts";
import type { Safety } from "../../src/maintenance/safety.ts";
import { deleteSnapshot, listSnapshots } from "../../src/snapshot/snapshots.ts";
import { memorySource } from "../../src/source/memory-source.ts";
import { faultyStore, type WriteFault } from "../../src/testing/faulty-store.ts";
import { upload } from "../../src/upload/upload.ts";
import { verify } from "../../src/verify/verify.ts";
import {
  createTestRepository,
  openTestRepository,
  SOURCE,
  storedTree,
  testPolicy,
} from "../upload-fixture.ts";

/** Kills the maintainer at every storage write; what snapshots need is there after, and the next run goes on to the same end. */

const HOUR_MS = 3_600_000;
const KEPT = { a: "a".repeat(2000), b: "b".repeat(2000), c: "c".repeat(2000) };

/** A repository of short packs with one snapshot that is gone, old enough for every margin. */
async function prepare() {
  const { store, environment, repository } = await createTestRepository();
  const children: Record<string, { data: string; mtimeNs: bigint }> = {};
  for (const [name, data] of Object.entries({ gone: "g".repeat(2000), ...KEPT })) {
    delete children["gone"];
    children[name] = { data, mtimeNs: 1n };
    const root = memorySource("data", { children });
    const { snapshot } = await upload(repository, { source: SOURCE, root, policy: testPolicy() });
    if (name === "gone") {
      await deleteSnapshot(repository, parseManifestId(snapshot.id ?? ""));
      await repository.flush();
    }
    environment.advance(HOUR_MS);
  }
  await repository[Symbol.asyncDispose]();
  environment.advance(48 * HOUR_MS);
  return { store, environment };
}

/** Runs until nothing more happens at once; gives how many writes it took, or that the client died. */
async function maintain(
  prepared: Awaited<ReturnType<typeof prepare>>,
  options: { safety: Safety; fault?: (number: number) => WriteFault | undefined },
): Promise<{ writes: number; crashed: boolean }> {
  const { store, environment } = prepared;
  const faulty = faultyStore(store, { write: ({ number }) => options.fault?.(number) });
  const repository = await openTestRepository(faulty, environment);
  try {
    for (let day = 0; day < 3; day++) {
      await runMaintenance(repository, { mode: "full", safety: options.safety });
      environment.advance(25 * HOUR_MS);
    }
    return { writes: faulty.writes, crashed: false };
  } catch {
    return { writes: faulty.writes, crashed: true };
  } finally {
    await repository[Symbol.asyncDispose]();
  }
}

async function expectWhole({ store, environment }: Awaited<ReturnType<typeof prepare>>) {
  await using repository = await openTestRepository(store, environment);
  expect((await verify(repository)).damaged).toEqual([]);
  const { snapshots } = await listSnapshots(repository);
  const last = snapshots.at(-1);
  expect(snapshots).toHaveLength(3);
  expect(last && (await storedTree(repository, last.root))).toEqual(KEPT);
}

describe.each(["full", "none"] as const)("safety %s", (safety) => {
  test.each(["lost", "half-acknowledged"] as const)(
    "a crash at any write, which is %s, loses nothing",
    async (outcome) => {
      const { writes } = await maintain(await prepare(), { safety });
      expect(writes).toBeGreaterThan(20);
      for (let at = 1; at <= writes; at++) {
        const prepared = await prepare();
        const fault = (number: number): WriteFault | undefined =>
          number === at ? { outcome, crash: true } : undefined;
        const { crashed } = await maintain(prepared, { safety, fault });
        expect(crashed, `write ${at} of ${writes}`).toBe(true);
        await expectWhole(prepared);
        expect((await maintain(prepared, { safety })).crashed).toBe(false);
        await expectWhole(prepared);
      }
    },
  );
});
