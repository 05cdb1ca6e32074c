import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { inventory, makeTree } from "../trees/make-tree.ts";
import { matrixRows, rowName } from "./matrix.ts";
import { createRow, restoreAll, snapshotFolder, verifyAll, withRow } from "./round-trip.ts";

const client = { username: "tester", hostname: "bench" };

test("the rows pair every value with every other", () => {
  const rows = matrixRows();
  expect(rows.length).toBeGreaterThanOrEqual(24);
  expect(new Set(rows.map(rowName)).size).toBe(rows.length);
  const pairs = new Set(rows.map(({ hash, encryption }) => `${hash} ${encryption}`));
  expect(pairs.size).toBe(11 * 2);
  expect(new Set(rows.map(({ compression }) => compression)).size).toBe(18);
  expect(rows.filter(({ version, eccPercent }) => version === 1 && eccPercent > 0)).toEqual([]);
});

/** Every third row; all of them, which take a minute and a half of a core, with `VARVE_TEST_MATRIX=all`. */
const rows = matrixRows().filter(
  (_row, index) => process.env["VARVE_TEST_MATRIX"] === "all" || index % 3 === 0,
);

test.each(rows.map((row) => [rowName(row), row] as const))(
  "written, verified, found unchanged and restored: %s",
  async (name, row) => {
    const folder = mkdtempSync(join(tmpdir(), "varve-matrix-"));
    try {
      const [data, repository] = [join(folder, "data"), join(folder, "repository")];
      makeTree(data, { seed: name, largeFileBytes: 300_000 });
      await createRow(repository, row, client);
      const first = await withRow(repository, client, (opened) => snapshotFolder(opened, data));
      await withRow(repository, client, async (opened) => {
        const second = await snapshotFolder(opened, data);
        expect(second.snapshot.root.object).toBe(first.snapshot.root.object);
        expect(second.contentStats.newContents).toBe(1); // the manifest and nothing else
        await verifyAll(opened);
        await restoreAll(opened, second.snapshot, join(folder, "restored"));
      });
      expect(inventory(join(folder, "restored"))).toEqual(inventory(data));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
