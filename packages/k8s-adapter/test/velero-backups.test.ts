import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { unpackVeleroBackups } from "./velero-backups.ts";

test("every backup that Velero made is there, with the request for it", async () => {
  await using backups = await unpackVeleroBackups();
  const made = await readdir(join(backups.folder, "bucket/backups"));
  expect(made).toContain("fsb-all-2");
  for (const name of made) {
    const folder = join(backups.folder, "bucket/backups", name);
    const record: unknown = JSON.parse(await readFile(join(folder, "velero-backup.json"), "utf8"));
    expect(record).toMatchObject({ kind: "Backup", metadata: { name } });
  }
  const requests = await readdir(join(backups.folder, "requests"));
  const asked = made.filter((name) => !/^(?:minutely|every)-\d/.test(name)); // by schedules
  expect(requests).toEqual(expect.arrayContaining(asked.map((name) => `${name}.yaml`)));
});
