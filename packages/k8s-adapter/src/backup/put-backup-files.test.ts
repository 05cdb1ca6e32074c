import { gunzipSync } from "node:zlib";
import { createMemoryStore, parseBlobId } from "@varve/core";
import type { BlobStore } from "@varve/core/blob";
import { expect, test } from "vitest";
import { readBackup } from "../location/backup-files.ts";
import type { Backup } from "../velero/resources.ts";
import { putBackupFiles } from "./put-backup-files.ts";

const backup = (uid: string): Backup => ({
  metadata: { name: "b1", uid },
  spec: {},
  status: { phase: "Finalizing" },
});
const files = {
  log: [],
  tarball: [Buffer.from("tar")],
  results: { warnings: {}, errors: {} },
  resourceList: {},
  podVolumeBackups: [],
  itemOperations: [],
  volumeSnapshots: [],
  volumeInfo: [],
};

async function names(store: BlobStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of store.list("")) {
    found.push(id);
  }
  return found.sort();
}

/** A store of which puts of one name fail, while told to. */
function failing(store: BlobStore, name: string): BlobStore {
  return {
    ...store,
    put: (id, parts, options) =>
      id === name ? Promise.reject(new Error("no room")) : store.put(id, parts, options),
  };
}

test("empty files have the values that real Velero writes", async () => {
  const store = createMemoryStore();
  await putBackupFiles(store, backup("u1"), files, {});
  const text = async (file: string): Promise<string> =>
    gunzipSync(await store.get(parseBlobId(`b1-${file}.gz`))).toString("utf8");
  expect(await text("podvolumebackups.json")).toBe("null\n");
  expect(await text("volumesnapshots.json")).toBe("null\n");
  expect(await text("itemoperations.json")).toBe("[]\n");
  expect(await text("volumeinfo.json")).toBe("[]\n");
  expect(await text("resource-list.json")).toBe("{}\n");
  expect(await text("results")).toBe(`{"errors":{},"warnings":{}}\n`);
});

test("a backup of the same name is never replaced", async () => {
  const store = createMemoryStore();
  await putBackupFiles(store, backup("u1"), files, {});
  await expect(putBackupFiles(store, backup("u2"), files, {})).rejects.toMatchObject({
    code: "blob-exists",
  });
  expect((await readBackup(store, { name: "b1" }))?.metadata.uid).toBe("u1");
  expect(await names(store)).toHaveLength(9);
});

test("when one file fails, nothing that looks like a backup stays", async () => {
  for (const name of ["b1.tar.gz", "b1-volumeinfo.json.gz", "velero-backup.json"]) {
    const store = createMemoryStore();
    await expect(putBackupFiles(failing(store, name), backup("u1"), files, {})).rejects.toThrow(
      "no room",
    );
    expect(await names(store), name).toEqual(["b1-logs.gz"]);
  }
});
