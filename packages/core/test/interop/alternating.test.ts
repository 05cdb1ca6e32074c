import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openFileSystemStore } from "../../src/blob/filesystem-store.ts";
import { copySnapshots } from "../../src/copy/copy-snapshots.ts";
import { runMaintenance } from "../../src/maintenance/run.ts";
import { createRepository } from "../../src/repository/create-repository.ts";
import { openRepository } from "../../src/repository/open-repository.ts";
import { deleteSnapshot, listSnapshots } from "../../src/snapshot/snapshots.ts";
import { seededEnvironment } from "../../src/testing/seeded-environment.ts";
import type { MatrixRow } from "../matrix/matrix.ts";
import { createRow, snapshotFolder, verifyAll, withRow } from "../matrix/round-trip.ts";
import { inventory } from "../trees/make-tree.ts";
import { Kopia } from "./kopia.ts";

/** Stock Kopia and varve write, delete and maintain in turns in one repository; after each step both read everything. */

const identity = { username: "tester", hostname: "bench" };
const NOISE_BYTES = 3_000_000;
const asKopiaRestores = { directoryTimes: false, linkTimes: false, rawNames: false };

function packBytes(repository: string): number {
  return readdirSync(repository, { recursive: true, withFileTypes: true })
    .map((entry) => ({ entry, path: join(entry.parentPath, entry.name) }))
    .filter(({ entry, path }) => entry.isFile() && /^[pq]/.test(path.slice(repository.length + 1)))
    .reduce((sum, { path }) => sum + statSync(path).size, 0);
}

function place(): { folder: string; data: string; repository: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "varve-turns-"));
  const data = join(folder, "data");
  mkdirSync(join(data, "some/folders"), { recursive: true });
  writeFileSync(join(data, "some/folders/file"), "stays");
  return {
    ...{ folder, data, repository: join(folder, "repository") },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function listIds(kopia: Kopia): readonly string[] {
  const list = JSON.parse(kopia.run("snapshot", "list", "--all", "--json")) as { id: string }[];
  return list.map(({ id }) => id);
}

const ROW: MatrixRow = {
  hash: "BLAKE2B-256-128",
  encryption: "AES256-GCM-HMAC-SHA256",
  splitter: "DYNAMIC-1M-BUZHASH",
  compression: "none",
  version: 3,
  eccPercent: 0,
};

test.each([3, 1] as const)(
  "format %i: four rounds of writing and maintaining in turns, and space comes back",
  async (version) => {
    using at = place();
    using kopia = new Kopia({ password: "matrix password" });
    await createRow(at.repository, { ...ROW, version }, identity);
    kopia.connect(at.repository, identity);
    // By itself it takes a listing of `n` blobs for true for half a minute, and then looks for packs that are gone.
    kopia.run("cache", "set", "--max-list-cache-duration=0s");
    kopia.run("cache", "clear"); // with what it has listed so far
    const random = seededEnvironment({ seed: version });
    const byVarve = {
      write: () => withRow(at.repository, identity, (found) => snapshotFolder(found, at.data)),
      removeFirst: () =>
        withRow(at.repository, identity, async (found) => {
          const [first] = (await listSnapshots(found)).snapshots;
          await deleteSnapshot(found, first?.id ?? ("" as never));
          await found.flush();
        }),
      maintain: () =>
        withRow(at.repository, identity, (found) =>
          runMaintenance(found, { mode: "full", safety: "none" }),
        ),
    };
    const byKopia = {
      write: async () => kopia.run("snapshot", "create", at.data, "--no-auto-maintenance"),
      removeFirst: async () =>
        kopia.run(
          "snapshot",
          "delete",
          listIds(kopia)[0] ?? "",
          "--delete",
          "--no-auto-maintenance",
        ),
      maintain: async () => kopia.run("maintenance", "run", "--full", "--safety=none"),
    };
    const bothAccept = async (): Promise<void> => {
      kopia.run("snapshot", "verify", "--verify-files-percent=100");
      kopia.run("content", "verify", "--full");
      await withRow(at.repository, identity, verifyAll);
    };
    const freed: number[] = [];
    for (let round = 0; round < 4; round++) {
      const [writer, maintainer] = round % 2 === 0 ? [byVarve, byKopia] : [byKopia, byVarve];
      writeFileSync(join(at.data, "noise"), random.randomBytes(NOISE_BYTES));
      await writer.write();
      if (round > 0) {
        await writer.removeFirst();
        const before = packBytes(at.repository);
        await maintainer.maintain();
        if (maintainer === byVarve) {
          // Kopia moves what it has marked together with what is needed: that comes back a round later.
          freed.push(before - packBytes(at.repository));
        }
        await bothAccept();
        await writer.maintain();
      }
      await bothAccept();
    }
    expect(freed).toHaveLength(2);
    for (const bytes of freed) {
      expect(bytes).toBeGreaterThan(0.9 * NOISE_BYTES);
    }
    expect(packBytes(at.repository)).toBeLessThan(1.2 * NOISE_BYTES);
    kopia.run("restore", listIds(kopia).at(-1) ?? "", join(at.folder, "restored"));
    expect(inventory(join(at.folder, "restored"), asKopiaRestores)).toEqual(
      inventory(at.data, asKopiaRestores),
    );
  },
);

test("stock Kopia verifies and restores what varve has copied out of a repository of Kopia's, into other algorithms", async () => {
  using at = place();
  using kopia = new Kopia({ password: "matrix password" });
  await createRow(at.repository, ROW, identity);
  kopia.connect(at.repository, identity);
  kopia.run("snapshot", "create", at.data, "--description", "one", "--tags", "a:b");
  writeFileSync(join(at.data, "noise"), seededEnvironment({ seed: 7 }).randomBytes(NOISE_BYTES));
  kopia.run("snapshot", "create", at.data);
  const copyFolder = join(at.folder, "copy");
  await using store = await openFileSystemStore(copyFolder, { create: true });
  await createRepository(store, {
    password: "another",
    hash: "HMAC-SHA256",
    encryption: "CHACHA20-POLY1305-HMAC-SHA256",
    splitter: "FIXED-1M",
    client: identity,
  });
  await using target = await openRepository(store, { password: "another", client: identity });
  const { copied } = await withRow(at.repository, identity, (source) =>
    copySnapshots(source, target),
  );
  expect(copied).toHaveLength(2);
  using other = new Kopia({ password: "another" });
  other.connect(copyFolder, identity);
  other.run("snapshot", "verify", "--verify-files-percent=100");
  other.run("maintenance", "run", "--full", "--safety=none");
  other.run("content", "verify", "--full");
  other.run("restore", listIds(other).at(-1) ?? "", join(at.folder, "restored"));
  expect(inventory(join(at.folder, "restored"), asKopiaRestores)).toEqual(
    inventory(at.data, asKopiaRestores),
  );
});
