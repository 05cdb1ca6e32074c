import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRepository, openFileSystemStore, openRepository } from "@varve/core";
import { expect, test } from "vitest";
import { Kopia } from "../../../core/test/interop/kopia.ts";
import { inventory, makeTree } from "../../../core/test/trees/make-tree.ts";
import { backUpVolume } from "../../src/volume/copy-volume.ts";
import { VOLUME_CLIENT } from "../../src/volume/volume-repository.ts";

/** Claim 44: stock Kopia opens the repository of a namespace's volumes as `default@default`, verifies, maintains and restores it. */

test("stock Kopia finds a volume's snapshots as Velero's uploader writes them, and restores them", async () => {
  const folder = mkdtempSync(join(tmpdir(), "varve-volume-"));
  const [data, out, place] = ["data", "out", "repository"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(data);
  makeTree(data, { seed: "volume" });
  rmSync(Buffer.from(`${data}/odd names/b\xff\xfed`, "latin1"), { force: true, recursive: true });
  mkdirSync(join(data, ".snapshot"));
  writeFileSync(join(data, ".snapshot/old"), "left out");
  const password = "a volume's password";
  await using store = await openFileSystemStore(place, { create: true });
  const splitter = "DYNAMIC-4M-BUZHASH";
  await createRepository(store, { password, splitter, client: VOLUME_CLIENT, formatCopy: false });
  const copies: string[] = [];
  for (const uid of ["uid-1", "uid-2"]) {
    await using repository = await openRepository(store, { password, client: VOLUME_CLIENT });
    const { snapshotId, incrementalBytes } = await backUpVolume(repository, {
      source: {
        requester: "snapshot-pod-volume",
        namespace: "shop",
        pod: "db-0",
        volume: "db-data",
      },
      path: data,
      uid,
      parallel: 2,
      snapshotFolders: false,
    });
    copies.push(snapshotId);
    expect(incrementalBytes > 10_000).toBe(uid === "uid-1");
  }

  using kopia = new Kopia({ password });
  kopia.connect(place, VOLUME_CLIENT);
  kopia.run("snapshot", "verify", "--verify-files-percent=100");
  kopia.run("maintenance", "run", "--full");
  const manifest = kopia.run("manifest", "show", copies[1] ?? "");
  expect(manifest).toContain("label path:snapshot-pod-volume/kopia/shop/db-0/db-data");
  expect(manifest).toContain("label snapshot-requester:snapshot-pod-volume");
  expect(manifest).toContain('"velero-pin"');
  kopia.run("snapshot", "restore", copies[1] ?? "", out);
  rmSync(join(data, ".snapshot"), { recursive: true });
  const times = { directoryTimes: false, linkTimes: false }; // which Kopia does not bring back exactly
  expect(inventory(out, times)).toEqual(inventory(data, times));
  rmSync(folder, { recursive: true });
});
