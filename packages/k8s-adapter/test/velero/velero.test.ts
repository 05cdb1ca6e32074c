import { createNamespace } from "@varve/testenv/kube-cluster.ts";
import { expect, onTestFailed, test } from "vitest";
import { VELERO } from "../../src/velero/resources.ts";
import { application, exec, FILL, LOOK } from "../cluster/demo-application.ts";
import { apply, k, startTestServer } from "../cluster/server.ts";
import { startRealVelero } from "./real-velero.ts";

/** Claim 44: a real Velero in a namespace of its own uses our bucket, and each restores what the other one backed up. */

const COMPLETED = /^Phase: +Completed$/m;

test("real Velero restores what varve backed up, and varve what it backs up, volume data included", async () => {
  await using ours = await createNamespace("varve");
  await using theirs = await createNamespace("velero");
  await using app = await createNamespace("shop", { team: "sales" });
  await using server = await startTestServer({
    namespace: ours.name,
    settings: { publicRepositoryPassword: true, backupSyncMs: 1000 },
  });
  await apply(...application(app.name));
  await ready(app.name);
  await exec(app.name, "db", FILL);
  await exec(app.name, "db", "rm -r /data/.snapshot");
  await exec(app.name, "web", "echo a page > /pages/one");
  const before = await exec(app.name, "db", LOOK);
  const backup = await server.run(VELERO.backups, {
    kind: "Backup",
    metadata: { name: "by-varve" },
    spec: { includedNamespaces: [app.name], defaultVolumesToFsBackup: true },
  });
  expect(backup).toMatchObject({ status: { phase: "Completed" } });
  await server.stop();

  await using velero = await startRealVelero({ namespace: theirs.name, s3: server.s3 });
  onTestFailed(() => console.error(velero.log()));
  await synchronised(theirs.name, "by-varve");
  const described = await velero.command("backup", "describe", "by-varve", "--details");
  expect(described).toMatch(COMPLETED);
  expect(await velero.command("backup", "logs", "by-varve")).not.toBe("");
  await using copy = await createNamespace("copy");
  const mapping = `--namespace-mappings=${app.name}:${copy.name}`;
  await velero.command("restore", "create", "r", "--from-backup=by-varve", mapping, "--wait");
  const restored = await velero.command("restore", "describe", "r", "--details");
  expect(restored).toMatch(COMPLETED);
  await ready(copy.name);
  expect(await exec(copy.name, "db", LOOK)).toBe(before);
  expect(await exec(copy.name, "web", "cat /pages/one")).toBe("a page\n");

  // In the same repositories, after ours; which the deletion of ours leaves as they are.
  await exec(app.name, "db", "echo more > /data/sub/more");
  const changed = await exec(app.name, "db", LOOK);
  const which = [`--include-namespaces=${app.name}`, "--default-volumes-to-fs-backup"];
  await velero.command("backup", "create", "by-velero", ...which, "--wait");
  expect(await velero.command("backup", "describe", "by-velero")).toMatch(COMPLETED);
  await velero.command("backup", "delete", "by-varve", "--confirm");
  await k(
    "wait",
    "-n",
    theirs.name,
    "backups.velero.io/by-varve",
    "--for=delete",
    "--timeout=180s",
  );

  await server.restart();
  await synchronised(ours.name, "by-velero");
  await using back = await createNamespace("back");
  const restore = await server.run(VELERO.restores, {
    kind: "Restore",
    metadata: { name: "r" },
    spec: { backupName: "by-velero", namespaceMapping: { [app.name]: back.name } },
  });
  expect(restore).toMatchObject({ status: { phase: "Completed" } });
  await ready(back.name);
  expect(await exec(back.name, "db", LOOK)).toBe(changed);
  expect(await exec(back.name, "web", "cat /pages/one")).toBe("a page\n");
}, 600_000);

async function ready(namespace: string): Promise<void> {
  await k("wait", "-n", namespace, "pod", "--all", "--for=condition=Ready", "--timeout=120s");
}

async function synchronised(namespace: string, backup: string): Promise<void> {
  const object = `backups.velero.io/${backup}`;
  await k("wait", "-n", namespace, object, "--for=create", "--timeout=180s");
}
