import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { BlobStore } from "../../src/blob/store.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { listSnapshots } from "../../src/snapshot/snapshots.ts";
import { memorySource } from "../../src/source/memory-source.ts";
import { localSource } from "../../src/source/local-source.ts";
import type { SourceEntry } from "../../src/source/source-entry.ts";
import { faultyStore, type WriteFault } from "../../src/testing/faulty-store.ts";
import type { SeededEnvironment } from "../../src/testing/seeded-environment.ts";
import { upload } from "../../src/upload/upload.ts";
import type { UploadReport } from "../../src/upload/upload-options.ts";
import {
  createTestRepository,
  openTestRepository,
  SOURCE,
  storedTree,
  testPolicy,
} from "../upload-fixture.ts";

/** Kills the client at every storage write of a backup; whatever was acknowledged before must be there after. */

const EARLIER = { old: { data: "old file", mtimeNs: 1n }, kept: { data: "kept", mtimeNs: 1n } };
const LATER = {
  kept: { data: "kept", mtimeNs: 1n },
  fresh: { children: { a: { data: "a".repeat(5000) }, b: { data: "b" }, link: { target: "a" } } },
};
const EARLIER_TREE = { old: "old file", kept: "kept" };
const LATER_TREE = { kept: "kept", "fresh/a": "a".repeat(5000), "fresh/b": "b", "fresh/link": "a" };

const folder = mkdtempSync(join(tmpdir(), "varve-crash-"));
mkdirSync(join(folder, "fresh"));
writeFileSync(join(folder, "kept"), "kept");
writeFileSync(join(folder, "fresh/a"), "a".repeat(5000));
writeFileSync(join(folder, "fresh/b"), "b");
symlinkSync("a", join(folder, "fresh/link"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Files in memory are stored by this thread, those of a folder by the executor. */
const LATER_ROOTS = {
  memory: async () => memorySource("data", { children: LATER }),
  folder: () => localSource(folder),
};

/** `environment` moves on so far between two files that a checkpoint is due. */
function backUp(
  repository: Repository,
  environment: SeededEnvironment,
  plain: SourceEntry,
): Promise<UploadReport> {
  const root: SourceEntry = {
    ...plain,
    async *children(options) {
      for await (const child of plain.children(options)) {
        environment.advance(60_000);
        yield child;
      }
    },
    child: async () => undefined,
  };
  return upload(repository, {
    source: SOURCE,
    root,
    policy: testPolicy(),
    checkpointIntervalMs: 60_000,
  });
}

/** A repository with one snapshot, whose storage then fails as `fault` says. */
async function prepare(fault: (number: number) => WriteFault | undefined): Promise<{
  good: BlobStore;
  faulty: ReturnType<typeof faultyStore>;
  environment: SeededEnvironment;
}> {
  const { store: good, environment, repository } = await createTestRepository();
  await backUp(repository, environment, memorySource("data", { children: EARLIER }));
  await repository[Symbol.asyncDispose]();
  const faulty = faultyStore(good, { write: ({ number }) => fault(number) });
  return { good, faulty, environment };
}

async function countWrites(later: SourceEntry): Promise<number> {
  const { faulty, environment } = await prepare(() => undefined);
  const repository = await openTestRepository(faulty, environment);
  await backUp(repository, environment, later);
  return faulty.writes;
}

describe.each([
  ["lost", "memory"],
  ["half-acknowledged", "memory"],
  ["lost", "folder"],
  ["half-acknowledged", "folder"],
] as const)("a backup killed when a write is %s, of files in a %s", (outcome, kind) => {
  test("leaves a repository that opens, with every earlier snapshot whole, and the next backup works", async () => {
    const later = await LATER_ROOTS[kind]();
    const writes = await countWrites(later);
    expect(writes).toBeGreaterThan(8);
    for (let killAt = 1; killAt <= writes; killAt++) {
      const { good, faulty, environment } = await prepare((number) =>
        number === killAt ? { outcome, crash: true } : undefined,
      );
      const dying = await openTestRepository(faulty, environment);
      // A marker that cannot be removed does not fail a backup, so the very last write may pass.
      const died = await backUp(dying, environment, later).catch(() => undefined);
      await dying[Symbol.asyncDispose]();
      expect(died === undefined || killAt > writes - 3).toBe(true);

      await using repository = await openTestRepository(good, environment);
      const { snapshots, damaged } = await listSnapshots(repository);
      expect(damaged).toEqual([]);
      const complete = snapshots.filter(({ incomplete }) => incomplete === undefined);
      expect(await storedTree(repository, (complete[0] ?? snapshots[0])?.root ?? fail())).toEqual(
        EARLIER_TREE,
      );
      for (const { root } of snapshots) {
        expect(Object.keys(await storedTree(repository, root)).length).toBeGreaterThan(0);
      }

      environment.advance(1000);
      const { snapshot, errors } = await backUp(repository, environment, later);
      expect(errors).toEqual([]);
      await using reopened = await openTestRepository(good, environment);
      expect(await storedTree(reopened, snapshot.root)).toEqual(LATER_TREE);
    }
  });
});

function fail(): never {
  throw new Error("the earlier snapshot is gone");
}
