import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runMaintenance } from "../../src/maintenance/run.ts";
import { type MatrixRow, matrixRows, rowName } from "../matrix/matrix.ts";
import { createRow, restoreAll, snapshotFolder, verifyAll, withRow } from "../matrix/round-trip.ts";
import { inventory, makeTree } from "../trees/make-tree.ts";
import { Kopia } from "./kopia.ts";

/** Stock Kopia must accept what varve wrote, and the other way round; run with VARVE_TEST_KOPIA set. */

const identity = { username: "tester", hostname: "bench" };
// What Kopia cannot bring back; see docs/format.md §6.4 and §13.
const asKopiaRestores = { directoryTimes: false, linkTimes: false, rawNames: false };

function temporary(): { folder: string; data: string; repository: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "varve-interop-"));
  mkdirSync(join(folder, "repository"));
  return {
    folder,
    data: join(folder, "data"),
    repository: join(folder, "repository"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function kopiaAccepts(kopia: Kopia): void {
  kopia.run("snapshot", "verify", "--verify-files-percent=100");
  kopia.run("content", "verify", "--full");
}

function snapshotIds(kopia: Kopia): string[] {
  const list = JSON.parse(kopia.run("snapshot", "list", "--all", "--json")) as { id: string }[];
  return list.map(({ id }) => id);
}

describe("what varve writes, stock Kopia lists, verifies, maintains and restores", () => {
  test.each(matrixRows().map((row) => [rowName(row), row] as const))(
    "%s",
    async (_name, row: MatrixRow) => {
      using place = temporary();
      makeTree(place.data, { seed: rowName(row) });
      await createRow(place.repository, row, identity);
      await withRow(place.repository, identity, (repository) =>
        snapshotFolder(repository, place.data),
      );
      using kopia = new Kopia({ password: "matrix password" });
      kopia.connect(place.repository, identity);
      const [id] = snapshotIds(kopia);
      expect(id).toBeDefined();
      kopiaAccepts(kopia);
      kopia.run("maintenance", "run", "--full");
      kopiaAccepts(kopia);
      kopia.run("restore", id ?? "", join(place.folder, "restored"));
      expect(inventory(join(place.folder, "restored"), asKopiaRestores)).toEqual(
        inventory(place.data, asKopiaRestores),
      );
      await withRow(place.repository, identity, verifyAll);
    },
  );
});

describe("turn by turn in one repository", () => {
  const row: MatrixRow = {
    hash: "BLAKE2B-256-128",
    encryption: "AES256-GCM-HMAC-SHA256",
    splitter: "DYNAMIC-128K-BUZHASH",
    compression: "none",
    version: 3,
    eccPercent: 0,
  };
  const createByKopia = (kopia: Kopia, place: { folder: string; repository: string }): void => {
    kopia.run(
      "repository",
      "create",
      "filesystem",
      `--path=${place.repository}`,
      `--override-username=${identity.username}`,
      `--override-hostname=${identity.hostname}`,
      `--object-splitter=${row.splitter}`,
      `--cache-directory=${join(place.folder, "cache")}`,
    );
  };

  test("Kopia writes, varve writes, Kopia maintains, varve writes, both verify and restore", async () => {
    using place = temporary();
    makeTree(place.data, { seed: "turns" });
    // The record of a folder with such a name has a member that Kopia does not write (docs/format.md §13).
    rmSync(Buffer.from(`${place.data}/odd names/b\xff\xfed`, "latin1"));
    using kopia = new Kopia({ password: "matrix password" });
    createByKopia(kopia, place);
    kopia.run("snapshot", "create", place.data);
    const second = await withRow(place.repository, identity, (repository) =>
      snapshotFolder(repository, place.data),
    );
    expect(second.contentStats.newContents).toBe(1); // the manifest: same hash, same splitter, same directories
    renameSync(join(place.data, "many"), join(place.data, "moved"));
    kopia.run("maintenance", "run", "--full");
    const third = await withRow(place.repository, identity, (repository) =>
      snapshotFolder(repository, place.data),
    );
    expect(third.contentStats.newContents).toBe(2); // the root directory and the manifest
    const again = JSON.parse(
      kopia.run("snapshot", "create", place.data, "--json", "--json-verbose"),
    ) as { stats: { nonCachedFiles?: number }; rootEntry: { obj: string } };
    expect(again.stats.nonCachedFiles ?? 0).toBe(0);
    expect(again.rootEntry.obj).toBe(third.snapshot.root.object);
    kopia.run("maintenance", "run", "--full", "--safety=none");
    kopiaAccepts(kopia);
    await withRow(place.repository, identity, verifyAll);
    await withRow(place.repository, identity, (repository) =>
      restoreAll(repository, third.snapshot, join(place.folder, "by varve")),
    );
    kopia.run("restore", snapshotIds(kopia).at(-1) ?? "", join(place.folder, "by kopia"));
    expect(inventory(join(place.folder, "by varve"))).toEqual(inventory(place.data));
    expect(inventory(join(place.folder, "by kopia"), asKopiaRestores)).toEqual(
      inventory(place.data, asKopiaRestores),
    );
  });

  test("what varve's maintenance leaves of a repository of Kopia's, both verify and go on with", async () => {
    using place = temporary();
    makeTree(place.data, { seed: "maintenance" });
    using kopia = new Kopia({ password: "matrix password" });
    createByKopia(kopia, place);
    kopia.run("snapshot", "create", place.data);
    renameSync(join(place.data, "many"), join(place.folder, "gone"));
    kopia.run("snapshot", "create", place.data);
    const [first = "", second = ""] = snapshotIds(kopia);
    kopia.run("snapshot", "delete", first, "--delete");
    const maintain = () =>
      withRow(place.repository, identity, (repository) =>
        runMaintenance(repository, { mode: "full", safety: "none" }),
      );
    const { tasks } = await maintain();
    const collected = tasks.find(({ task }) => task === "snapshot-gc")?.counts;
    expect(collected?.["markedDeleted"]).toBeGreaterThan(0);
    kopiaAccepts(kopia);
    kopia.run("maintenance", "run", "--full", "--safety=none");
    kopiaAccepts(kopia);
    await maintain();
    kopiaAccepts(kopia);
    await withRow(place.repository, identity, verifyAll);
    kopia.run("restore", second, join(place.folder, "restored"));
    expect(inventory(join(place.folder, "restored"), asKopiaRestores)).toEqual(
      inventory(place.data, asKopiaRestores),
    );
  });
});
